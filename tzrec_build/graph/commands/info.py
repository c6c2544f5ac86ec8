"""``doit info``: what a task reads and makes, whether and why it would run, and the command that would make it."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from typing import Any

from doit.cmd_info import Info as DoitInfo
from doit.exceptions import InvalidCommand

from tzrec_build.errors import BuildError
from tzrec_build.graph.amounts import duration_text
from tzrec_build.graph.commands.options import OptionsAnywhere
from tzrec_build.graph.commands.selection import named_tasks
from tzrec_build.graph.commands.statuses import Statuses
from tzrec_build.graph.explain import accepted_lines, verdict

_LISTS = ("file_dep", "task_dep", "targets")  # fields of a task that ours use, by doit's names


class Info(OptionsAnywhere, DoitInfo):  # type: ignore[misc]
    """doit's `info`, with the plan's verdict and the command."""

    doc_description = "Ends with 1 when the task would run, and says why; with the command that would make it."

    def _execute(self, pos_args: list[str], hide_status: bool = False) -> int:  # noqa: FBT001, FBT002 - doit's signature
        if len(pos_args) != 1:
            raise InvalidCommand(f"info: name one task, got {len(pos_args)}; `doit list --all` shows them")
        task = named_tasks(self.task_list, pos_args)[pos_args[0]]
        statuses = None if hide_status else Statuses(self.task_list, [task.name])
        self.outstream.write(f"\n{task.name}\n" + (f"\n{task.doc}\n" if task.doc else ""))
        code = self._status(statuses, task) if statuses else 0
        wrong = bool(task.actions) and bool(getattr(task.actions[0], "error", ""))
        if wrong:  # stands for a pipeline: it reads and makes nothing
            return code
        for field in _LISTS:
            self._list(field, sorted(getattr(task, field)) if field == "file_dep" else getattr(task, field))
        if task.actions:
            self._line("command", _shell_line(task))
        return code

    def _status(self, statuses: Statuses, task: Any) -> int:
        status = statuses.get_status(task, None).status
        self._line("status", status)
        if status != "up-to-date":
            self.outstream.write(_reasons(statuses, task) + "\n")
        if task.actions:
            for text in accepted_lines(task.actions[0].workshop.judge.record(task.name)):
                self._line("note", text)
        return int(status != "up-to-date")

    def _line(self, field: str, text: str) -> None:
        self.outstream.write(f"\n{field:11s}: {text}\n")

    def _list(self, field: str, values: Iterable[str]) -> None:
        if values:
            self.outstream.write(f"\n{field:11s}:\n" + "".join(f" - {value}\n" for value in values))


def _reasons(statuses: Statuses, task: Any) -> str:
    """What the plan says of the task; of a group, which of its tasks would run."""
    planned = statuses.plan.tasks
    if task.name not in planned:
        stale = [name for name in task.task_dep if name in planned and planned[name].state != "fresh"]
        return "\n".join(f" * {name}  {verdict(planned[name])}" for name in stale)
    one = planned[task.name]
    cost = f", about {duration_text(one.cost_s)}" if one.cost_s is not None and one.state in {"build", "maybe"} else ""
    return "\n".join([f" * {verdict(one)}{cost}", *(f"    - {cause}" for cause in one.causes)])


def _shell_line(task: Any) -> str:
    """The line to type into a shell in the checkout's root."""
    try:
        shown = str(task.actions[0])
    except BuildError as err:
        raise InvalidCommand(str(err)) from err
    folder = (task.meta or {}).get("folder", ".")
    return shown if folder == "." else f"(cd {shlex.quote(folder)} && {shown})"
