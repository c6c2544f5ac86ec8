"""The train tool end to end on made-up rows."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.tiny_pipeline import DSSM, config_text, write_pipeline, write_rows
from tzrec_build.config.load import load_pipeline_config
from tzrec_build.tools.train import main
from tzrec_build.training.best import BestRule
from tzrec_build.training.checkpoint_dir import list_checkpoints, load_eval_results
from tzrec_build.training.checkpoint_reader import load_entries, read_tensors


def _digests(model_dir):
    return {
        str(path.relative_to(model_dir)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(model_dir.rglob("*"))
        if path.is_file() and "records" not in path.parts
    }


def _train(folder, text, *more):
    flags = write_pipeline(folder, text)
    assert main([*flags, "--model_dir", str(folder / "model"), *more]) == 0
    return folder / "model"


def _refused(capsys, flags, code=2):
    assert main(flags) == code
    return capsys.readouterr().err


def test_a_model_directory_holds_config_version_checkpoint_evaluation_and_records(tmp_path):
    model = _train(tmp_path, config_text())
    names = {str(path.relative_to(model)) for path in model.rglob("*") if path.is_file()}
    assert names == {
        "pipeline.config",
        "version",
        "train_eval_result_v2.txt",
        "records/losses.csv",
        "records/timings.json",
        *(f"model.ckpt-7/{name}" for name in ("plan", "dataloader_state.json")),
        *(f"model.ckpt-7/{part}/{name}" for part in ("model", "optimizer") for name in (".metadata", "__0_0.distcp")),
    }
    assert load_pipeline_config(model / "pipeline.config") == load_pipeline_config(tmp_path / "pipeline.config")
    assert json.loads((model / "model.ckpt-7" / "dataloader_state.json").read_text()) == {"__epochs_completed__": 1}


def test_training_learns_the_signal(tmp_path):
    model = _train(tmp_path, config_text(train="num_epochs: 10 save_checkpoints_epochs: 10"))
    assert load_eval_results(model)[79]["auc"] > 0.85
    rows = list(csv.DictReader((model / "records" / "losses.csv").read_text().splitlines()))
    assert [row["step"] for row in rows] == ["79"]
    assert float(rows[0]["binary_cross_entropy"]) < 0.6


def test_equal_seeds_give_equal_bytes_in_any_folder(tmp_path):
    text = config_text(train="num_epochs: 2 save_checkpoints_steps: 5", data="shuffle: true shuffle_buffer_size: 3")
    one = _digests(_train(tmp_path / "one", text))
    flags = write_pipeline(tmp_path / "a longer" / "name", text)
    other = tmp_path / "a longer" / "name" / "model"
    command = [sys.executable, "-m", "tzrec_build.tools.train", *flags, "--model_dir", str(other)]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "PYTHONHASHSEED": "77"})
    assert _digests(other) == one
    assert len(one) > 10


def test_another_seed_gives_another_model(tmp_path):
    one = _digests(_train(tmp_path / "one", config_text(), "--seed", "1"))
    other = _digests(_train(tmp_path / "two", config_text(), "--seed", "2"))
    assert one["model.ckpt-7/model/__0_0.distcp"] != other["model.ckpt-7/model/__0_0.distcp"]


def test_steps_save_at_their_multiples_and_at_the_end(tmp_path):
    model = _train(tmp_path, config_text(train="num_steps: 11 save_checkpoints_steps: 4"))
    assert [one.step for one in list_checkpoints(model)] == [4, 8, 10]
    assert sorted(load_eval_results(model)) == [4, 8, 10]


def test_a_step_is_saved_and_evaluated_once(tmp_path):
    model = _train(tmp_path, config_text(train="num_steps: 9 save_checkpoints_steps: 4"))
    assert len((model / "train_eval_result_v2.txt").read_text().splitlines()) == 2


def test_epochs_save_at_their_multiples(tmp_path):
    model = _train(tmp_path, config_text(train="num_epochs: 3 save_checkpoints_epochs: 2"))
    assert [one.step for one in list_checkpoints(model)] == [15, 23]


def test_only_the_newest_checkpoints_are_kept(tmp_path):
    model = _train(tmp_path, config_text(train="num_steps: 11 save_checkpoints_steps: 2 keep_checkpoint_max: 2"))
    assert [one.step for one in list_checkpoints(model)] == [8, 10]
    assert sorted(load_eval_results(model)) == [2, 4, 6, 8, 10]
    assert not list(model.glob(".*"))


def test_the_best_checkpoint_is_kept_for_a_best_export(tmp_path):
    train = "num_steps: 30 save_checkpoints_steps: 1 keep_checkpoint_max: 1"
    text = config_text(train=train) + 'export_config { exporter_type: "best" best_exporter_metric: "auc" }'
    model = _train(tmp_path, text)
    results = load_eval_results(model)
    best = max(results, key=lambda step: (results[step]["auc"], -step))
    assert [one.step for one in list_checkpoints(model)] == sorted({best, 29})


KEEP_ONE = config_text(train="num_steps: 30 save_checkpoints_steps: 1 keep_checkpoint_max: 1")


@pytest.mark.parametrize(
    ("flags", "name", "sign"),
    [
        (("--keep_best", "auc"), "auc", -1),
        (("--keep_best", "binary_cross_entropy", "--smaller_is_better"), "binary_cross_entropy", 1),
    ],
)
def test_the_best_checkpoint_by_the_flag_is_kept_whatever_the_config_says(tmp_path, flags, name, sign):
    text = KEEP_ONE + 'export_config { exporter_type: "best" best_exporter_metric: "nothing" }'
    model = _train(tmp_path, text.replace("lr: 0.1", "lr: 3.0"), *flags)
    results = load_eval_results(model)
    best = min(results, key=lambda step: (sign * results[step][name], step))
    assert [one.step for one in list_checkpoints(model)] == sorted({best, 29})


@pytest.mark.parametrize(
    ("text", "flags", "message"),
    [
        (KEEP_ONE, ("--keep_best", "aux"), "--keep_best: 'aux' is not evaluated; did you mean 'auc'?"),
        (
            KEEP_ONE + 'export_config { exporter_type: "best" best_exporter_metric: "aux" }',
            (),
            "export_config.best_exporter_metric: 'aux' is not evaluated; did you mean 'auc'?",
        ),
        (
            KEEP_ONE,
            ("--keep_best", "auc", "--eval_input_path", ""),
            "--keep_best: compares evaluations, so --eval_input_path must be given; add it",
        ),
    ],
)
def test_a_metric_to_keep_by_that_is_not_evaluated_is_refused_before_training(tmp_path, capsys, text, flags, message):
    given = write_pipeline(tmp_path, text)
    assert message in _refused(capsys, [*given, "--model_dir", str(tmp_path / "m"), *flags])
    assert not list((tmp_path / "m").glob("*"))


def test_a_metric_that_is_no_number_anywhere_protects_nothing(tmp_path):
    (tmp_path / "train_eval_result_v2.txt").write_text('{"global_step": 3, "auc": NaN}\n')
    assert BestRule("auc", larger_is_better=True, where="--keep_best").best_so_far(tmp_path) is None


def test_a_match_model_trains_and_reports_recall(tmp_path):
    model = _train(tmp_path, config_text(DSSM))
    assert set(load_eval_results(model)[7]) == {"recall@5", "softmax_cross_entropy"}


def test_fine_tuning_starts_from_weights_and_optimizer_state(tmp_path):
    # dropout and data order are fixed by the seed, so one more epoch from a checkpoint must go on where it ended
    first = _train(tmp_path / "one", config_text())
    model = _train(tmp_path / "two", config_text(train="num_steps: 1"), "--fine_tune_checkpoint", str(first))
    name = "model.output_mlp.weight"
    before, after = (
        read_tensors(path, [name])[name] for path in (first / "model.ckpt-7/model", model / "model.ckpt-0/model")
    )
    step = "state.model.output_mlp.weight.step"
    assert 0 < float((before - after).abs().max()) < 0.02  # one Adam step of rate 0.01
    assert float(read_tensors(model / "model.ckpt-0" / "optimizer", [step])[step]) == 9.0


def test_fine_tuning_skips_what_the_checkpoint_lacks_and_says_so(tmp_path, capsys):
    first = _train(tmp_path / "one", config_text())
    text = config_text(DSSM).replace('"user" feature_names: ["user", "tags"]', '"user" feature_names: ["user"]')
    flags = write_pipeline(tmp_path / "two", text)
    err = _refused(capsys, [*flags, "--model_dir", str(tmp_path / "m"), "--fine_tune_checkpoint", str(first)], 1)
    assert "shares no tensor with this model" in err
    wider = config_text().replace("hidden_units: [8]", "hidden_units: [16]")
    _train(tmp_path / "three", wider, "--fine_tune_checkpoint", str(first))
    assert "model.deep_mlp.mlp.0.perceptron.0.weight is absent there or has another shape" in capsys.readouterr().err


def test_a_frozen_table_stays_and_keeps_no_state(tmp_path):
    frozen = config_text().replace(
        "num_buckets: 30 embedding_dim: 4", "num_buckets: 30 embedding_dim: 4 trainable: false"
    )
    model = _train(tmp_path, frozen.replace("num_epochs: 1", "num_steps: 9 save_checkpoints_steps: 1"))
    name = "model.embedding_group.emb_impls.__BASE__.ebc.embedding_bags.user_emb.weight"
    first, last = (read_tensors(model / f"model.ckpt-{step}" / "model", [name])[name] for step in (1, 8))
    assert first.equal(last)
    assert not any(".user_emb." in entry for entry in load_entries(model / "model.ckpt-8" / "optimizer"))


@pytest.mark.parametrize("train", ["", "num_steps: 5 num_epochs: 5"])
def test_exactly_one_length_is_needed(tmp_path, capsys, train):
    flags = write_pipeline(tmp_path, config_text(train=train))
    err = _refused(capsys, [*flags, "--model_dir", str(tmp_path / "m")])
    assert "pipeline.config:3: exactly one of num_steps and num_epochs must be above 0" in err


def test_a_loss_that_is_no_number_names_its_step(tmp_path, capsys):
    text = config_text(train="num_steps: 20 save_checkpoints_steps: 3").replace("lr: 0.01", "lr: 1e38")
    flags = write_pipeline(tmp_path, text)
    err = _refused(capsys, [*flags, "--model_dir", str(tmp_path / "m")], 1)
    assert "train: loss binary_cross_entropy is not a finite number at step 1; lower the learning rates" in err
    assert not list((tmp_path / "m").glob("*.ckpt-*"))


def test_a_model_directory_in_use_is_refused(tmp_path, capsys):
    model = _train(tmp_path, config_text(train="num_steps: 1"))
    flags = write_pipeline(tmp_path, config_text())
    assert f"{model} holds model.ckpt-0 already; name an empty folder" in _refused(
        capsys, [*flags, "--model_dir", str(model)]
    )


def test_sparse_adam_is_refused_on_cpu_with_the_alternatives(tmp_path, capsys):
    flags = write_pipeline(
        tmp_path, config_text().replace("adagrad_optimizer { lr: 0.1 }", "adam_optimizer { lr: 0.1 }")
    )
    err = _refused(capsys, [*flags, "--model_dir", str(tmp_path / "m")])
    assert "not supported yet: sparse_optimizer.adam_optimizer on cpu (use one of adagrad_optimizer" in err


def test_an_absent_table_and_an_absent_label_are_named(tmp_path, capsys):
    flags = write_pipeline(tmp_path, config_text())
    (tmp_path / "train.parquet").unlink()
    assert "train.parquet" in _refused(capsys, [*flags, "--model_dir", str(tmp_path / "m")], 1)
    write_rows(tmp_path / "train.parquet")
    (tmp_path / "pipeline.config").write_text(config_text().replace('label_fields: "clk"', 'label_fields: "clik"'))
    err = _refused(capsys, [*flags, "--model_dir", str(tmp_path / "m")], 1)
    assert "clik" in err
    assert "did you mean 'clk'" in err


def _replace_labels(path, labels):
    table = pq.read_table(path)
    pq.write_table(table.set_column(table.schema.get_field_index("clk"), "clk", pa.array(labels(len(table)))), path)


@pytest.mark.parametrize(
    ("case", "message"),
    [
        (
            ("binary_cross_entropy {}", "train", lambda n: np.arange(n) % 5),
            "row 2, column 'clk': a label must be in [0, 1]",
        ),
        (
            ("binary_cross_entropy {}", "eval", lambda n: np.arange(n) % 2 * 2 - 1),
            "row 0, column 'clk': a label must be in",
        ),
        (
            ("softmax_cross_entropy {}", "train", lambda n: np.arange(n) % 3),
            "a whole number in [0, 2) for softmax_cross_en",
        ),
        (("softmax_cross_entropy {}", "eval", lambda n: np.arange(n) % 2 - 1), "got -1; mend the table or the loss"),
        (("l2_loss {}", "train", lambda n: np.full(n, np.inf)), "'clk': a label must be a finite number, got inf"),
    ],
)
def test_a_label_that_the_loss_does_not_know_is_named_by_file_and_row(tmp_path, capsys, case, message):
    loss, file, labels = case
    classes = "model_config { num_class: 2" if loss.startswith("softmax") else "model_config {"
    text = config_text().replace("binary_cross_entropy {}", loss).replace("model_config {", classes)
    text = text.replace("auc {}", "mean_squared_error {}" if loss.startswith("l2") else "auc {}")
    flags = write_pipeline(tmp_path, text)
    _replace_labels(tmp_path / f"{file}.parquet", labels)
    err = _refused(capsys, [*flags, "--model_dir", str(tmp_path / "m")], 1)
    assert f"{tmp_path / file}.parquet: row " in err
    assert message in err


@pytest.mark.parametrize(
    ("flag", "value", "message"),
    [
        ("--threads", "0", "--threads: must be at least 1, got 0"),
        ("--seed", "-1", "--seed: must be in [0, 2^63), got -1"),
        ("--seed", str(2**63), "--seed: must be in [0, 2^63), got 9223372036854775808"),
    ],
)
def test_flags_out_of_range_are_refused(tmp_path, capsys, flag, value, message):
    flags = write_pipeline(tmp_path, config_text())
    assert message in _refused(capsys, [*flags, "--model_dir", str(tmp_path / "m"), flag, value])


NORMALISED = config_text().replace("dropout_ratio: [0.1]", "use_bn: true")


def test_a_batch_of_one_row_is_refused_before_training_where_batches_are_normalised(tmp_path, capsys):
    flags = write_pipeline(tmp_path, NORMALISED.replace("batch_size: 50", "batch_size: 57"))  # 400 = 7 * 57 + 1
    err = _refused(capsys, [*flags, "--model_dir", str(tmp_path / "m")])
    assert "data_config.drop_remainder: 400 rows in batches of 57 leave a batch of one row, which batch normal" in err
    assert "cannot train on; set drop_remainder: true, or another batch_size" in err
    (tmp_path / "pipeline.config").write_text(NORMALISED.replace("batch_size: 50", "batch_size: 1"))
    err = _refused(capsys, [*flags, "--model_dir", str(tmp_path / "m")])
    assert "data_config.batch_size: batch normalisation (use_bn, Dice) needs 2 rows or more, got 1" in err


@pytest.mark.parametrize(
    "text",
    [
        NORMALISED.replace("batch_size: 50", "batch_size: 57 drop_remainder: true"),
        NORMALISED.replace("batch_size: 50", "batch_size: 57").replace("num_epochs: 1", "num_steps: 2"),
        config_text().replace("batch_size: 50", "batch_size: 57"),
    ],
)
def test_a_batch_of_one_row_that_is_dropped_or_not_reached_or_not_normalised_is_fine(tmp_path, text):
    assert list_checkpoints(_train(tmp_path, text))


def test_a_table_larger_than_memory_is_named_with_its_bytes(tmp_path, capsys):
    flags = write_pipeline(tmp_path, config_text().replace("num_buckets: 30", "num_buckets: 4000000000000"))
    err = _refused(capsys, [*flags, "--model_dir", str(tmp_path / "m")])
    assert "embedding tables: need 64,000,000,000,832 bytes, this machine has " in err
    words = (
        "the largest is 'user_emb' of feature 'user' with 64,000,000,000,000 (4,000,000,000,000 rows of 4); lower its"
    )
    assert words in err


def test_cuda_without_a_gpu_is_refused(tmp_path, capsys, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    flags = write_pipeline(tmp_path, config_text())
    err = _refused(capsys, [*flags, "--model_dir", str(tmp_path / "m"), "--device", "cuda"])
    assert "'cuda' was asked for but torch sees no GPU here" in err


@pytest.mark.gpu
def test_auto_takes_the_gpu_and_records_it(tmp_path):
    flags = write_pipeline(tmp_path, config_text(train="num_epochs: 10"))
    model = tmp_path / "model"
    assert main([*flags[:-1], "auto", "--model_dir", str(model)]) == 0
    assert json.loads((model / "records" / "timings.json").read_text())["device"] == "cuda:0"
    assert load_eval_results(model)[79]["auc"] > 0.85


class _Cut(BaseException):
    """A kill, as far as one process can be killed in a test."""


def _cut_after(monkeypatch, count: int) -> None:
    """End the training at its `count`-th resume checkpoint."""
    from tzrec_build.training.resume import ResumeDir

    keep, left = ResumeDir.save, [count]

    def save(self, *args):
        keep(self, *args)
        left[0] -= 1
        if not left[0]:
            raise _Cut

    monkeypatch.setattr(ResumeDir, "save", save)


RESUMED = {  # config, in which step (from 1) it is cut off
    "in the middle of a pass, dropout": (config_text(train="num_epochs: 2 save_checkpoints_steps: 3"), 5),
    "shuffled, second pass": (config_text(train="num_epochs: 3", data="shuffle: true shuffle_buffer_size: 100"), 11),
    "last batch of a pass": (config_text(train="num_epochs: 2 save_checkpoints_epochs: 1"), 8),
    "last step": (config_text(train="num_steps: 9"), 9),
    "best kept": (config_text(train="num_steps: 12 save_checkpoints_steps: 2 keep_checkpoint_max: 1"), 7),
}


@pytest.mark.parametrize("case", RESUMED)
def test_a_training_that_was_cut_off_ends_with_the_bits_of_one_that_was_not(case, tmp_path, monkeypatch):
    text, count = RESUMED[case]
    more = ("--keep_best", "auc") if case == "best kept" else ()
    whole = _train(tmp_path / "whole", text, *more)
    flags = write_pipeline(tmp_path / "cut", text)
    resume = ("--resume_dir", str(tmp_path / "resume"), "--resume_every_s", "0")
    _cut_after(monkeypatch, count)
    with pytest.raises(_Cut):
        main([*flags, *more, *resume, "--model_dir", str(tmp_path / "first")])
    monkeypatch.undo()
    assert [path.name for path in (tmp_path / "resume").iterdir()] == [f"step-{count - 1}"]
    (tmp_path / "resume" / ".step-99.partial").mkdir()  # a kill while the next one is written
    model = tmp_path / "second"  # the first one's folder is wiped before the next attempt
    assert main([*flags, *more, "--resume_dir", str(tmp_path / "resume"), "--model_dir", str(model)]) == 0
    assert _digests(model) == _digests(whole)
    assert (model / "records/losses.csv").read_text() == (whole / "records/losses.csv").read_text()


def test_resume_checkpoints_do_not_change_what_is_trained(tmp_path):
    text = config_text(train="num_epochs: 2")
    plain = _train(tmp_path / "plain", text)
    kept = _train(tmp_path / "kept", text, "--resume_dir", str(tmp_path / "resume"), "--resume_every_s", "0")
    assert _digests(kept) == _digests(plain)


def test_a_damaged_resume_checkpoint_names_itself(tmp_path, capsys):
    flags = write_pipeline(tmp_path, config_text())
    (tmp_path / "resume/step-3").mkdir(parents=True)
    (tmp_path / "resume/step-3/state.pt").write_text("junk")
    error = _refused(
        capsys, [*flags, "--resume_dir", str(tmp_path / "resume"), "--model_dir", str(tmp_path / "model")], 1
    )
    assert "resume/step-3: cannot be read" in error
    assert "remove it to start the training anew" in error


def test_resume_seconds_are_checked(tmp_path, capsys):
    flags = write_pipeline(tmp_path, config_text())
    error = _refused(capsys, [*flags, "--model_dir", str(tmp_path / "model"), "--resume_every_s", "-1"])
    assert "--resume_every_s: must be a finite number of at least 0, got -1.0" in error
