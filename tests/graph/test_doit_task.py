"""Our subclass of doit's Task has every field that doit may ask for."""

from __future__ import annotations

import inspect

from doit import task as doit_task
from doit.cmdparse import TaskParse
from doit.task import Task, dict_to_task

from tzrec_build.graph.doit_task import BuildTask, Tasks, group_task
from tzrec_build.graph.fresh import Fresh, Judge
from tzrec_build.graph.rows import Specs, make_rows
from tzrec_build.graph.spec import Input, TaskSpec
from tzrec_build.graph.state import State

OURS = {"actions", "_actions", "_action_instances", "clean_actions", "uptodate", "meta", "io"}  # compared by themselves


def build_task(tmp_path):
    spec = TaskSpec(
        "step:p:s",
        "doc",
        f"{tmp_path}/p",
        "build/s",
        ("cp", "{out}"),
        "",
        (Input("a", ("in",)),),
        task_deps=("step:p:r",),
    )
    (tmp_path / "site").mkdir()
    rows = make_rows([spec], str(tmp_path))
    judge = Judge(State(str(tmp_path / "state")), str(tmp_path), str(tmp_path / "site"))
    return BuildTask(rows[0], Fresh(judge, rows[0]), Tasks(Specs(rows), lambda: None)), spec


def test_every_field_is_that_of_a_task_made_from_a_dictionary(tmp_path):
    ours, _ = build_task(tmp_path)
    theirs = dict_to_task(
        {
            "name": "step:p:s",
            "doc": "doc",
            "actions": None,
            "task_dep": ["step:p:r"],
            "file_dep": ["p/in"],
            "targets": ["p/build/s"],
        }
    )
    theirs.subtask_of = "step"
    for name, value in theirs.__dict__.items():
        if name not in OURS:
            found = getattr(ours, name)
            assert (list(found) if isinstance(value, tuple | list) else found) == (
                list(value) if isinstance(value, tuple | list) else value
            ), name
    assert ours.io.capture == theirs.io.capture
    assert ours.meta == {"folder": "p"}
    assert ours.title() == "step:p:s"


def test_the_action_and_the_cleaning_know_the_task(tmp_path):
    ours, spec = build_task(tmp_path)
    assert ours.actions[0].spec == spec
    assert ours.actions is ours.actions
    assert ours.clean_actions[0].py_callable.__name__ == "clean"


def test_options_of_a_task_are_none_as_with_doit_itself(tmp_path):
    ours, _ = build_task(tmp_path)
    assert ours.init_options(["step:p:r", "x"]) == ["step:p:r", "x"]
    assert ours.options == TaskParse([]).parse("")[0]


def test_a_group_holds_its_members(tmp_path):
    ours, _ = build_task(tmp_path)
    group = group_task("step", "doc", [(ours.name, ours.uptodate[0][0])])
    assert (group.has_subtask, group.task_dep, group.actions) == (True, ["step:p:s"], [])


def test_doit_is_the_version_that_this_was_written_for():
    assert list(inspect.signature(Task.__init__).parameters)[1:] == [
        *("name", "actions", "file_dep", "targets", "task_dep", "uptodate", "calc_dep", "setup", "clean", "teardown"),
        *(
            "subtask_of",
            "has_subtask",
            "doc",
            "params",
            "pos_arg",
            "verbosity",
            "io",
            "title",
            "getargs",
            "watch",
            "meta",
        ),
        "loader",
    ]
    assert doit_task.Task is Task
