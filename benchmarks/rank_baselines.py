"""What simpler models reach on the tables of workspace/movielens_rank: run, never quoted.

    python rank_baselines.py --train_input_path rank_train.parquet --eval_input_path rank_eval.parquet --output_path F

Three models for each of the labels like and love:
  user+item mean logistic  the two running means, nothing else
  logistic regression      every column of the table: numbers as they are and in 20 steps, one-hot, multi-hot histories
  LightGBM                 the same columns; numbers as they are, categories as codes, histories as sparse columns
Strength, size and whether the ids and histories help are chosen on the last tenth of the training part, for each label
on its own; then the model is fitted to the whole training part and judged once on the evaluation part.
F gets {"baselines": {model: {"auc_like": .., "auc_love": ..}}, "chosen": ..}; the same input gives the same bytes.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # before the first import of NumPy: one thread, so that every run adds up alike

import lightgbm
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from scipy import sparse
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

LABELS = ("like", "love")
MEANS = ("user_mean", "item_mean")
NUMBERS = (*MEANS, "user_count", "user_bias", "item_count", "item_bias", "genre_bias", "item_age", "age", "year")
LOGARITHMIC = ("user_count", "item_count", "item_age")
CATEGORIES = ("gender", "occupation", "zip_prefix")
IDS = ("user_id", "item_id")
HISTORIES = (  # list column of items, list column of their weights ("" for 1 each)
    ("liked_items", ""),
    ("disliked_items", ""),
    ("recent__item_id", "recent__residual"),
)
STEPS = 20
HELD_OUT = 0.1
LOGISTIC_C = (0.0003, 0.001, 0.003)  # on the held-out tenth 0.0001 is level with the first, from 0.01 on it falls
TREES = 100
TREE_COUNTS = (25, 50, 75, TREES)
LEAVES = (7, 15)

Floats = npt.NDArray[np.float64]
Matrix = Any  # a SciPy CSR matrix or a dense array; both libraries take either


@dataclass(frozen=True, slots=True)
class Candidate:
    """One setting of a model: `fit(X, y)` returns score functions, one for each of `names`."""

    matrix: Matrix
    names: tuple[str, ...]
    fit: Callable[[Matrix, Floats], list[Callable[[Matrix], Floats]]]


@dataclass(frozen=True, slots=True)
class Rows:
    """Row numbers in the joined table: `fit` and `held` are the training part without and only its last tenth."""

    fit: npt.NDArray[np.int64]
    held: npt.NDArray[np.int64]
    train: npt.NDArray[np.int64]
    evaluate: npt.NDArray[np.int64]


def split_rows(train: pa.Table, evaluate: pa.Table) -> Rows:
    """Split by `row`, the place of a rating in time: the training table itself is shuffled."""
    row = train["row"].to_numpy()
    late = row >= np.sort(row)[int(len(row) * (1 - HELD_OUT))]
    everything = np.arange(len(train) + len(evaluate))
    inside = everything[: len(train)]
    return Rows(inside[~late], inside[late], inside, everything[len(train) :])


def one_hot(table: pa.Table, name: str) -> sparse.csr_matrix:
    """[N, distinct values] of one column."""
    codes = table[name].combine_chunks().dictionary_encode().indices.to_numpy()
    return sparse.csr_matrix((np.ones(len(codes), np.float32), (np.arange(len(codes)), codes)))


def multi_hot(table: pa.Table, name: str, weights: str) -> sparse.csr_matrix:
    """[N, distinct values] of one list column, its weights divided by the length of the list."""
    lists = table[name].combine_chunks()
    row = pc.list_parent_indices(lists).to_numpy()
    codes = lists.flatten().dictionary_encode().indices.to_numpy()
    value = table[weights].combine_chunks().flatten().to_numpy() if weights else np.ones(len(row), np.float32)
    length = np.bincount(row, minlength=len(lists)).astype(np.float32)
    return sparse.csr_matrix((value / length[row], (row, codes)), (len(lists), codes.max(initial=0) + 1))


def number(table: pa.Table, name: str) -> npt.NDArray[np.float32]:
    """One numeric column; a missing value is 0, a heavy tail is taken by its logarithm."""
    values = pc.fill_null(pc.cast(table[name], pa.float32()), 0).to_numpy()
    return np.log1p(np.maximum(values, 0)) if name in LOGARITHMIC else values


def linear_blocks(table: pa.Table, rows: Rows) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
    """Columns of the logistic regression: without and with ids and histories. Scales and steps come from rows.train."""
    blocks = []
    for name in NUMBERS:
        values = number(table, name)
        seen = values[rows.train]
        blocks.append(sparse.csr_matrix(((values - seen.mean()) / seen.std())[:, None]))
        edges = np.unique(np.quantile(seen, np.linspace(0, 1, STEPS + 1)[1:-1]))
        codes = np.searchsorted(edges, values, side="right")
        blocks.append(sparse.csr_matrix((np.ones(len(codes), np.float32), (np.arange(len(codes)), codes))))
    blocks += [one_hot(table, name) for name in CATEGORIES] + [multi_hot(table, "genres", "")]
    wide = [one_hot(table, name) for name in IDS] + [multi_hot(table, *history) for history in HISTORIES]
    core = sparse.hstack(blocks).tocsr()
    return core, sparse.hstack([core, *wide]).tocsr()


def tree_blocks(table: pa.Table) -> tuple[npt.NDArray[np.float32], sparse.csr_matrix]:
    """Columns of LightGBM: without and with ids and histories."""
    codes = [table[name].combine_chunks().dictionary_encode().indices.to_numpy() for name in CATEGORIES]
    numbers = np.stack([*(number(table, name) for name in NUMBERS), *codes], axis=1)
    core = np.hstack([numbers, multi_hot(table, "genres", "").toarray()]).astype(np.float32)
    ids = np.stack([table[name].to_numpy() for name in IDS], axis=1).astype(np.float32)
    wide = [sparse.csr_matrix(ids), *(multi_hot(table, *history) for history in HISTORIES)]
    return core, sparse.hstack([sparse.csr_matrix(core), *wide]).tocsr()


def logistic(strength: float) -> Callable[[Matrix, Floats], list[Callable[[Matrix], Floats]]]:
    """Logistic regression with one inverse penalty."""

    def fit(matrix: Matrix, label: Floats) -> list[Callable[[Matrix], Floats]]:
        return [LogisticRegression(C=strength, max_iter=200).fit(matrix, label).decision_function]

    return fit


def boosted(leaves: int) -> Callable[[Matrix, Floats], list[Callable[[Matrix], Floats]]]:
    """LightGBM with one number of leaves, at every number of trees in TREE_COUNTS."""
    fixed = {
        "objective": "binary",
        "learning_rate": 0.08,
        "min_data_in_leaf": 50,
        "feature_fraction": 0.7,
        "max_bin": 63,
    }
    sampled = {"bagging_fraction": 0.8, "bagging_freq": 1, "seed": 7}
    single = {"num_threads": 1, "deterministic": True, "force_col_wise": True, "verbosity": -1}

    def fit(matrix: Matrix, label: Floats) -> list[Callable[[Matrix], Floats]]:
        data = lightgbm.Dataset(matrix, label)
        model = lightgbm.train({**fixed, **sampled, **single, "num_leaves": leaves}, data, num_boost_round=TREES)
        return [lambda rows, count=count: model.predict(rows, num_iteration=count) for count in TREE_COUNTS]

    return fit


def candidates(table: pa.Table, rows: Rows) -> dict[str, list[Candidate]]:
    """Every setting that is tried, by model."""
    means = np.stack([number(table, name) for name in MEANS], axis=1)
    linear = dict(zip(("plain", "ids and histories"), linear_blocks(table, rows), strict=True))
    trees = dict(zip(("plain", "ids and histories"), tree_blocks(table), strict=True))
    return {
        "user+item mean logistic": [Candidate(means, ("C=1",), logistic(1.0))],
        "logistic regression": [
            Candidate(matrix, (f"{kind}, C={strength}",), logistic(strength))
            for kind, matrix in linear.items()
            for strength in LOGISTIC_C
        ],
        "LightGBM": [
            Candidate(
                matrix, tuple(f"{kind}, {leaves} leaves, {count} trees" for count in TREE_COUNTS), boosted(leaves)
            )
            for kind, matrix in trees.items()
            for leaves in (LEAVES if kind == "plain" else LEAVES[-1:])
        ],
    }


def judge(tried: Sequence[Candidate], label: Floats, rows: Rows) -> tuple[str, float]:
    """Choose on the held-out tenth, fit again on all training rows; returns the setting and its evaluation AUC."""
    settings = []
    for candidate in tried:
        if len(tried) == 1:
            settings.append((0.0, candidate, 0))
            continue
        scores = candidate.fit(candidate.matrix[rows.fit], label[rows.fit])
        held = candidate.matrix[rows.held]
        settings += [(roc_auc_score(label[rows.held], score(held)), candidate, at) for at, score in enumerate(scores)]
    _, best, at = max(settings, key=lambda setting: setting[0])
    score = best.fit(best.matrix[rows.train], label[rows.train])[at]
    return best.names[at], float(roc_auc_score(label[rows.evaluate], score(best.matrix[rows.evaluate])))


def run(train_path: str, eval_path: str) -> dict[str, Any]:
    """All baselines of both labels, as the JSON object of the output."""
    train, evaluate = pq.read_table(train_path), pq.read_table(eval_path)
    rows, table = split_rows(train, evaluate), pa.concat_tables([train, evaluate])
    baselines: dict[str, dict[str, float]] = {}
    chosen: dict[str, dict[str, str]] = {}
    for model, tried in candidates(table, rows).items():
        found = {name: judge(tried, table[name].to_numpy().astype(np.float64), rows) for name in LABELS}
        chosen[model] = {name: setting for name, (setting, _) in found.items()}
        baselines[model] = {f"auc_{name}": round(auc, 6) for name, (_, auc) in found.items()}
        sys.stderr.write(f"{model}: {baselines[model]}  {chosen[model]}\n")
    return {"baselines": baselines, "chosen": chosen}


def main(argv: Sequence[str]) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="Baselines of the ranking demo.")
    parser.add_argument("--train_input_path", required=True)
    parser.add_argument("--eval_input_path", required=True)
    parser.add_argument("--output_path", required=True, type=Path)
    args = parser.parse_args(argv)
    try:
        result = run(args.train_input_path, args.eval_input_path)
    except (OSError, KeyError, pa.ArrowInvalid) as err:
        sys.stderr.write(f"rank_baselines: {err}; the tables are made by workspace/movielens/tables.py\n")
        return 1
    args.output_path.parent.mkdir(parents=True, exist_ok=True)
    work = args.output_path.with_name(f".{args.output_path.name}")
    work.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    work.replace(args.output_path)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
