"""The evaluation of a checkpoint as one JSON line."""

from __future__ import annotations

import json
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.tiny_pipeline import DSSM, config_text, write_pipeline
from tzrec_build.config.load import canonical_text, parse_pipeline_config
from tzrec_build.config.projection import project
from tzrec_build.tools.evaluate import main
from tzrec_build.tools.pick_checkpoint import main as pick_checkpoint
from tzrec_build.tools.train import main as train


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    text = config_text(train="num_steps: 9 save_checkpoints_steps: 4")
    assert train([*write_pipeline(folder, text), "--model_dir", str(folder / "model")]) == 0
    return folder


def _flags(folder, out, *more):
    return [
        *("--pipeline_config_path", str(folder / "pipeline.config"), "--eval_result_path", str(out)),
        *("--eval_input_path", str(folder / "eval.parquet"), "--device", "cpu", *more),
    ]


def test_it_gives_what_training_wrote_for_the_same_checkpoint(trained, tmp_path):
    # the sharded model of training and the whole model of the tool are two paths to the same numbers
    assert main(_flags(trained, tmp_path / "r.txt", "--model_dir", str(trained / "model"))) == 0
    line = (trained / "model" / "train_eval_result_v2.txt").read_text().splitlines()[-1]
    assert json.loads((tmp_path / "r.txt").read_text()) == pytest.approx(json.loads(line), abs=1e-6)
    assert list(json.loads(line)) == ["global_step", "auc", "binary_cross_entropy"]


@pytest.mark.parametrize("case", ["sampled negatives", "drop_remainder"])
def test_training_and_the_tool_evaluate_the_same_rows_and_negatives(tmp_path, case):
    items = "id:int64\tweight:float\tattrs:string\n" + "".join(f"{i}\t1\t{i}:0.5\n" for i in range(40))
    (tmp_path / "items.txt").write_text(items)
    sampler = (
        f'negative_sampler {{ input_path: "{tmp_path}/items.txt" num_sample: 8 attr_fields: ["item", "price"] '
        'item_id_field: "item" }'
    )
    sampled = config_text(DSSM.replace("in_batch_negative: true", ""), data=sampler)
    text = sampled if case == "sampled negatives" else config_text(data="drop_remainder: true")
    assert train([*write_pipeline(tmp_path, text), "--model_dir", str(tmp_path / "model"), "--seed", "5"]) == 0
    flags = _flags(tmp_path, tmp_path / "r.txt", "--model_dir", str(tmp_path / "model"))
    (tmp_path / "pipeline.config").write_text(canonical_text(project(parse_pipeline_config(text, "x.config"), "eval")))
    assert main(flags) == 0
    line = (tmp_path / "model" / "train_eval_result_v2.txt").read_text().splitlines()[-1]
    assert json.loads((tmp_path / "r.txt").read_text()) == pytest.approx(json.loads(line), abs=1e-6)


def test_the_picked_checkpoint_is_used(trained, tmp_path):
    pick = tmp_path / "pick.json"
    flags = ["--model_dir", str(trained / "model"), "--by", "step", "--step", "4", "--output_path", str(pick)]
    assert pick_checkpoint(flags) == 0
    assert main(_flags(trained, tmp_path / "r.txt", "--model_dir", str(trained / "model"), "--pick", str(pick))) == 0
    assert json.loads((tmp_path / "r.txt").read_text())["global_step"] == 4


def test_a_label_that_the_loss_does_not_know_is_refused(trained, tmp_path, capsys):
    table = pq.read_table(trained / "eval.parquet")
    at = table.schema.get_field_index("clk")
    bad = pa.array([1] * 60 + [2] + [0] * (len(table) - 61))
    pq.write_table(table.set_column(at, "clk", bad), tmp_path / "bad.parquet")
    flags = _flags(trained, tmp_path / "r.txt", "--model_dir", str(trained / "model"))
    flags[flags.index("--eval_input_path") + 1] = str(tmp_path / "bad.parquet")
    assert main(flags) == 1
    words = (
        "bad.parquet: row 60, column 'clk': a label must be in [0, 1] for binary_cross_entropy, got 2; mend the table"
    )
    assert words in capsys.readouterr().err


def test_a_checkpoint_under_another_name_has_no_step(trained, tmp_path):
    shutil.copytree(trained / "model" / "model.ckpt-8", tmp_path / "best")
    assert main(_flags(trained, tmp_path / "r.txt", "--checkpoint_path", str(tmp_path / "best"))) == 0
    assert json.loads((tmp_path / "r.txt").read_text())["global_step"] is None


def test_a_checkpoint_of_another_model_is_refused(trained, tmp_path, capsys):
    other = tmp_path / "other.config"
    other.write_text(config_text().replace("num_buckets: 40", "num_buckets: 41"))
    flags = _flags(trained, tmp_path / "r.txt", "--checkpoint_path", str(trained / "model" / "model.ckpt-8"))
    flags[1] = str(other)
    assert main(flags) == 1
    assert "is wanted, got shape (40, 4); use the config it was trained with" in capsys.readouterr().err
    assert not (tmp_path / "r.txt").exists()


def test_an_evaluation_of_some_batches_stops_there(trained, tmp_path):
    text = (trained / "pipeline.config").read_text()
    (tmp_path / "c.config").write_text(text + "eval_config { num_steps: 1 }")
    flags = _flags(trained, tmp_path / "r.txt", "--model_dir", str(trained / "model"))
    assert main(flags) == 0
    whole = (tmp_path / "r.txt").read_text()
    flags[1] = str(tmp_path / "c.config")
    assert main(flags) == 0
    assert (tmp_path / "r.txt").read_text() != whole
