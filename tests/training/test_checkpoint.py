"""Writing checkpoints: whole or absent, equal bytes for equal tensors."""

from __future__ import annotations

import os

import pytest
import torch

from tests.peer_cases import peer_case
from tzrec_build.errors import DataError
from tzrec_build.training.checkpoint import CheckpointState, drop_old_checkpoints, restore_state, save_checkpoint
from tzrec_build.training.checkpoint_dir import list_checkpoints
from tzrec_build.training.checkpoint_reader import read_tensors


def _state(value=1.0):
    model = {
        "model.w": torch.full((3, 2), value),
        "model.n": torch.tensor(5),
        "model.h": torch.ones(2, dtype=torch.half),
    }
    return CheckpointState(model, {"model.w": {"step": torch.tensor(2.0)}}, {"ebc": {}}, 1)


def test_what_is_saved_is_read_back(tmp_path):
    path = save_checkpoint(tmp_path, 7, _state()).path
    found = read_tensors(path / "model")
    assert all(found[name].equal(value) and found[name].dtype == value.dtype for name, value in _state().model.items())
    assert float(read_tensors(path / "optimizer")["state.model.w.step"]) == 2.0


def test_torch_reads_it_too(tmp_path):
    from torch.distributed.checkpoint import FileSystemReader, load

    path = save_checkpoint(tmp_path, 7, _state(4.0)).path
    target = {"model.w": torch.zeros(3, 2)}
    with pytest.warns(UserWarning, match="torch.distributed is disabled"):
        load(target, storage_reader=FileSystemReader(path / "model"), no_dist=True)
    assert target["model.w"].equal(torch.full((3, 2), 4.0))


def test_the_folder_is_no_part_of_the_bytes(tmp_path):
    one, two = (save_checkpoint(tmp_path / name, 7, _state()).path for name in ("a", "some other place"))
    for part in ("model", "optimizer"):
        for name in (".metadata", "__0_0.distcp"):
            assert (one / part / name).read_bytes() == (two / part / name).read_bytes()


def test_a_save_that_is_interrupted_leaves_no_checkpoint(tmp_path, monkeypatch):
    save_checkpoint(tmp_path, 3, _state())

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(tmp_path, 7, _state())
    assert [one.step for one in list_checkpoints(tmp_path)] == [3]
    assert list(tmp_path.glob("model.ckpt-7*")) == []
    monkeypatch.undo()
    assert save_checkpoint(tmp_path, 7, _state()).step == 7


def test_keeping_none_keeps_all_and_the_protected_one_stays(tmp_path):
    for step in (1, 2, 3, 4):
        save_checkpoint(tmp_path, step, _state())
    assert drop_old_checkpoints(tmp_path, 0) == []
    assert [path.name for path in drop_old_checkpoints(tmp_path, 1, tmp_path / "model.ckpt-2")] == [
        "model.ckpt-1",
        "model.ckpt-3",
    ]
    assert [one.step for one in list_checkpoints(tmp_path)] == [2, 4]


def test_a_restore_takes_what_fits_and_names_the_rest(tmp_path):
    folder = save_checkpoint(tmp_path, 7, _state(9.0)).path / "model"
    target = {"model.w": torch.zeros(3, 2), "model.n": torch.zeros(4), "model.new": torch.zeros(1)}
    restored = restore_state(folder, target, strict=False)
    assert restored.taken == ("model.w",)
    assert restored.skipped == ("model.n", "model.new")
    assert target["model.w"].equal(torch.full((3, 2), 9.0))


def test_a_strict_restore_names_the_first_that_is_missing(tmp_path):
    folder = save_checkpoint(tmp_path, 7, _state()).path / "model"
    with pytest.raises(DataError, match=r"tensor 'model\.new' of shape \(1,\) is wanted, got nothing; use the config"):
        restore_state(folder, {"model.new": torch.zeros(1)}, strict=True)


def test_a_strict_restore_refuses_tensors_that_the_model_has_not_and_copies_nothing(tmp_path):
    folder = save_checkpoint(tmp_path, 7, _state()).path / "model"
    target = {"model.w": torch.zeros(3, 2)}
    with pytest.raises(
        DataError, match=r"is of another config: it also holds model\.h, model\.n; use the config it was"
    ):
        restore_state(folder, target, strict=True)
    assert not target["model.w"].any()
    assert restore_state(folder, target, strict=False).taken == ("model.w",)


def test_of_many_unknown_tensors_three_are_named_and_the_rest_counted(tmp_path):
    model = {f"model.{name}": torch.zeros(1) for name in "abcdef"}
    folder = save_checkpoint(tmp_path, 7, CheckpointState(model, {}, {}, 0)).path / "model"
    with pytest.raises(DataError, match=r"it also holds model\.b, model\.c, model\.d and 2 more;"):
        restore_state(folder, {"model.a": torch.zeros(1)}, strict=True)


def test_a_checkpoint_of_something_else_is_refused(tmp_path):
    folder = save_checkpoint(tmp_path, 7, _state()).path / "model"
    with pytest.raises(DataError, match="shares no tensor with this model"):
        restore_state(folder, {"other": torch.zeros(1)}, strict=False)


def test_a_model_trained_with_variational_dropout_is_not_evaluated_without():
    from tzrec_build.training.checkpoint_dir import find_checkpoint
    from tzrec_build.training.pipeline import load_pipeline, restored_model

    case = peer_case("deepfm_vd")
    pipeline = load_pipeline(str(case / "pipeline.config"))
    pipeline.config.model_config.ClearField("variational_dropout")
    with pytest.raises(DataError, match=r"it also holds model\.group_variational_dropouts\.\w+\.feature_dim_repeat"):
        restored_model(pipeline, find_checkpoint(case / "model.ckpt-7"), torch.device("cpu"))
