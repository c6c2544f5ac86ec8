"""``doit audit``: runs actions and reports the files that they opened and that nothing declares."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import Any

from doit.cmd_base import DoitCmdBase
from doit.exceptions import InvalidCommand

from tzrec_build.errors import BuildError
from tzrec_build.graph.auditing import Audit as Found
from tzrec_build.graph.auditing import audit
from tzrec_build.graph.commands.options import OptionsAnywhere
from tzrec_build.graph.commands.selection import right_tasks
from tzrec_build.graph.opened_files import strace_works
from tzrec_build.graph.spec import TaskSpec

NO_STRACE = "strace is missing or may not trace here: only files that Python opens are seen\n"


class Audit(OptionsAnywhere, DoitCmdBase):  # type: ignore[misc]
    """``doit audit``: the search for undeclared inputs."""

    name = "audit"
    doc_purpose = "run actions and report files that they open and nothing declares"
    doc_usage = "TASK or PIPELINE ..."
    doc_description = (
        "Runs each command in a folder of its own; artifact, record and cache stay as they are. Its inputs must be built. "
        "Ends with 1 when a file of the workspace or the repository was opened that no input, code or output declares."
    )
    cmd_options = (
        {"name": "json", "short": "", "long": "json", "type": bool, "default": False, "help": "print JSON"},
        {
            "name": "python_only",
            "short": "",
            "long": "python_only",
            "type": bool,
            "default": False,
            "help": "do without strace: see only what Python opens, at no cost",
        },
    )

    def _execute(self, json: bool, python_only: bool, pos_args: list[str]) -> int:  # noqa: FBT001 - doit passes them by name
        tasks = {task.name: task for task in self.task_list if task.actions}
        if not pos_args:
            raise InvalidCommand("doit audit: needs a task or a pipeline; `doit list --all` shows them")
        wanted = right_tasks(tasks, pos_args)
        strace = not python_only and strace_works()
        if not strace and not python_only:
            self.outstream.write(NO_STRACE)
        failed, found = False, []
        for name in [name for name in tasks if name in wanted]:
            try:
                found.append(self._one(tasks[name], strace=strace, quiet=json))
            except BuildError as err:
                failed = True
                self.outstream.write(f"! {text if (text := str(err)).startswith(name) else f'{name}: {text}'}\n")
        if json:
            import json as encoder

            rows = [asdict(one) | {"strace": strace} for one in found]
            self.outstream.write(encoder.dumps(rows, indent=2) + "\n")
        return int(failed or any(one.undeclared for one in found))

    def _one(self, task: Any, *, strace: bool, quiet: bool) -> Found:
        spec: TaskSpec = task.actions[0].spec
        root = os.path.realpath(os.getcwd())
        found = audit(task.actions[0].workshop, spec, root, strace=strace)
        if quiet:
            return found
        if not found.undeclared:
            self.outstream.write(f"{found.task}: each of the {found.opened} files that it opened here is declared\n")
            return found
        self.outstream.write(f"{found.task}: opened {len(found.undeclared)} files that nothing declares\n")
        for path in found.undeclared:
            self.outstream.write(f"  {os.path.relpath(path, root)}: {_remedy(spec, path)}\n")
        return found


def _remedy(spec: TaskSpec, path: str) -> str:
    if spec.module:
        return "an edit of it would rebuild nothing; this is a fault of the rule, please report it"
    step = spec.name.rpartition(":")[2] if spec.name.startswith("step:") else spec.name
    return f"name it in `inputs` of [step.{step}]: NAME = {os.path.relpath(path, spec.folder)!r}"
