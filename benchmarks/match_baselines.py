"""What recommending the most popular films reaches on the requests of workspace/movielens_match: run, never quoted.

    python match_baselines.py --train_input_path match_train.parquet --user_gt_input hitrate_users.parquet --output_path F

popularity: every request gets the films that were liked most often in the training part, without those that the user
has rated before; a tie goes to the smaller id. Hit rate as in the tool `hitrate`: hits of all requests / liked films of
all requests. F gets {"baselines": {"popularity": {"hitrate@50": ..}}}; the same input gives the same bytes.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

TOP_K = 50


def mask_of(lists: pa.ListArray, items: int) -> npt.NDArray[np.bool_]:
    """[rows, items] bool: which item ids a list column holds."""
    mask = np.zeros((len(lists), items), np.bool_)
    mask[pc.list_parent_indices(lists).to_numpy(), lists.flatten().to_numpy()] = True
    return mask


def popularity_hit_rate(liked: npt.NDArray[np.int64], truth: pa.ListArray, seen: pa.ListArray) -> float:
    """Hit rate at TOP_K of the most popular items that the user has not seen.

    Args:
        liked: item id of every liked row of the training part.
        truth: for each request the item ids that are liked.
        seen: for each request the item ids that cannot be recommended.
    """
    most = max(int(liked.max()), pc.max(truth.flatten()).as_py(), pc.max(seen.flatten()).as_py() or 0)
    ranking = np.argsort(-np.bincount(liked, minlength=most + 1), kind="stable")
    ranking = ranking[np.isin(ranking, liked)]
    allowed = ~mask_of(seen, most + 1)[:, ranking]
    recalled = allowed & (np.cumsum(allowed, axis=1) <= TOP_K)
    return float((recalled & mask_of(truth, most + 1)[:, ranking]).sum() / len(truth.flatten()))


def read_columns(path: str, names: Sequence[str]) -> pa.Table:
    """Some columns of a table that has rows.

    Raises:
        ValueError: a column is missing, or there is no row.
    """
    found = pq.read_schema(path).names
    missing = [name for name in names if name not in found]
    if missing:
        raise ValueError(f"{path}: column {missing[0]!r} not found, got {found}")
    table = pq.read_table(path, columns=list(names))
    if not len(table):
        raise ValueError(f"{path}: must hold rows, got none")
    return table


def main(argv: Sequence[str]) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="Baselines of the retrieval demo.")
    parser.add_argument("--train_input_path", required=True)
    parser.add_argument("--user_gt_input", required=True)
    parser.add_argument("--output_path", required=True, type=Path)
    args = parser.parse_args(argv)
    try:
        train = read_columns(args.train_input_path, ("item_id",))
        users = read_columns(args.user_gt_input, ("gt_items", "seen_items"))
    except (OSError, ValueError) as err:  # ArrowInvalid, no parquet file, is a ValueError
        sys.stderr.write(f"match_baselines: {err}; the tables are made by workspace/movielens/tables.py\n")
        return 1
    truth, seen = (users[name].combine_chunks() for name in ("gt_items", "seen_items"))
    rate = popularity_hit_rate(train["item_id"].to_numpy(), truth, seen)
    args.output_path.parent.mkdir(parents=True, exist_ok=True)
    work = args.output_path.with_name(f".{args.output_path.name}")
    result = {"baselines": {"popularity": {f"hitrate@{TOP_K}": round(rate, 6)}}}
    work.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    work.replace(args.output_path)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
