"""Copies of code and inputs: what a tool works from is what its key describes."""

from __future__ import annotations

import os
import py_compile
import threading
import time
from pathlib import Path

import pytest

from tzrec_build.errors import BuildError
from tzrec_build.graph import frozen
from tzrec_build.graph.digests import Digests
from tzrec_build.graph.frozen import FrozenCode
from tzrec_build.graph.frozen_inputs import freeze_inputs
from tzrec_build.graph.spec import Input, TaskSpec
from tzrec_build.graph.state import State


@pytest.fixture
def digests(tmp_path):
    return Digests(State(str(tmp_path / "state")))


@pytest.fixture
def code(tmp_path, digests):
    package = tmp_path / "repo/tzrec_build"
    (package / "tools").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "tools/one.py").write_text("ONE = 1\n")
    (package / "tools/table.json").write_text("{}")
    return FrozenCode(str(tmp_path / "code"), str(tmp_path / "repo"), digests)


def test_a_copy_holds_the_package_and_is_made_once(code, tmp_path):
    with code.held() as (one, contents), code.held() as (other, _):
        assert one == other
        assert Path(one, "tzrec_build/tools/one.py").read_text() == "ONE = 1\n"
        assert set(contents) == {f"tzrec_build/{name}" for name in ("__init__.py", "tools/one.py", "tools/table.json")}
    assert [path.name for path in (tmp_path / "code").iterdir() if path.is_dir()] == [os.path.basename(one)]


def test_an_edit_makes_another_copy_and_the_one_in_use_stays(code, tmp_path):
    file = tmp_path / "repo/tzrec_build/tools/one.py"
    with code.held() as (old, _):
        file.write_text("ONE = 2\n")
        with code.held() as (new, _):
            assert Path(old, "tzrec_build/tools/one.py").read_text() == "ONE = 1\n"
            assert Path(new, "tzrec_build/tools/one.py").read_text() == "ONE = 2\n"
    file.write_text("ONE = 3\n")
    with code.held() as (newest, _):
        assert [path.name for path in (tmp_path / "code").iterdir() if path.is_dir()] == [os.path.basename(newest)]


def test_many_at_once_make_one_copy(code, tmp_path):
    found: list[str] = []

    def use():
        with code.held() as (folder, _):
            found.append(folder)

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(found) == 8
    assert len(set(found)) == 1


def test_an_edit_while_the_copy_is_made_is_taken_in(code, tmp_path, monkeypatch):
    file = tmp_path / "repo/tzrec_build/tools/one.py"
    copy, left = frozen.copy_checked, ["ONE = 3\n", "ONE = 2\n"]

    def edited(source, target, content):
        if source == str(file) and left:
            file.write_text(left.pop())
        copy(source, target, content)

    monkeypatch.setattr(frozen, "copy_checked", edited)
    with code.held() as (folder, _):
        assert Path(folder, "tzrec_build/tools/one.py").read_text() == "ONE = 3\n"


def test_edits_without_an_end_are_an_error_and_leave_no_copy(code, tmp_path, monkeypatch):
    file = tmp_path / "repo/tzrec_build/tools/one.py"
    copy = frozen.copy_checked

    def edited(source, target, content):
        if source == str(file):
            file.write_text(f"ONE = {time.time_ns()}\n")
        copy(source, target, content)

    monkeypatch.setattr(frozen, "copy_checked", edited)
    with pytest.raises(BuildError, match=r"one\.py: was edited while the task started; run again"), code.held():
        raise AssertionError("held")
    monkeypatch.undo()
    with code.held() as (folder, _):
        assert Path(folder, "tzrec_build/tools/one.py").read_text() == file.read_text()


def test_a_folder_that_a_kill_left_half_made_is_not_taken(code, tmp_path):
    (tmp_path / "code/making/tzrec_build").mkdir(parents=True)
    with code.held() as (folder, _):
        assert Path(folder, "tzrec_build/tools/one.py").exists()
    assert not (tmp_path / "code/making").exists()


def test_bytecode_comes_along_only_where_it_is_surely_of_this_source(code, tmp_path):
    file = tmp_path / "repo/tzrec_build/tools/one.py"
    compiled = Path(py_compile.compile(str(file)))
    os.utime(compiled, ns=(0, os.stat(file).st_ctime_ns + 1))
    with code.held() as (folder, _):
        assert [path.name for path in Path(folder).rglob("*.pyc")] == [compiled.name]
    stamp = os.stat(file)
    file.write_text("ONE = 2\n")  # as long as before, and its time put back: Python would run the old one
    os.utime(file, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    with code.held() as (folder, _):
        assert list(Path(folder).rglob("*.pyc")) == []


def spec(folder, *inputs: Input) -> TaskSpec:
    argv = ("python", "-m", "tool", *(f"--in={{inputs.{entry.name}}}" for entry in inputs if entry.name != "hidden"))
    return TaskSpec("config:p", "", str(folder), "build/config", argv, "tool", inputs)


def contents(digests, task: TaskSpec):
    from tzrec_build.graph.digests import find

    found = {}
    for entry in task.inputs:
        skip = "records"
        found[entry.name] = [
            {
                name: digests.content(file)
                for name, file in find(task.folder, path, skip=skip if path in entry.made else "")
            }
            for path in entry.paths
        ]
    return found


def test_small_inputs_are_copied_with_their_names(tmp_path, digests):
    folder = tmp_path / "p"
    (folder / "data/ds=1").mkdir(parents=True)
    (folder / "data/ds=1/a.csv").write_text("a")
    (folder / "build/train/records").mkdir(parents=True)
    (folder / "build/train/model").write_text("m")
    (folder / "build/train/records/log").write_text("l")
    (tmp_path / "x.config").write_text("x")
    task = spec(
        folder,
        Input("config", ("../x.config",)),
        Input("data", ("data/*/*.csv",)),
        Input("model", ("build/train",), made=frozenset({"build/train"})),
        Input("hidden", ("data",)),
        Input("absent", ("none.csv",), optional=True),
    )
    copies = freeze_inputs(task, contents(digests, task), "build/.work/config/k")
    assert set(copies) == {"../x.config", "data/*/*.csv", "build/train"}
    assert os.path.basename(copies["../x.config"]) == "x.config"
    assert (folder / copies["../x.config"]).read_text() == "x"
    assert copies["data/*/*.csv"].endswith("/*/*.csv")
    assert [path.read_text() for path in folder.glob(copies["data/*/*.csv"])] == ["a"]
    assert [path.name for path in (folder / copies["build/train"]).iterdir()] == ["model"]


def test_inputs_that_are_large_together_keep_their_paths(tmp_path, digests, monkeypatch):
    monkeypatch.setattr("tzrec_build.graph.frozen_inputs.LIMIT_BYTES", 3)
    for name in ("a", "b"):
        (tmp_path / name).write_text("xx")
    task = spec(tmp_path, Input("a", ("a",)), Input("b", ("b",)))
    assert freeze_inputs(task, contents(digests, task), "build/.work/config/k") == {}


def test_an_input_that_is_not_what_the_key_was_taken_from_is_an_error(tmp_path, digests):
    (tmp_path / "a").write_text("one")
    task = spec(tmp_path, Input("a", ("a",)))
    seen = contents(digests, task)
    (tmp_path / "a").write_text("two")
    with pytest.raises(BuildError, match="/a: was edited while the task started; run again"):
        freeze_inputs(task, seen, "build/.work/config/k")
