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


def table_of(built, item_mean, like, love):
    """Rows of a real table with other item means and labels; the user means are all alike."""
    rows = pq.read_table(built / "rank_train.parquet").slice(0, len(like))
    place = np.arange(len(like))
    columns = {"row": place, "user_mean": np.full(len(like), 3.5), "item_mean": item_mean, "like": like, "love": love}
    for name, values in columns.items():
        at = rows.column_names.index(name)
        rows = rows.set_column(at, name, pa.array(np.asarray(values), rows.schema.field(name).type))
    return rows


def test_the_auc_of_the_means_by_hand(rank_baselines, built, tmp_path):
    # trained on: a higher mean, more likes and fewer loves (user means without any information, so not constant)
    high = np.arange(200) % 2
    noise = (np.arange(200) // 2) % 4 == 0
    train = table_of(built, 3.0 + high, high ^ noise, 1 - high ^ noise)
    train = train.set_column(train.column_names.index("user_mean"), "user_mean", pa.array(3.0 + (np.arange(200) % 3)))
    # judged on: liked rows at means 2 and 4, others at 1 and 3: 3 of 4 pairs in order; loved: the first alone
    evaluate = table_of(built, [1.0, 2.0, 3.0, 4.0], [0, 1, 0, 1], [0, 1, 0, 0])
    pq.write_table(train.cast(evaluate.schema), tmp_path / "rank_train.parquet")
    pq.write_table(evaluate, tmp_path / "eval.parquet")
    found = json.loads(run_rank(rank_baselines, tmp_path, tmp_path / "eval.parquet", tmp_path / "o.json"))["baselines"]
    assert list(found) == ["user+item mean logistic", "logistic regression", "LightGBM"]
    # loved means go down: the loved row at 2 lies above 3 and 4, below 1
    assert found["user+item mean logistic"] == {"auc_like": 0.75, "auc_love": pytest.approx(2 / 3, abs=1e-6)}


def test_rank_baselines_name_a_missing_column(rank_baselines, built, tmp_path, capsys):
    for name in ("rank_train", "rank_eval"):
        pq.write_table(pq.read_table(built / f"{name}.parquet").drop_columns(["item_mean"]), tmp_path / name)
    flags = ["--train_input_path", str(tmp_path / "rank_train"), "--eval_input_path", str(tmp_path / "rank_eval")]
    assert rank_baselines.main([*flags, "--output_path", str(tmp_path / "o.json")]) == 1
    assert '"item_mean"' in capsys.readouterr().err
    assert not (tmp_path / "o.json").exists()


LISTS = pa.list_(pa.int64())
REQUESTS = {"gt_items": pa.array([[1]], LISTS), "seen_items": pa.array([[]], LISTS)}


@pytest.mark.parametrize(
    ("train", "users", "message"),
    [
        ({"item": [1]}, REQUESTS, "t.parquet: column 'item_id' not found, got ['item']"),
        ({"item_id": [1]}, {"gt_items": [[1]]}, "u.parquet: column 'seen_items' not found, got ['gt_items']"),
        ({"item_id": pa.array([], pa.int64())}, REQUESTS, "t.parquet: must hold rows, got none"),
    ],
)
def test_match_baselines_refuse_tables_that_are_not_theirs(tmp_path, capsys, train, users, message):
    pq.write_table(pa.table(train), tmp_path / "t.parquet")
    pq.write_table(pa.table(users), tmp_path / "u.parquet")
    flags = ["--train_input_path", str(tmp_path / "t.parquet"), "--user_gt_input", str(tmp_path / "u.parquet")]
    assert match_baselines.main([*flags, "--output_path", str(tmp_path / "o.json")]) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "o.json").exists()


def test_popularity_breaks_ties_by_the_smaller_id_and_passes_over_seen_items(monkeypatch):
    monkeypatch.setattr(match_baselines, "TOP_K", 1)
    liked = np.array([9, 4, 4, 9])
    truth = pa.array([[4], [9], [9]])
    seen = pa.array([[], [], [4]], LISTS)  # recommended: 4, 4, 9
    assert match_baselines.popularity_hit_rate(liked, truth, seen) == pytest.approx(2 / 3)
