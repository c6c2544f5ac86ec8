"""The plan's verdicts in the words of doit, for ``doit list --status`` and ``doit info``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tzrec_build.graph.commands.site import site_of
from tzrec_build.graph.plan import Plan, make_plan

WORDS = {  # state of the plan -> status of doit; "maybe" is ours
    "fresh": "up-to-date",
    "build": "run",
    "restore": "run",
    "maybe": "maybe",
    "error": "error",
    "blocked": "error",
    "ignored": "ignore",
}
_WORST_FIRST = ("error", "run", "maybe", "up-to-date")


@dataclass(frozen=True, slots=True)
class Status:
    """What doit's commands read of a status; `reasons` is the task's name, for the command's own words."""

    status: str
    reasons: str


class Statuses:
    """Stands in for doit's own look at each task alone.

    Args:
        tasks: all tasks of doit.
        names: those that are asked for; what they need is planned too.
    """

    def __init__(self, tasks: Iterable[Any], names: Iterable[str]) -> None:
        tasks = list(tasks)
        groups = {task.name: task.task_dep for task in tasks if not task.actions}
        chosen = [member for name in names for member in (name, *groups.get(name, ()))]
        site = site_of(tasks)
        self.plan = make_plan(site, chosen) if site else Plan({}, {})

    def get_status(self, task: Any, tasks: object, get_log: bool = False) -> Status:  # noqa: ARG002, FBT001, FBT002 - doit's signature
        """The status of a task, or the worst one of a group's members."""
        names = [task.name] if task.actions else task.task_dep
        found = {WORDS[self.plan.tasks[name].state] for name in names if name in self.plan.tasks}
        return Status(next((word for word in _WORST_FIRST if word in found), "up-to-date"), task.name)

    def status_is_ignore(self, task: Any) -> bool:
        """Whether doit would pass over the task."""
        planned = self.plan.tasks.get(task.name)
        return planned is not None and planned.state == "ignored"

    def close(self) -> None:
        """Nothing was opened."""
