"""`doit lock`: the committed digests of the inputs, and a machine without the data that restores everything from them."""

from __future__ import annotations

import hashlib
import json
import shutil

import pytest

from tests.e2e.project import Project

STEPS = """
[step.join]
command = ["sh", "-c", "cat \\"$@\\" > $0", "{outputs.text}", "{inputs.table}", "{inputs.words}"]
inputs = { table = "../data/*.csv", words = "words.txt" }
outputs = { text = "joined.txt" }
[step.copy]
command = ["cp", "{inputs.text}", "{outputs.text}"]
inputs = { text = "p:join/joined.txt" }
outputs = { text = "copy.txt" }
"""


@pytest.fixture
def locked(project):
    """Two steps over three files, built and locked."""
    project.write("p/pipeline.toml", STEPS)
    project.write("p/words.txt", "w\n")
    project.write("data/a.csv", "1,2\n")
    project.write("data/b.csv", "3\n")
    assert project.doit().counts["built"] == 2
    assert project.doit("lock").out == "workspace/inputs.lock: 3 files, 3 new or changed\n"
    return project


def entries(project):
    body = json.loads(project.path("inputs.lock").read_text())
    assert body["version"] == 1
    return body["files"]


def test_lock_holds_the_users_inputs_and_nothing_made(locked):
    digest = hashlib.sha256(b"1,2\n").hexdigest()
    assert sorted(entries(locked)) == ["workspace/data/a.csv", "workspace/data/b.csv", "workspace/p/words.txt"]
    assert entries(locked)["workspace/data/a.csv"] == {"size": 4, "sha256": digest}


def test_check_names_what_is_not_as_locked(locked):
    assert locked.doit("lock", "--check").code == 0
    locked.write("data/a.csv", "1,3\n")
    locked.write("data/b.csv", "33\n")
    locked.write("data/c.csv", "4\n")
    done = locked.doit("lock", "--check")
    assert done.code == 1
    assert "! workspace/data/a.csv: not as locked (same size, other content)" in done.out
    assert "! workspace/data/b.csv: not as locked (2 → 3 bytes)" in done.out
    assert "! workspace/data/c.csv: not in the lock; doit lock adds it" in done.out
    assert done.out.endswith("1 files as locked, 3 not\n")
    assert locked.doit("lock").out == "workspace/inputs.lock: 4 files, 3 new or changed\n"
    assert locked.doit("lock", "--check").code == 0


def test_file_that_is_gone_leaves_the_lock_while_its_neighbours_are_here(locked):
    locked.path("data/b.csv").unlink()
    locked.doit("lock")
    assert sorted(entries(locked)) == ["workspace/data/a.csv", "workspace/p/words.txt"]


def test_damaged_lock_is_an_error_that_says_what_to_do(locked):
    locked.write("inputs.lock", '{"version": 2, "files": {}}')
    done = locked.doit("lock", "--check")
    assert done.code == 3
    assert "inputs.lock: version must be 1, got 2; write it anew with doit lock" in done.out
    locked.write("inputs.lock", '{"version": 1, "files": {"x": {"size": 1}}}')
    assert "must be what doit lock writes" in locked.doit("lock").out


@pytest.fixture
def without_data(locked, tmp_path):
    """A second checkout with the lock and the cache, but no data."""
    other = Project(tmp_path / "other", locked.cache)
    other.write("p/pipeline.toml", STEPS)
    shutil.copy(locked.path("inputs.lock"), other.path("inputs.lock"))
    return other


def test_machine_without_the_data_restores_everything(without_data):
    states = {e["task"]: e["state"] for e in json.loads(without_data.doit("why", "--json").out)["tasks"]}
    assert states == {"step:p:join": "restore", "step:p:copy": "restore"}
    done = without_data.doit()
    assert done.counts == {"built": 0, "restored": 2, "up to date": 0, "failed": 0}, done.out
    assert without_data.path("p/build/copy/copy.txt").read_text() == "1,2\n3\nw\n"
    assert without_data.doit().counts["up to date"] == 2


def test_machine_without_the_data_says_so_when_the_cache_has_nothing(without_data):
    done = without_data.doit(TZREC_CACHE="off")
    assert done.code == 1
    told = "step:p:join: input table: a.csv of ../data/*.csv is in inputs.lock but not here, and no cache has what would be built"
    assert f"! {told}" in done.out
    states = json.loads(without_data.doit("why", "--json", TZREC_CACHE="off").out)["tasks"]
    assert [(e["task"], e["state"]) for e in states] == [("step:p:join", "error"), ("step:p:copy", "blocked")]


def test_machine_without_the_data_notices_another_lock(without_data):
    without_data.doit()
    text = without_data.path("inputs.lock").read_text()
    digest = hashlib.sha256(b"w\n").hexdigest()
    without_data.write("inputs.lock", text.replace(digest, hashlib.sha256(b"other").hexdigest()))
    states = json.loads(without_data.doit("why", "--json").out)["tasks"]
    assert [(e["task"], e["state"]) for e in states] == [("step:p:join", "error"), ("step:p:copy", "blocked")]
    without_data.write("inputs.lock", text)
    assert without_data.doit().counts == {"built": 0, "restored": 0, "up to date": 2, "failed": 0}


def test_lock_on_a_machine_without_the_data_keeps_its_entries(without_data):
    before = entries(without_data)
    assert (
        without_data.doit("lock").out == "workspace/inputs.lock: 3 files, 0 new or changed, 3 kept that are not here\n"
    )
    assert entries(without_data) == before
    assert without_data.doit("lock", "--check").out == "0 files as locked, 0 not, 3 not here\n"
