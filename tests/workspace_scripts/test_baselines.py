"""Baselines: hit rate by hand, choices that never see the evaluation part, the same bytes every time."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.workspace_scripts.raw_files import MOVIELENS, ROOT, load_script, write_raw

tables = load_script(MOVIELENS / "tables.py")
match_baselines = load_script(ROOT / "benchmarks/match_baselines.py")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("built")
    write_raw(folder / "raw")
    assert tables.main(["--input_dir", str(folder / "raw"), "--output_dir", str(folder)]) == 0
    return folder


def test_popularity_hit_rate_by_hand(monkeypatch):
    monkeypatch.setattr(match_baselines, "TOP_K", 2)
    liked = np.array([5, 5, 5, 3, 3, 1])  # most popular first: 5, 3, 1
    truth, seen = pa.array([[5], [1, 3], [7]]), pa.array([[], [5], [3]], pa.list_(pa.int64()))
    # recommended: 5 3 | 3 1 | 5 1; hits: 1, 2, 0 of 1, 2, 1
    assert match_baselines.popularity_hit_rate(liked, truth, seen) == pytest.approx(3 / 4)


def test_match_baselines_write_their_numbers(built):
    flags = ["--train_input_path", str(built / "match_train.parquet")]
    flags += ["--user_gt_input", str(built / "hitrate_users.parquet"), "--output_path", str(built / "m.json")]
    assert match_baselines.main(flags) == 0
    rate = json.loads((built / "m.json").read_text())["baselines"]["popularity"]["hitrate@50"]
    assert rate == 1.0  # fewer than 50 films, all of them liked by somebody


def test_match_baselines_name_a_missing_table(tmp_path, capsys):
    flags = ["--train_input_path", str(tmp_path / "no.parquet"), "--user_gt_input", "x", "--output_path", "y"]
    assert match_baselines.main(flags) == 1
    assert "no.parquet" in capsys.readouterr().err


@pytest.fixture
def rank_baselines(monkeypatch):
    pytest.importorskip("lightgbm")
    pytest.importorskip("sklearn")
    module = load_script(ROOT / "benchmarks/rank_baselines.py")
    for name, value in {"TREES": 4, "TREE_COUNTS": (2, 4), "LEAVES": (3, 5), "LOGISTIC_C": (0.01, 0.1)}.items():
        monkeypatch.setattr(module, name, value)
    return module


def run_rank(script, built, evaluate, output) -> bytes:
    flags = ["--train_input_path", str(built / "rank_train.parquet"), "--eval_input_path", str(evaluate)]
    assert script.main([*flags, "--output_path", str(output)]) == 0
    return output.read_bytes()


def test_rank_baselines_choose_without_the_evaluation_labels_and_repeat_themselves(rank_baselines, built, tmp_path):
    evaluate = pq.read_table(built / "rank_eval.parquet")
    for label in ("like", "love"):
        flipped = pa.array(1 - evaluate[label].to_numpy())
        evaluate = evaluate.set_column(evaluate.column_names.index(label), label, flipped)
    pq.write_table(evaluate, tmp_path / "flipped.parquet")
    honest = run_rank(rank_baselines, built, built / "rank_eval.parquet", tmp_path / "1.json")
    assert run_rank(rank_baselines, built, built / "rank_eval.parquet", tmp_path / "2.json") == honest
    first, other = (
        json.loads(honest),
        json.loads(run_rank(rank_baselines, built, tmp_path / "flipped.parquet", tmp_path / "3.json")),
    )
    assert first["chosen"] == other["chosen"]
    for model, values in first["baselines"].items():
        assert set(values) == {"auc_like", "auc_love"}
        for name, value in values.items():
            assert other["baselines"][model][name] == pytest.approx(1 - value, abs=2e-6)


def test_rank_baselines_name_a_missing_table(rank_baselines, tmp_path, capsys):
    flags = ["--train_input_path", str(tmp_path / "no.parquet"), "--eval_input_path", "x", "--output_path", "y"]
    assert rank_baselines.main(flags) == 1
    assert "no.parquet" in capsys.readouterr().err
