"""Predictions of a checkpoint as a table."""

from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.peer_cases import peer_case
from tests.tiny_pipeline import DSSM, config_text, write_pipeline, write_rows
from tzrec_build.tools.predict import main
from tzrec_build.tools.train import main as train


@pytest.fixture(scope="module")
def ranking(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranking")
    assert train([*write_pipeline(folder, config_text()), "--model_dir", str(folder / "model")]) == 0
    return folder


@pytest.fixture(scope="module")
def retrieval(tmp_path_factory):
    folder = tmp_path_factory.mktemp("retrieval")
    assert train([*write_pipeline(folder, config_text(DSSM)), "--model_dir", str(folder / "model")]) == 0
    return folder


def _flags(folder, out, *more, table="eval.parquet"):
    return [
        *("--pipeline_config_path", str(folder / "pipeline.config"), "--model_dir", str(folder / "model")),
        *("--predict_input_path", str(folder / table), "--predict_output_path", str(out), "--device", "cpu", *more),
    ]


def test_rows_keep_their_order_and_reserved_columns_come_last(ranking, tmp_path):
    assert main(_flags(ranking, tmp_path, "--reserved_columns", "row,clk")) == 0
    table = pq.read_table(tmp_path / "part-0.parquet")
    assert table.column_names == ["logits", "probs", "row", "clk"]
    assert table["row"].to_pylist() == list(range(120))
    logits, probs = (table[name].to_numpy() for name in ("logits", "probs"))
    np.testing.assert_allclose(probs, 1 / (1 + np.exp(-logits)), rtol=1e-5)


def test_predicting_needs_no_label(ranking, tmp_path):
    table = pq.read_table(write_rows(tmp_path / "rows.parquet")).drop(["clk"])
    pq.write_table(table, ranking / "unlabelled.parquet")
    assert main(_flags(ranking, tmp_path / "out", table="unlabelled.parquet")) == 0
    assert pq.read_table(tmp_path / "out").num_rows == len(table)


def test_chosen_outputs_only(ranking, tmp_path):
    assert main(_flags(ranking, tmp_path, "--output_columns", "probs")) == 0
    assert pq.read_table(tmp_path / "part-0.parquet").column_names == ["probs"]


def test_an_unknown_output_is_refused_and_nothing_is_written(ranking, tmp_path, capsys):
    assert main(_flags(ranking, tmp_path, "--output_columns", "prob")) == 2
    assert "--output_columns: the model gives no 'prob'; did you mean 'probs'?" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_tower_reads_only_its_own_columns(retrieval, tmp_path):
    items = pq.read_table(retrieval / "eval.parquet", columns=["row", "item", "price"])
    pq.write_table(items, retrieval / "items.parquet")
    flags = _flags(retrieval, tmp_path, "--tower", "item", "--reserved_columns", "item", table="items.parquet")
    assert main(flags) == 0
    table = pq.read_table(tmp_path / "part-0.parquet")
    assert table.column_names == ["item_tower_emb", "item"]
    vectors = np.array(table["item_tower_emb"].to_pylist(), np.float32)
    assert vectors.shape == (120, 4)


def test_a_match_model_needs_a_tower_and_a_rank_model_has_none(retrieval, ranking, tmp_path, capsys):
    assert main(_flags(retrieval, tmp_path)) == 2
    assert "a match model predicts one tower at a time" in capsys.readouterr().err
    assert main(_flags(ranking, tmp_path, "--tower", "item")) == 2
    assert "only match models have towers" in capsys.readouterr().err


def test_checkpoint_and_model_dir_exclude_each_other(ranking, tmp_path, capsys):
    assert main([*_flags(ranking, tmp_path), "--checkpoint_path", str(ranking / "model")]) == 2
    assert "--checkpoint_path, --model_dir: exactly one must be given" in capsys.readouterr().err


def test_a_bad_pick_file_is_named(ranking, tmp_path, capsys):
    pick = tmp_path / "pick.json"
    pick.write_text("[]")
    assert main(_flags(ranking, tmp_path / "out", "--pick", str(pick))) == 1
    assert f"{pick}: not a choice of a checkpoint" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["deepfm", "dbmtl", "multi_tower_din"])
def test_predictions_equal_those_of_torcheasyrec(name, tmp_path):
    case = peer_case(name)
    flags = ["--pipeline_config_path", str(case / "pipeline.config"), "--checkpoint_path", str(case / "model.ckpt-7")]
    flags += [
        "--predict_input_path",
        str(case / "eval.parquet"),
        "--predict_output_path",
        str(tmp_path),
        "--device",
        "cpu",
    ]
    assert main(flags) == 0
    ours, theirs = pq.read_table(tmp_path / "part-0.parquet"), pq.read_table(case / "predictions.parquet")
    for column in ours.column_names:
        np.testing.assert_allclose(ours[column].to_numpy(), theirs[column].to_numpy(), atol=1e-5)


@pytest.mark.parametrize("tower", ["user", "item"])
def test_tower_embeddings_equal_those_of_torcheasyrec(tower, tmp_path):
    case = peer_case("dssm")
    flags = ["--pipeline_config_path", str(case / "pipeline.config"), "--checkpoint_path", str(case / "model.ckpt-7")]
    flags += ["--predict_input_path", str(case / "eval.parquet"), "--predict_output_path", str(tmp_path)]
    assert main([*flags, "--tower", tower, "--device", "cpu"]) == 0
    ours, theirs = (
        np.array(pq.read_table(path)[f"{tower}_tower_emb"].to_pylist(), np.float32)
        for path in (tmp_path / "part-0.parquet", case / "predictions.parquet")
    )
    np.testing.assert_allclose(ours, theirs.reshape(ours.shape), atol=1e-5)
