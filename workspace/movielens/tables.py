"""Make the training tables of the demo from the MovieLens-100K log.

Every feature of a row is computed from log rows with a strictly earlier time stamp (and from the static user
and item files), so that a row holds only what a live system would know when the rating is given. Running
counts and means go on through the evaluation part in the same way: that is how an online feature store works.

Tables written to --output_dir, all parquet but the last:
  rank_train, rank_eval    one row per rating; labels like (rating >= 4) and love (rating 5)
  match_train, match_eval  the liked rows only
  hitrate_users            one row per request: a user at a moment of the evaluation part who then likes something;
                           gt_items = what is liked at that moment, seen_items = all that was rated earlier
  items                    one row per item
  negatives.txt            the same items for the negative sampler: id, weight, attrs (year and genres)

    python tables.py --input_dir RAW --output_dir OUT [--seed 7] [--eval_from 0.8] [--eval_to 1.0]

Hyper-parameters are tuned with --eval_from 0.72 --eval_to 0.8: the last tenth of the training part is then the
evaluation part, and later rows are dropped as soon as they are read.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from ratings import Ints, Log, Raw, TableError, past_of, read_raw, running_sums, slices

LIKE, LOVE, DISLIKE = 4, 5, 2  # like: rating >= 4, love: rating >= 5, dislike: rating <= 2
HISTORY_LENGTH = 50  # liked_items, disliked_items
RECENT_LENGTH = 30  # the sequence with ratings
LAST_LENGTH = 5
SMOOTHING = 5  # pseudo ratings added to each running mean
MIDDLE_RATING = 3.0  # prior of the very first row
FINE = 1000  # residuals are summed as whole thousandths: integer sums do not depend on the order of other rows
MULTI_VALUE = "\x1d"  # separates the genres inside one attribute of the sampler table
SECONDS_PER_YEAR = 365.2425 * 86400
ROW_GROUP = 16384
SAMPLER_HEADER = "id:int64\tweight:float\tattrs:string"


@dataclass(frozen=True, slots=True)
class Spec:
    """What one run makes; eval_from and eval_to are shares of the log in order of time."""

    input_dir: Path
    output_dir: Path
    seed: int
    eval_from: float
    eval_to: float


def smoothed(sums: npt.NDArray[Any], counts: Ints, prior: npt.NDArray[np.float64] | float) -> npt.NDArray[np.float64]:
    """Mean of `counts` values pulled to `prior` as by SMOOTHING more of them; float64."""
    return (sums + SMOOTHING * prior) / (counts + SMOOTHING)


def running_features(raw: Raw) -> dict[str, npt.NDArray[np.float32]]:
    """Numeric features of every row of the log; float32 [N], each from strictly earlier rows only.

    user_mean, item_mean: smoothed means, pulled to the mean of the whole log so far. user_bias: how far the user
    rated above the items' means of the time. genre_bias: the same over the earlier ratings that share genres with
    the item (a rating counts once per shared genre), pulled to user_bias. item_bias: how far the item was rated
    above its users' means of the time.
    """
    log = raw.log
    rating = log.rating[:, None]
    everything, all_sums = running_sums(np.zeros(len(log), np.int64), log.time, rating)
    prior = smoothed(all_sums[:, 0], everything, MIDDLE_RATING)
    liked = (rating >= LIKE).astype(np.int64)
    user_count, user = running_sums(log.user, log.time, np.hstack([rating, liked]))
    item_count, item = running_sums(log.item, log.time, np.hstack([rating, liked]))
    user_mean, item_mean = smoothed(user[:, 0], user_count, prior), smoothed(item[:, 0], item_count, prior)
    above_item = np.rint((log.rating - item_mean) * FINE).astype(np.int64)
    above_user = np.rint((log.rating - user_mean) * FINE).astype(np.int64)
    genres = raw.genres[log.item]
    _, residual = running_sums(
        log.user, log.time, np.hstack([above_item[:, None], above_item[:, None] * genres, genres])
    )
    _, item_residual = running_sums(log.item, log.time, above_user[:, None])
    kinds = genres.shape[1]
    user_bias = smoothed(residual[:, 0] / FINE, user_count, 0.0)
    shared_sum = (residual[:, 1 : 1 + kinds] * genres).sum(axis=1) / FINE
    shared_count = (residual[:, 1 + kinds :] * genres).sum(axis=1)
    year = raw.items["year"].to_numpy(zero_copy_only=False)[log.item]
    features = {
        "user_count": user_count,
        "user_mean": user_mean,
        "user_bias": user_bias,
        "item_count": item_count,
        "item_mean": item_mean,
        "item_bias": smoothed(item_residual[:, 0] / FINE, item_count, 0.0),
        "genre_bias": smoothed(shared_sum, shared_count, user_bias),
        "item_age": np.nan_to_num(1970 + log.time / SECONDS_PER_YEAR - year, nan=0.0),
    }
    return {name: values.astype(np.float32) for name, values in features.items()}


def residuals(raw: Raw, features: dict[str, npt.NDArray[np.float32]]) -> npt.NDArray[np.float32]:
    """How far each rating lies above what its user and item had shown until then; known once it has been given."""
    return raw.log.rating.astype(np.float32) - features["item_mean"] - features["user_bias"]


def user_columns(raw: Raw, features: dict[str, npt.NDArray[np.float32]], rows: Ints) -> dict[str, pa.Array]:
    """What is known of the user before each of the log rows: the static columns and what they rated last."""
    log = raw.log
    item_id = raw.items["item_id"].to_numpy()[log.item]
    rated = past_of(log, np.ones(len(log), np.bool_))
    columns = {name: raw.users[name].take(pa.array(log.user[rows])).combine_chunks() for name in raw.users.column_names}
    return columns | {
        "liked_items": past_of(log, log.rating >= LIKE).lists(item_id, rows, HISTORY_LENGTH),
        "disliked_items": past_of(log, log.rating <= DISLIKE).lists(item_id, rows, HISTORY_LENGTH),
        "last_items": rated.lists(item_id, rows, LAST_LENGTH),
        "recent__item_id": rated.lists(item_id, rows, RECENT_LENGTH),
        "recent__rating": rated.lists(log.rating, rows, RECENT_LENGTH),
        "recent__residual": rated.lists(residuals(raw, features), rows, RECENT_LENGTH),
    }


def rating_table(raw: Raw, features: dict[str, npt.NDArray[np.float32]], rows: Ints) -> pa.Table:
    """One row per rating at the log positions `rows`: features and labels; `row` is the position itself."""
    log = raw.log
    rating = log.rating[rows]
    return pa.table(
        {
            "row": rows,
            "timestamp": log.time[rows],
            **user_columns(raw, features, rows),
            **{name: raw.items[name].take(pa.array(log.item[rows])) for name in raw.items.column_names},
            **{name: values[rows] for name, values in features.items()},
            "like": (rating >= LIKE).astype(np.int64),
            "love": (rating >= LOVE).astype(np.int64),
        }
    )


def request_table(raw: Raw, features: dict[str, npt.NDArray[np.float32]], rows: Ints) -> pa.Table:
    """One row per (user, moment) at which the user likes something, among the log positions `rows`."""
    log = raw.log
    liked = rows[log.rating[rows] >= LIKE]
    liked = liked[np.lexsort((liked, log.time[liked], log.user[liked]))]
    user, time = log.user[liked], log.time[liked]
    first = np.flatnonzero(np.concatenate([[True], (user[1:] != user[:-1]) | (time[1:] != time[:-1])])[: len(liked)])
    end = np.concatenate([first[1:], [len(liked)]])
    item_id = raw.items["item_id"].to_numpy()[log.item]
    request = liked[first]
    table = pa.table(
        {
            "request_id": request,
            "timestamp": log.time[request],
            **user_columns(raw, features, request),
            "user_count": features["user_count"][request],
            "gt_items": slices(item_id[liked], first, end),
            "seen_items": past_of(log, np.ones(len(log), np.bool_)).lists(item_id, request),
        }
    )
    return table.sort_by("request_id")


def sampler_lines(items: pa.Table) -> pa.Array:
    """Lines of the negative sampler's text table, one per item, all of weight 1: id, weight, attrs.

    attrs is item_id:year:genres, the order of attr_fields in the config; an unknown year is 0 as in the features.
    """
    item_id = pc.cast(items["item_id"], pa.string())
    year = pc.cast(pc.fill_null(items["year"], 0), pa.string())
    genres = pc.binary_join(items["genres"], MULTI_VALUE)
    attrs = pc.binary_join_element_wise(item_id, year, genres, ":")
    return pc.binary_join_element_wise(item_id, "1.0", attrs, "\t")


def split(log: Log, eval_from: float, eval_to: float) -> tuple[Ints, Ints]:
    """Log positions of the training and the evaluation part; no moment is in both.

    Args:
        eval_from, eval_to: shares of the log at which the evaluation part begins and ends.
    """
    begin, end = (
        int(np.searchsorted(log.time, log.time[int(len(log) * at)])) if at < 1 else len(log)
        for at in (eval_from, eval_to)
    )
    return np.arange(begin), np.arange(begin, end)


def build_tables(raw: Raw, spec: Spec) -> dict[str, pa.Table]:
    """All parquet tables by name; the rows of the training tables are in a random order given by the seed."""
    train, evaluate = split(raw.log, spec.eval_from, spec.eval_to)
    if not (len(train) and len(evaluate)):
        raise TableError(
            f"--eval_from {spec.eval_from} --eval_to {spec.eval_to}: both parts must hold ratings, no moment is in both,"
            f" got {len(train)} and {len(evaluate)} of {len(raw.log)}"
        )
    raw = replace(raw, log=raw.log.head(len(train) + len(evaluate)))
    features = running_features(raw)
    shuffled = np.random.default_rng(spec.seed).permutation(train)
    liked = raw.log.rating >= LIKE
    return {
        "rank_train": rating_table(raw, features, shuffled),
        "rank_eval": rating_table(raw, features, evaluate),
        "match_train": rating_table(raw, features, shuffled[liked[shuffled]]),
        "match_eval": rating_table(raw, features, evaluate[liked[evaluate]]),
        "hitrate_users": request_table(raw, features, evaluate),
        "items": raw.items,
    }


def write_tables(raw: Raw, spec: Spec) -> None:
    """Write every table beside its target, then rename it."""
    tables = build_tables(raw, spec)
    spec.output_dir.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        work = spec.output_dir / f".{name}.parquet"
        pq.write_table(table, work, row_group_size=ROW_GROUP, compression="zstd")
        work.replace(spec.output_dir / f"{name}.parquet")
    text = "\n".join([SAMPLER_HEADER, *sampler_lines(raw.items).to_pylist()]) + "\n"
    work = spec.output_dir / ".negatives.txt"
    work.write_text(text, encoding="utf-8")
    work.replace(spec.output_dir / "negatives.txt")


def main(argv: Sequence[str]) -> int:
    """Run from the command line; returns the exit code."""
    parser = argparse.ArgumentParser(description="Make the tables of the MovieLens demo.")
    parser.add_argument("--input_dir", required=True, type=Path)
    parser.add_argument("--output_dir", required=True, type=Path)
    parser.add_argument("--seed", type=int, help="order of the training rows")
    parser.add_argument("--eval_from", type=float, help="share of the log, in order of time, where evaluation begins")
    parser.add_argument("--eval_to", type=float, help="share of the log where evaluation ends")
    parser.set_defaults(seed=7, eval_from=0.8, eval_to=1.0)
    spec = Spec(**vars(parser.parse_args(argv)))
    try:
        if not 0 < spec.eval_from < spec.eval_to <= 1:
            raise TableError(
                f"--eval_from, --eval_to: must be 0 < from < to <= 1, got {spec.eval_from}, {spec.eval_to}"
            )
        write_tables(read_raw(spec.input_dir), spec)
    except (TableError, OSError) as err:
        sys.stderr.write(f"tables: {err}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
