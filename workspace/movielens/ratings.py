"""The MovieLens-100K log, and what lies before each of its rows; the only place that decides what "earlier" means.

Earlier is strict: a row does not see rows of the same second, because users rate whole pages of films at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

Ints = npt.NDArray[np.int64]
Values = npt.NDArray[np.int64] | npt.NDArray[np.float32]
INTER_TYPES = {"user_id": pa.int64(), "item_id": pa.int64(), "rating": pa.float64(), "timestamp": pa.float64()}
USER_TYPES = {
    "user_id": pa.int64(),
    "age": pa.int64(),
    "gender": pa.string(),
    "occupation": pa.string(),
    "zip_code": pa.string(),
}
ITEM_TYPES = {"item_id": pa.int64(), "release_year": pa.string(), "class": pa.string()}


class TableError(Exception):
    """The raw files cannot be used; shown as one line."""


@dataclass(frozen=True, slots=True)
class Log:
    """All ratings in order of time (file order within one second); arrays of length N.

    user, item: index of the row in the user and item table. rating: 1..5. time: Unix seconds.
    """

    user: Ints
    item: Ints
    rating: Ints
    time: Ints

    def __len__(self) -> int:
        return len(self.user)

    def head(self, count: int) -> Log:
        """The first `count` rows."""
        return Log(self.user[:count], self.item[:count], self.rating[:count], self.time[:count])


@dataclass(frozen=True, slots=True)
class Raw:
    """The three files: the log and the static tables of users and items."""

    log: Log
    users: pa.Table
    items: pa.Table
    genres: Ints  # [items, kinds of genres], 0 or 1


def read_raw(folder: Path) -> Raw:
    """Read ml-100k.{inter,user,item}; raises TableError naming the file and the column that is wrong."""
    inter = _read(folder / "ml-100k.inter", INTER_TYPES)
    user = _read(folder / "ml-100k.user", USER_TYPES)
    item = _read(folder / "ml-100k.item", ITEM_TYPES)
    time = _whole(inter, "timestamp", 0, 2**33)
    order = np.argsort(time, kind="stable")
    log = Log(
        _index(inter["user_id"], user["user_id"], "user_id")[order],
        _index(inter["item_id"], item["item_id"], "item_id")[order],
        _whole(inter, "rating", 1, 5)[order],
        time[order],
    )
    users = user.drop_columns("zip_code").append_column("zip_prefix", pc.utf8_slice_codeunits(user["zip_code"], 0, 1))
    genres = pc.split_pattern(pc.fill_null(item["class"], ""), " ").combine_chunks()
    known = pc.match_substring_regex(item["release_year"], "^[0-9]{4}$")
    year = pc.cast(pc.if_else(known, item["release_year"], None), pa.int64())
    items = pa.table({"item_id": item["item_id"], "year": year, "genres": genres})
    return Raw(log, users, items, _multi_hot(genres))


def _read(path: Path, types: dict[str, pa.DataType]) -> pa.Table:
    """Read one tab separated file whose header reads `name:kind`; keeps the columns named in `types`."""
    if not path.is_file():
        raise TableError(f"{path}: file not found; run fetch.py first")
    try:
        with path.open(encoding="utf-8") as lines:
            header = lines.readline().rstrip("\n").split("\t")
        names = [text.split(":")[0] for text in header]
        missing = sorted(set(types) - set(names))
        if missing:
            raise TableError(f"{path}: column {missing[0]!r} not found, got {names}")
        return csv.read_csv(
            path,
            csv.ReadOptions(column_names=names, skip_rows=1, use_threads=False),
            csv.ParseOptions(delimiter="\t", quote_char=False),
            csv.ConvertOptions(column_types=types, include_columns=list(types)),
        )
    except (pa.ArrowInvalid, UnicodeDecodeError) as err:
        raise TableError(f"{path}: not a table of {list(types)}: {err}") from err


def _whole(inter: pa.Table, name: str, least: int, most: int) -> Ints:
    """A column as int64; raises TableError unless it has rows, all of them whole numbers from `least` to `most`."""
    values = inter[name].to_numpy()
    wrong = values[~((values == np.floor(values)) & (values >= least) & (values <= most))]  # a missing value is NaN
    if len(wrong) or not len(values):
        got = wrong[0] if len(wrong) else "no rows"
        raise TableError(f"ml-100k.inter: {name} must be a whole number from {least} to {most}, got {got}")
    return values.astype(np.int64)


def _index(values: pa.ChunkedArray, known: pa.ChunkedArray, name: str) -> Ints:
    """Position of each id in its table; raises TableError for an id that the table lacks."""
    found = pc.index_in(values, value_set=known.combine_chunks())
    if found.null_count:
        raise TableError(f"ml-100k.inter: {name} {values.filter(pc.is_null(found))[0]} is not in its table")
    if len(pc.unique(known)) != len(known):
        raise TableError(f"ml-100k.{name.removesuffix('_id')}: {name} must be given once for each row, got it twice")
    return found.to_numpy().astype(np.int64)


def _multi_hot(lists: pa.ListArray) -> Ints:
    """[rows, distinct values] 0/1 int64; columns in sorted order of the values."""
    names = sorted(pc.unique(lists.flatten()).to_pylist())
    out = np.zeros((len(lists), len(names)), np.int64)
    column = pc.index_in(lists.flatten(), value_set=pa.array(names)).to_numpy()
    out[pc.list_parent_indices(lists).to_numpy(), column] = 1
    return out


def running_sums(key: Ints, time: Ints, values: Ints) -> tuple[Ints, Ints]:
    """Count and sum over the rows of the same key with a strictly earlier time.

    Args:
        key, time: [N] int64.
        values: [N, K] int64, so that the sums are exact whatever else is in the log.
    Returns:
        counts [N] and sums [N, K], int64.
    """
    order = np.lexsort((time, key))
    keys, times = key[order], time[order]
    total = np.concatenate([np.zeros((1, values.shape[1]), np.int64), np.cumsum(values[order], axis=0)])
    new_key = np.concatenate([[True], keys[1:] != keys[:-1]])
    new_block = new_key | np.concatenate([[True], times[1:] != times[:-1]])
    position = np.arange(len(key))
    key_start = np.maximum.accumulate(np.where(new_key, position, 0))
    block_start = np.maximum.accumulate(np.where(new_block, position, 0))
    counts, sums = np.empty(len(key), np.int64), np.empty(values.shape, np.int64)
    counts[order] = block_start - key_start
    sums[order] = total[block_start] - total[key_start]
    return counts, sums


@dataclass(frozen=True, slots=True)
class Past:
    """Rows of the log before each row of the log, by the same user: row r has order[start[r]:end[r]], oldest first."""

    order: Ints
    start: Ints
    end: Ints

    def lists(self, values: Values, rows: Ints, length: int = 0) -> pa.ListArray:
        """The last `length` (0: all) past values of each of `rows`; values has one entry per log row."""
        end = self.end[rows]
        start = np.maximum(self.start[rows], end - length) if length else self.start[rows]
        return slices(values[self.order], start, end)


def past_of(log: Log, chosen: npt.NDArray[np.bool_]) -> Past:
    """The user's chosen rows with a strictly earlier time; chosen: [N] bool."""
    span = int(log.time[-1]) + 1 if len(log) else 1  # user * span + time orders by user, then by time
    order = np.flatnonzero(chosen)
    order = order[np.argsort(log.user[order] * span + log.time[order], kind="stable")]
    key = log.user[order] * span + log.time[order]
    start = np.searchsorted(key, log.user * span, side="left")
    return Past(order, start, np.searchsorted(key, log.user * span + log.time, side="left"))


def slices(values: Values, start: Ints, end: Ints) -> pa.ListArray:
    """List column whose row r is values[start[r]:end[r]]."""
    sizes = end - start
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)
    flat = np.arange(offsets[-1]) - np.repeat(offsets[:-1], sizes) + np.repeat(start, sizes)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values[flat]))
