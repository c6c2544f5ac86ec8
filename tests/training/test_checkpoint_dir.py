"""Choice of checkpoints and the evaluation file."""

from __future__ import annotations

import pytest

from tzrec_build.errors import ConfigError, DataError
from tzrec_build.training.checkpoint_dir import (
    Checkpoint,
    best_step,
    find_checkpoint,
    list_checkpoints,
    load_eval_results,
)


def _checkpoint(model_dir, step):
    folder = model_dir / f"model.ckpt-{step}" / "model"
    folder.mkdir(parents=True)
    (folder / ".metadata").touch()
    return folder.parent


def test_checkpoints_come_by_number_not_by_name(tmp_path):
    for step in (100, 9, 20):
        _checkpoint(tmp_path, step)
    assert [one.step for one in list_checkpoints(tmp_path)] == [9, 20, 100]


def test_a_half_written_checkpoint_is_not_seen(tmp_path):
    _checkpoint(tmp_path, 3)
    (tmp_path / "model.ckpt-9" / "model").mkdir(parents=True)
    (tmp_path / ".model.ckpt-12.partial" / "model").mkdir(parents=True)
    (tmp_path / ".model.ckpt-12.partial" / "model" / ".metadata").touch()
    assert find_checkpoint(tmp_path).step == 3


def test_a_checkpoint_folder_names_itself(tmp_path):
    path = _checkpoint(tmp_path, 3)
    _checkpoint(tmp_path, 5)
    assert find_checkpoint(path) == list_checkpoints(tmp_path)[0]


def test_a_checkpoint_under_another_name_has_no_step(tmp_path):
    path = _checkpoint(tmp_path, 3).rename(tmp_path / "best")
    assert find_checkpoint(path) == Checkpoint(None, path)
    assert list_checkpoints(tmp_path) == []


def test_an_empty_folder_has_no_checkpoint(tmp_path):
    with pytest.raises(DataError, match="no whole checkpoint"):
        find_checkpoint(tmp_path)


def test_results_skip_blank_lines_and_the_last_of_two_counts(tmp_path):
    (tmp_path / "train_eval_result_v2.txt").write_text(
        '{"global_step": 1, "auc": 0.5}\n\n{"global_step": 2, "auc": 0.6}\n{"global_step": 1, "auc": 0.7}\n'
    )
    assert load_eval_results(tmp_path) == {1: {"auc": 0.7}, 2: {"auc": 0.6}}


@pytest.mark.parametrize("line", ["[1]", "{", '{"auc": 1}', '{"global_step": null}'])
def test_a_bad_line_is_named(tmp_path, line):
    (tmp_path / "train_eval_result_v2.txt").write_text('{"global_step": 1}\n' + line + "\n")
    with pytest.raises(DataError, match=r"train_eval_result_v2\.txt:2: not a JSON object with a global_step"):
        load_eval_results(tmp_path)


def test_best_takes_either_direction_and_the_first_of_equals():
    results = {1: {"auc": 0.6}, 2: {"auc": 0.8}, 3: {"auc": 0.8}, 4: {"auc": 0.7}}
    assert best_step(results, "auc", larger_is_better=True) == 2
    assert best_step(results, "auc", larger_is_better=False) == 1


def test_best_never_takes_a_nan():
    results = {1: {"auc": float("nan")}, 2: {"auc": 0.1}, 3: {}}
    assert best_step(results, "auc", larger_is_better=True) == 2
    with pytest.raises(ConfigError, match="'auc' is NaN in every evaluation"):
        best_step({1: {"auc": float("nan")}}, "auc", larger_is_better=True)


def test_an_unknown_metric_gets_a_suggestion():
    with pytest.raises(ConfigError, match="'auc_ct' was not evaluated; did you mean 'auc_ctr'"):
        best_step({1: {"auc_ctr": 0.6}}, "auc_ct", larger_is_better=True)
