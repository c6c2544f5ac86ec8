"""Publications that a kill cut off: the old artifact or the new one, never half, and no finished work is lost."""

from __future__ import annotations

import os

import pytest

from tzrec_build.graph import intents, locks, publish
from tzrec_build.graph.digests import Digests
from tzrec_build.graph.spec import TaskSpec
from tzrec_build.graph.state import State


class Killed(BaseException):
    """A kill at a fault point."""


@pytest.fixture
def state(tmp_path):
    return State(str(tmp_path / "workspace/.state"))


def made(tmp_path, state, text: str):
    """A finished output, about to be published."""
    task = TaskSpec("train:p", "", str(tmp_path), "build/train", (), "", ())
    out = publish.fresh_out(task, publish.work_folder(task, "k" * 64))
    with open(f"{out}/model", "w") as file:
        file.write(text)
    record = {"outputs": Digests(state).tree(out), "key": "k" * 64}
    intent = intents.Intent(task.name, "k" * 64, out, str(tmp_path / "build/train"), record)
    intents.write(state, intent)
    return task, intent


def cut(monkeypatch, point: str) -> None:
    def hit(name):
        if name == point:
            raise Killed

    monkeypatch.setattr(publish, "fault_point", hit)


@pytest.mark.parametrize("exchange", [True, False])
@pytest.mark.parametrize(("point", "published"), [("swap.before", False), ("swap.between", True), ("swap.after", True)])
def test_a_kill_leaves_the_old_artifact_or_the_new_one(tmp_path, state, monkeypatch, exchange, point, published):  # noqa: PLR0917 - fixtures and the table
    if not exchange:
        monkeypatch.setattr(publish, "_exchange", lambda _one, _other: False)
    task, first = made(tmp_path, state, "old")
    publish.swap(task, first.out)
    intents.record(state, task.name, first.record)
    task, second = made(tmp_path, state, "new")
    cut(monkeypatch, point)
    with pytest.raises(Killed):
        publish.swap(task, second.out)
    again = State(state.folder)
    intents.settle_all(again, Digests(again))
    assert (tmp_path / "build/train/model").read_text() == ("new" if published else "old")
    assert again.record(task.name)["outputs"] == (second if published else first).record["outputs"]
    assert [intent.key for intent in intents.pending(again, task.name)] == ([] if published else ["k" * 64])


def test_damaged_work_never_replaces_the_old_artifact(tmp_path, state, monkeypatch):
    monkeypatch.setattr(publish, "_exchange", lambda _one, _other: False)
    task, first = made(tmp_path, state, "old")
    publish.swap(task, first.out)
    intents.record(state, task.name, first.record)
    task, second = made(tmp_path, state, "new")
    cut(monkeypatch, "swap.between")
    with pytest.raises(Killed):
        publish.swap(task, second.out)
    with open(f"{second.out}/model", "w") as file:
        file.write("half")
    assert not os.path.exists(second.target)
    intents.settle_all(state, Digests(state))
    assert (tmp_path / "build/train/model").read_text() == "old"
    assert state.record(task.name)["outputs"] == first.record["outputs"]
    assert intents.pending(state) == []


def test_what_another_build_publishes_now_is_left_to_it(tmp_path, state):
    _, intent = made(tmp_path, state, "new")
    os.rename(intent.out, intent.target)
    lock = locks.take(state.folder, intent.task)
    intents.settle_all(state, Digests(state))
    assert state.record(intent.task) is None
    lock.release()
    intents.settle_all(state, Digests(state))
    assert state.record(intent.task) == intent.record
    assert intents.pending(state) == []


def test_a_state_without_intents_has_none(state):
    assert intents.pending(state) == []
    assert intents.pending(state, "train:p") == []
