"""Our tasks as doit sees them: a subclass of its `Task`, because checking 19 fields of a dictionary takes longer than judging it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import TYPE_CHECKING, Any

from doit.action import BaseAction, create_action
from doit.dependency import FileChangedChecker
from doit.exceptions import TaskFailed
from doit.task import Task

from tzrec_build.graph.fresh import Fresh, GroupFresh
from tzrec_build.graph.rows import Row, Specs
from tzrec_build.graph.spec import TaskSpec

if TYPE_CHECKING:
    from tzrec_build.graph.action import Workshop


class NoChecker(FileChangedChecker):  # type: ignore[misc]
    """doit's own look at files, switched off: `Fresh` is the only judge."""

    def exists(self, file_path: str) -> bool:  # noqa: ARG002 - doit's protocol
        """Every file is there."""
        return True

    def info(self, file_path: str) -> None:
        """Nothing to know."""

    def check_modified(self, file_path: str, file_stat: object, state: object) -> bool:  # noqa: ARG002 - doit's protocol
        """No file is modified."""
        return False

    def get_state(self, dep: str, current_state: object) -> int:  # noqa: ARG002 - doit's protocol
        """One state for all."""
        return 0


class Tasks:
    """What all tasks of a graph share: their specs, and the workshop where they are made."""

    def __init__(self, specs: Specs, workshop: Callable[[], Workshop]) -> None:
        self.specs, self.workshop = specs, workshop


class BuildTask(Task):  # type: ignore[misc]
    """One task of ours. What doit reads of it on every start is set here; actions and the like are made when asked for.

    Fields that never differ are those of the class. doit 0.37 is pinned, and tests/graph/test_doit_task.py compares every field
    with that of a task made from a dictionary.
    """

    loader = pos_arg = pos_arg_val = result = verbosity = None
    cfg_values = custom_title = dep_changed = None
    params: tuple[object, ...] = ()
    watch: tuple[object, ...] = ()
    has_subtask = executed = _remove_targets = False

    def __init__(self, row: Row, fresh: Fresh, shared: Tasks) -> None:
        self.name, self.doc = row.name, row.doc
        self.task_dep = list(row.task_deps)
        self.file_dep = set(row.file_deps)
        self.targets = [row.target]
        self.uptodate: list[tuple[Fresh, list[object], dict[str, object]]] = [(fresh, [], {})]
        self.subtask_of = row.name.partition(":")[0] if ":" in row.name else None
        self.options: dict[str, object] | None = None
        self.values: dict[str, object] = {}
        self.calc_dep: set[str] = set()
        self.wild_dep: list[str] = []
        self.setup_tasks: list[str] = []
        self.getargs: dict[str, object] = {}
        self._row, self._shared = row, shared
        self._make: list[Make] | None = None

    @property
    def actions(self) -> list[Make]:
        """What makes the artifact."""
        if self._make is None:
            self._make = [Make(self._row, self._shared)]
        return self._make

    @property
    def _actions(self) -> list[Make]:
        return self.actions

    @cached_property
    def clean_actions(self) -> list[Any]:
        """What ``doit clean`` does."""
        return [create_action(Clean(self._row, self._shared), self, "clean")]

    @cached_property
    def meta(self) -> dict[str, str]:
        """The folder in which the command runs."""
        return {"folder": self._row.inside}

    @cached_property
    def io(self) -> Any:
        """Doit's settings of a task's streams."""
        return Task("any", None).io

    @cached_property
    def creator_params(self) -> list[object]:
        """Options that a task creator was given; none."""
        return []

    @cached_property
    def teardown(self) -> list[object]:
        """What is done at the end of the run; nothing."""
        return []

    @cached_property
    def value_savers(self) -> list[object]:
        """What saves values for later runs; nothing."""
        return []

    def init_options(self, args: list[str] | None = None) -> list[str] | None:
        """Parse no options: our tasks have none. doit's own way copies the rest of the command line for each task."""
        self.options = {}
        return args

    def pickle_safe_dict(self) -> dict[str, object]:
        """What a worker sends back: our workers are threads, and have changed this very object."""
        return {"name": self.name}


def group_task(verb: str, doc: str, members: Iterable[tuple[str, Fresh]]) -> Task:
    """The group of all tasks with one verb."""
    names = [name for name, _ in members]
    judged = GroupFresh([fresh for _, fresh in members])
    return Task(verb, None, doc=doc, has_subtask=True, task_dep=names, uptodate=[judged])


class Make(BaseAction):  # type: ignore[misc]
    """doit action that makes one artifact."""

    def __init__(self, row: Row, shared: Tasks) -> None:
        self._row, self._shared = row, shared
        self.task: object = None
        self.out = self.err = ""
        self.result: object = None
        self.values: dict[str, object] = {}

    def execute(self, out: object = None, err: object = None) -> TaskFailed | None:  # noqa: ARG002 - doit's protocol
        """Make the artifact; a user's error becomes a failed task with one message."""
        if self._row.error:
            return TaskFailed(self._row.error)
        from tzrec_build.graph.action import attempt_make

        failure = attempt_make(self.workshop, self.spec)
        return TaskFailed(failure) if failure else None

    @property
    def error(self) -> str:
        """What is wrong with the pipeline that this stands for, or ""."""
        return self._row.error

    @property
    def spec(self) -> TaskSpec:
        """What it makes; for the commands that explain a task."""
        return self._shared.specs[self._row.name]

    @property
    def workshop(self) -> Workshop:
        """What it shares with the others."""
        return self._shared.workshop()

    def __str__(self) -> str:
        from tzrec_build.graph.action import shown_command

        return shown_command(self.spec)


class Clean:
    """``doit clean``: removes the artifact folder as a whole."""

    def __init__(self, row: Row, shared: Tasks) -> None:
        self._row, self._shared = row, shared
        self.__name__ = "clean"

    def __call__(self, dryrun: bool) -> None:  # noqa: FBT001 - doit passes it by name
        """Remove it, or only say so."""
        folder = self._row.out
        if self._row.error or not os.path.isdir(folder):
            return
        print(f"{self._row.name} - removing {os.path.relpath(folder)}/")
        if not dryrun:
            from tzrec_build.graph import publish

            spec = self._shared.specs[self._row.name]
            shutil.rmtree(folder)
            publish.drop_work(spec, publish.work_folder(spec, "any"), purge=True)
