"""Negative sampling: weighted random items that are not in the batch, appended below its rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from tzrec_build.data.row_errors import ColumnError
from tzrec_build.errors import DataError

Int64Array = npt.NDArray[np.int64]
Float64Array = npt.NDArray[np.float64]

HEADER = ("id:int64", "weight:float", "attrs:string")
_LIST_SEPARATOR = "\x1d"
# below this share of allowed weight, drawing and rejecting costs more than one pass over all items
_REJECTION_FLOOR = 0.2


@dataclass(frozen=True, slots=True)
class ItemTable:
    """The items that can be sampled.

    Attributes:
        path: of the text table.
        ids: int64 [n], unique.
        weights: float64 [n], not negative, some above 0.
        attrs: text [n], attributes joined by a delimiter.
    """

    path: str
    ids: Int64Array
    weights: Float64Array
    attrs: pa.Array


def load_item_table(path: str, field_delimiter: str = "\t") -> ItemTable:
    """Read a text table with the header line ``id:int64 weight:float attrs:string``.

    Raises:
        DataError: absent, unreadable, another header, a bad or repeated id, a negative weight, no weight above 0.
    """
    try:
        table = pa_csv.read_csv(
            path,
            parse_options=pa_csv.ParseOptions(delimiter=field_delimiter, quote_char=False),
            convert_options=pa_csv.ConvertOptions(
                column_types=dict(zip(HEADER, (pa.int64(), pa.float64(), pa.string()), strict=True))
            ),
        )
    except FileNotFoundError as err:
        raise DataError(
            f"{path}: no such file; the negative sampler's input_path starts from the current directory"
        ) from err
    except (pa.ArrowException, OSError) as err:
        raise DataError(
            f"{path}: not a readable sampler table ({str(err).splitlines()[0]}); its lines are id, weight, attrs"
        ) from err
    if tuple(table.column_names) != HEADER:
        expected = field_delimiter.join(HEADER)
        raise DataError(
            f"{path}: the first line must be {expected!r}, got {field_delimiter.join(table.column_names)!r}"
        )
    if table.column(0).null_count or table.column(1).null_count:
        raise DataError(f"{path}: every line needs an id and a weight, got an empty one")
    ids = table.column(0).to_numpy()
    weights = table.column(1).to_numpy()
    if len(np.unique(ids)) != len(ids):
        raise DataError(f"{path}: ids must be unique, got {len(ids) - len(np.unique(ids))} repeated ones")
    if not (np.isfinite(weights).all() and (weights >= 0).all() and weights.sum() > 0):
        raise DataError(f"{path}: weights must be finite, not negative, and one of them above 0")
    return ItemTable(path, ids, weights, table.column(2).combine_chunks())


class NegativeSampler:
    """Draws `sample_count` items per batch, shared by its rows.

    Args:
        table: the items.
        attr_fields: data columns that `attrs` holds, in its order.
        attr_delimiter: between the attributes.
        item_id_field: data column with the item of a row.
        sample_count: items per batch.
        types: data column -> Arrow type; attributes of other columns are not read.
    Raises:
        DataError: a line with another number of attributes, or an attribute that does not fit its column's type.
    """

    def __init__(
        self,
        table: ItemTable,
        *,
        attr_fields: Sequence[str],
        attr_delimiter: str,
        item_id_field: str,
        sample_count: int,
        types: Mapping[str, pa.DataType],
    ) -> None:
        self._table = table
        self._item_id_field = item_id_field
        self._sample_count = sample_count
        self._attributes = _split_attributes(table, attr_fields, attr_delimiter, types)
        self._order = np.argsort(table.ids, kind="stable")
        self._sorted_ids = table.ids[self._order]
        self._cumulative = np.cumsum(table.weights)

    def extend(self, columns: Mapping[str, pa.Array], rng: np.random.Generator) -> dict[str, pa.Array]:
        """Append the attributes of the drawn items to their columns; other columns stay as they are.

        Raises:
            ColumnError: the item column holds no integers.
            DataError: every item with a weight is in the batch.
        """
        drawn = pa.array(self.draw(_item_ids(self._item_id_field, columns[self._item_id_field]), rng))
        extended = dict(columns)
        for name, values in self._attributes.items():
            if name in extended:
                extended[name] = pa.concat_arrays([extended[name], values.take(drawn)])
        return extended

    def draw(self, batch_ids: Int64Array, rng: np.random.Generator) -> Int64Array:
        """Positions in the table of `sample_count` items (repeats are possible), none of them in the batch."""
        excluded = np.zeros(len(self._sorted_ids), np.bool_)
        found = np.minimum(np.searchsorted(self._sorted_ids, batch_ids), len(self._sorted_ids) - 1)
        excluded[self._order[found[self._sorted_ids[found] == batch_ids]]] = True
        weights = np.where(excluded, 0.0, self._table.weights)
        allowed = float(weights.sum())
        if allowed <= 0:
            raise DataError(
                f"{self._table.path}: every item with a weight is in the batch, none is left to sample; add items or lower batch_size"
            )
        if allowed < _REJECTION_FLOOR * self._cumulative[-1]:
            return _pick(np.cumsum(weights), self._sample_count, rng)
        drawn = np.zeros(0, np.int64)
        while len(drawn) < self._sample_count:
            more = _pick(self._cumulative, self._sample_count, rng)
            drawn = np.concatenate([drawn, more[~excluded[more]]])
        return drawn[: self._sample_count]


def _pick(cumulative: Float64Array, count: int, rng: np.random.Generator) -> Int64Array:
    points = rng.random(count) * cumulative[-1]
    # "right" never lands on an item of weight 0: its step has no width
    picked = np.searchsorted(cumulative, points, side="right")
    last = np.searchsorted(cumulative, cumulative[-1], side="left")
    return np.minimum(picked, last).astype(np.int64)


def _item_ids(name: str, column: pa.Array) -> Int64Array:
    try:
        ids: Int64Array = pc.fill_null(column.cast(pa.int64()), 0).to_numpy(zero_copy_only=False)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as err:
        raise ColumnError(name, f"item_id_field of the negative sampler must hold integers, got {column.type}") from err
    return ids


def _split_attributes(
    table: ItemTable, fields: Sequence[str], delimiter: str, types: Mapping[str, pa.DataType]
) -> dict[str, pa.Array]:
    parts = pc.split_pattern(table.attrs, delimiter)
    counts = pc.fill_null(pc.list_value_length(parts), 0).to_numpy(zero_copy_only=False)
    bad = counts != len(fields)
    if bad.any():
        row = int(bad.argmax())
        raise DataError(
            f"{table.path}: line {row + 2}: attrs must hold {len(fields)} values split by {delimiter!r} (attr_fields), got {int(counts[row])}"
        )
    wanted = [(at, name) for at, name in enumerate(fields) if name in types]
    return {name: _typed(table.path, name, pc.list_element(parts, at), types[name]) for at, name in wanted}


def _typed(path: str, name: str, texts: pa.Array, kind: pa.DataType) -> pa.Array:
    try:
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            return texts.cast(kind)
        if pa.types.is_list(kind) or pa.types.is_large_list(kind):
            lists = pc.split_pattern(texts, _LIST_SEPARATOR)
            empty = pc.equal(texts, "")
            return pc.if_else(empty, pa.scalar([], pa.list_(pa.string())), lists).cast(kind)
        return pc.if_else(pc.equal(texts, ""), pa.scalar(None, pa.string()), texts).cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as err:
        raise DataError(
            f"{path}: attribute {name!r} must be {kind} as in the data ({str(err).splitlines()[0]})"
        ) from err
