"""``doit info``: what a task reads and makes, whether and why it would run, and the command that would make it."""

from __future__ import annotations

import shlex
from typing import Any

from doit.cmd_info import Info as DoitInfo
from doit.exceptions import InvalidCommand

from tzrec_build.errors import BuildError, suggestion
from tzrec_build.graph.causes import duration_text
from tzrec_build.graph.commands.statuses import Statuses
from tzrec_build.graph.explain import accepted_lines, verdict


class Info(DoitInfo):  # type: ignore[misc]
    """doit's `info`, which also shows the command."""

    doc_description = "Ends with 1 when the task would run, and says why; with the command that would make it."

    def _execute(self, pos_args: list[str], hide_status: bool = False) -> int:  # noqa: FBT001, FBT002 - doit's signature
        tasks = {task.name: task for task in self.task_list}
        for name in pos_args:
            if name not in tasks:
                raise InvalidCommand(f"{name!r} is no task{suggestion(name, tasks)}")
        if not hide_status:
            self.dep_manager = self._statuses = Statuses(self.task_list, pos_args)
        code: int = super()._execute(pos_args, hide_status)
        task = tasks[pos_args[0]]
        if task.actions:
            for text in accepted_lines(task.actions[0].workshop.judge.record(task.name)):
                self.outstream.write(f"\n{'note':11s}: {text}\n")
            self.outstream.write(f"\n{'command':11s}: {_shell_line(task)}\n")
        return code

    def get_reasons(self, reasons: str) -> str:
        """What the plan says of the task."""
        plan = self._statuses.plan
        if reasons not in plan.tasks:
            return " * a task of the group would run"
        one = plan.tasks[reasons]
        cost = (
            f", about {duration_text(one.cost_s)}" if one.cost_s is not None and one.state in {"build", "maybe"} else ""
        )
        return "\n".join([f" * {verdict(one)}{cost}", *(f"    - {cause}" for cause in one.causes)])


def _shell_line(task: Any) -> str:
    """The line to type into a shell in the checkout's root."""
    try:
        shown = str(task.actions[0])
    except BuildError as err:
        raise InvalidCommand(str(err)) from err
    folder = (task.meta or {}).get("folder", ".")
    return shown if folder == "." else f"(cd {shlex.quote(folder)} && {shown})"
