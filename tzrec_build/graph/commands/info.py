"""``doit info``: what a task reads and makes, whether and why it would run, and the command that would make it."""

from __future__ import annotations

import shlex
from typing import Any

from doit.cmd_info import Info as DoitInfo
from doit.exceptions import InvalidCommand

from tzrec_build.errors import BuildError, suggestion


class Info(DoitInfo):  # type: ignore[misc]
    """doit's `info`, which also shows the command."""

    doc_description = "Ends with 1 when the task would run, and says why; with the command that would make it."

    def _execute(self, pos_args: list[str], hide_status: bool = False) -> int:  # noqa: FBT001, FBT002 - doit's signature
        tasks = {task.name: task for task in self.task_list}
        for name in pos_args:
            if name not in tasks:
                raise InvalidCommand(f"{name!r} is no task{suggestion(name, tasks)}")
        code: int = super()._execute(pos_args, hide_status)
        task = tasks[pos_args[0]]
        if task.actions:
            self.outstream.write(f"\n{'command':11s}: {_shell_line(task)}\n")
        return code


def _shell_line(task: Any) -> str:
    """The line to type into a shell in the checkout's root."""
    try:
        shown = str(task.actions[0])
    except BuildError as err:
        raise InvalidCommand(str(err)) from err
    folder = (task.meta or {}).get("folder", ".")
    return shown if folder == "." else f"(cd {shlex.quote(folder)} && {shown})"
