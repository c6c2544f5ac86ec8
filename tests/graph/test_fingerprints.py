"""What stands for an input: content, size and time, or the lock."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import replace

import pytest

from tzrec_build.errors import DataError
from tzrec_build.graph.fresh import Judge
from tzrec_build.graph.spec import Input, TaskSpec
from tzrec_build.graph.state import State

DATA = b"a,b\n1,2\n"
SHA = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def place(tmp_path):
    (tmp_path / "workspace/p/data").mkdir(parents=True)
    (tmp_path / "site").mkdir()
    data = tmp_path / "workspace/p/data/a.csv"
    data.write_bytes(DATA)
    os.utime(data, ns=(10**18, 10**18))
    return tmp_path


def judge(place):
    return Judge(State(str(place / "state")), str(place), str(place / "site"), str(place))


def spec(place, fingerprint):
    entry = Input("table", ("data/*.csv",), fingerprint=fingerprint)
    return TaskSpec("step:p:s", "doc", str(place / "workspace/p"), "build/s", ("c",), "", (entry,))


def lock(place, **files):
    body = {"version": 1, "files": {f"workspace/p/data/{name}": entry for name, entry in files.items()}}
    (place / "workspace/inputs.lock").write_text(json.dumps(body))


def key(place, fingerprint):
    j, task = judge(place), spec(place, fingerprint)
    snapshot = j.snapshot(task)
    j.check_inputs(task, snapshot)
    return j.key(task, snapshot)


def test_stat_looks_at_size_and_time_only(place):
    before = key(place, "stat")
    data = place / "workspace/p/data/a.csv"
    data.unlink()
    data.write_bytes(DATA[::-1])
    os.utime(data, ns=(10**18, 10**18))
    assert key(place, "stat") == before
    os.utime(data, ns=(10**18, 10**18 + 1))
    assert key(place, "stat") != before


def test_the_key_of_locked_data_is_that_of_the_data_present_or_not(place):
    lock(place, **{"a.csv": {"size": len(DATA), "sha256": SHA}})
    assert key(place, "lock") == key(place, "content")
    (place / "workspace/p/data/a.csv").unlink()
    absent = judge(place)
    task = spec(place, "lock")
    assert absent.key(task, absent.snapshot(task)) == key(place, "lock")


def test_a_command_cannot_run_without_the_locked_data(place):
    lock(place, **{"a.csv": {"size": len(DATA), "sha256": SHA}})
    judge(place).fingerprints.check_present(spec(place, "lock"))
    (place / "workspace/p/data/a.csv").unlink()
    with pytest.raises(DataError) as caught:
        judge(place).fingerprints.check_present(spec(place, "lock"))
    assert str(caught.value) == (
        "step:p:s: input table: a.csv of data/*.csv is in inputs.lock but not here, and no cache has what would be built "
        "from it; get the data, or share the cache of a machine that has it"
    )


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        (
            {"size": len(DATA), "sha256": "0" * 64},
            "must be as inputs.lock says, got other content; run doit lock, or restore",
        ),
        ({"size": 1, "sha256": SHA}, "must be as inputs.lock says, got other content; run doit lock, or restore"),
        (None, "must be in inputs.lock, which does not know it; run doit lock"),
    ],
    ids=["other content", "other size", "not locked"],
)
def test_data_that_is_not_as_locked_names_the_command(place, entry, text):
    lock(place, **({"a.csv": entry} if entry else {}))
    with pytest.raises(DataError) as caught:
        judge(place).snapshot(spec(place, "lock"))
    assert str(caught.value).startswith(f"step:p:s: input table: workspace/p/data/a.csv: {text}")


def test_what_another_task_makes_is_judged_by_content(place):
    task = spec(place, "lock")
    made = replace(task, inputs=(replace(task.inputs[0], made=frozenset({"data/*.csv"})),))
    assert judge(place).snapshot(made).inputs["table"] == judge(place).snapshot(spec(place, "content")).inputs["table"]
