"""Swap, promises and locks."""

from __future__ import annotations

import os

import pytest

from tzrec_build.errors import BuildError
from tzrec_build.graph import publish
from tzrec_build.graph.spec import TaskSpec


def spec(folder, outputs=()):
    return TaskSpec("train:p", "", str(folder), "build/train", (), "", (), outputs=outputs)


def made(folder, task, text: str) -> str:
    out = publish.fresh_out(task, publish.work_folder(task, "k" * 64))
    with open(f"{out}/model", "w") as file:
        file.write(text)
    return out


@pytest.mark.parametrize("exchange", [True, False])
def test_an_artifact_is_replaced_whole(tmp_path, monkeypatch, exchange):
    if not exchange:
        monkeypatch.setattr(publish, "_exchange", lambda _one, _other: False)
    task = spec(tmp_path)
    publish.swap(task, made(tmp_path, task, "one"))
    (tmp_path / "build/train/extra").write_text("old")
    publish.swap(task, made(tmp_path, task, "two"))
    assert [path.name for path in (tmp_path / "build/train").iterdir()] == ["model"]
    assert (tmp_path / "build/train/model").read_text() == "two"
    publish.drop_work(task, publish.work_folder(task, "k" * 64))
    assert sorted(path.name for path in (tmp_path / "build").iterdir()) == [".work", "train"]
    assert list((tmp_path / "build/.work").iterdir()) == []


def test_a_file_in_the_place_of_the_artifact_is_replaced(tmp_path):
    task = spec(tmp_path)
    (tmp_path / "build").mkdir()
    (tmp_path / "build/train").write_text("in the way")
    publish.swap(task, made(tmp_path, task, "one"))
    assert (tmp_path / "build/train/model").read_text() == "one"


def test_work_starts_empty(tmp_path):
    task = spec(tmp_path)
    made(tmp_path, task, "left over")
    assert not list((tmp_path / publish.work_folder(task, "k" * 64) / "out").joinpath().glob("nothing"))
    out = publish.fresh_out(task, publish.work_folder(task, "k" * 64))
    assert publish.walk(out) == []


def test_promises_are_names_or_globs_at_the_top(tmp_path):
    task = spec(tmp_path, (("ckpt", "model.ckpt-*"), ("config", "pipeline.config")))
    out = tmp_path / "out"
    (out / "model.ckpt-7/model").mkdir(parents=True)
    (out / "model.ckpt-7/model/x").write_text("")
    with pytest.raises(BuildError, match=r"made no 'pipeline\.config'"):
        publish.check_promised(task, str(out))
    (out / "pipeline.config").write_text("")
    publish.check_promised(task, str(out))


def test_named_outputs_may_lie_below_folders_of_their_own(tmp_path):
    task = spec(tmp_path, (("deep", "sub/dir/file"), ("folder", "whole")))
    out = publish.fresh_out(task, "build/.work/train/k")
    with open(f"{out}/sub/dir/file", "w") as file:
        file.write("")
    with pytest.raises(BuildError, match="made no 'whole'"):
        publish.check_promised(task, out)
    (tmp_path / "build/.work/train/k/out/whole").mkdir()
    with pytest.raises(BuildError, match="output 'whole' is a folder without files, which nothing keeps"):
        publish.check_promised(task, out)
    (tmp_path / "build/.work/train/k/out/whole/x").write_text("")
    publish.check_promised(task, out)


def test_a_link_is_no_output(tmp_path):
    task = spec(tmp_path)
    out = publish.fresh_out(task, "build/.work/train/k")
    (tmp_path / "build/.work/train/k/out/link").symlink_to("/etc/hostname")
    with pytest.raises(BuildError, match="output 'link' is not a regular file"):
        publish.check_promised(task, out)


def test_a_link_to_a_folder_is_no_output_and_neither_is_one_in_the_place_of_all(tmp_path):
    task = spec(tmp_path)
    out = publish.fresh_out(task, "build/.work/train/k")
    (tmp_path / "elsewhere").mkdir()
    os.symlink(tmp_path / "elsewhere", f"{out}/link")
    with pytest.raises(BuildError, match="output 'link' is a link to a folder"):
        publish.check_promised(task, out)
    os.unlink(f"{out}/link")
    os.rmdir(out)
    os.symlink(tmp_path / "elsewhere", out)
    with pytest.raises(BuildError, match="its output folder became a link"):
        publish.check_promised(task, out)
    assert not os.path.islink(publish.fresh_out(task, "build/.work/train/k"))
    assert (tmp_path / "elsewhere").is_dir()


@pytest.mark.parametrize("name", [b"\xff", b"a\\b"])
def test_an_output_has_a_name_that_every_machine_can_write(tmp_path, name):
    task = spec(tmp_path)
    out = publish.fresh_out(task, "build/.work/train/k")
    with open(os.fsencode(out) + b"/" + name, "w") as file:
        file.write("")
    with pytest.raises(BuildError, match="must have a name in UTF-8 without backslashes"):
        publish.check_promised(task, out)


def test_a_file_in_the_place_of_the_records_is_told(tmp_path):
    task = spec(tmp_path)
    out = publish.fresh_out(task, "build/.work/train/k")
    (tmp_path / "build/.work/train/k/out/records").write_text("")
    with pytest.raises(BuildError, match="'records' in its output folder must be a folder, got a file"):
        publish.check_promised(task, out)


def test_folders_without_files_are_dropped_and_others_stay(tmp_path):
    (tmp_path / "out/a/b/c").mkdir(parents=True)
    (tmp_path / "out/a/x").write_text("")
    (tmp_path / "out/d/e").mkdir(parents=True)
    publish.drop_empty_folders(str(tmp_path / "out"))
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")) == ["out", "out/a", "out/a/x"]


def test_checkpoints_of_a_training_that_was_cut_off_outlive_another_one(tmp_path):
    task = spec(tmp_path)
    mine, other = (publish.work_folder(task, key * 64) for key in "ab")
    for work in (mine, other):
        (tmp_path / work / "resume/step-3").mkdir(parents=True)
    (tmp_path / "build/.work/train/failed/out").mkdir(parents=True)
    publish.drop_work(task, mine)
    assert [path.name for path in (tmp_path / "build/.work/train").iterdir()] == ["b" * 16]
    os.utime(tmp_path / other / "resume", (0, 0))
    publish.drop_work(task, mine)
    assert not (tmp_path / "build/.work/train").exists()
