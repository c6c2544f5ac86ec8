"""The table of runs."""

from __future__ import annotations

import sqlite3

import pytest

from tzrec_build.graph import history
from tzrec_build.graph.history import Run


class Memory:
    def __init__(self) -> None:
        self._con = sqlite3.connect(":memory:", isolation_level=None)

    def connection(self) -> sqlite3.Connection:
        return self._con


@pytest.fixture
def state():
    memory = Memory()
    yield memory
    memory.connection().close()


def test_nothing_is_known_of_a_task_that_never_ran(state):
    assert history.last(state, "train:p") is None
    assert history.cost_s(state, "train:p") is None
    assert history.last_all(state) == history.costs_s(state) == {}


def test_the_cost_is_that_of_the_last_build_not_of_a_restore_or_a_failure(state):
    for how, elapsed_s in (("built", 90.0), ("built", 120.0), ("restored", 1.0), ("failed", 2.0)):
        history.note(state, Run("train:p", how, 1e9, elapsed_s, "where: what" if how == "failed" else ""))
    assert history.cost_s(state, "train:p") == 120.0
    assert history.costs_s(state) == {"train:p": 120.0}
    assert history.last(state, "train:p") == Run("train:p", "failed", 1e9, 2.0, "where: what")


def test_each_task_has_its_own_last_run(state):
    for task in ("a:p", "b:p", "a:p"):
        history.note(state, Run(task, "built", 1.0, 2.0))
    history.note(state, Run("b:p", "restored", 3.0, 4.0))
    assert {task: run.how for task, run in history.last_all(state).items()} == {"a:p": "built", "b:p": "restored"}


@pytest.mark.parametrize("how", ["built", "failed"])
def test_the_table_does_not_grow_without_end(state, how):
    for i in range(history.KEPT + 5):
        history.note(state, Run("a:p", how, float(i), 1.0))
    history.note(state, Run("b:p", "built", 0.0, 1.0))
    rows = state.connection().execute("select task, min(start), count(*) from runs group by task").fetchall()
    assert rows == [("a:p", 5.0, history.KEPT), ("b:p", 0.0, 1)]


def test_many_restores_do_not_push_the_last_build_out(state):
    history.note(state, Run("a:p", "built", 0.0, 77.0))
    for i in range(2 * history.KEPT):
        history.note(state, Run("a:p", "restored", float(i), 1.0))
    assert history.cost_s(state, "a:p") == 77.0
