"""doit commands of our own; registered as entry points, so that plain `doit` knows them from any folder."""

from __future__ import annotations

import functools
import os
import shlex
from collections.abc import Iterable
from typing import Any

from doit.cmd_base import DoitCmdBase
from doit.cmd_clean import Clean as DoitClean
from doit.cmd_info import Info as DoitInfo
from doit.cmd_run import Run as DoitRun
from doit.exceptions import InvalidCommand

from tzrec_build.errors import BuildError, suggestion
from tzrec_build.files import write_text
from tzrec_build.graph.picture import WRITERS, Node
from tzrec_build.graph.tasks import force

INTERRUPTED = 130  # what a shell says of a program that Ctrl-C ended


class Run(DoitRun):  # type: ignore[misc]
    """doit's `run`, which also tells the actions of ``-a`` (skip the record and the cache), and takes Ctrl-C without a traceback."""

    @functools.wraps(DoitRun._execute)  # noqa: SLF001 - doit reads the names of the options from the signature
    def _execute(self, *args: Any, **kwargs: Any) -> int:
        if kwargs.get("always"):
            force()
        try:
            code: int = super()._execute(*args, **kwargs)
        except KeyboardInterrupt:
            self.outstream.write("interrupted; what had ended before is kept, the next build goes on from there\n")
            return INTERRUPTED
        return code


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


class Clean(DoitClean):  # type: ignore[misc]
    """doit's `clean`, which prints what is removed instead of the names of Python objects."""

    _code = 0

    @functools.wraps(DoitClean._execute)  # noqa: SLF001 - doit reads the names of the options from the signature
    def _execute(self, *args: Any, **kwargs: Any) -> int:
        super()._execute(*args, **kwargs)
        return self._code

    def clean_tasks(self, tasks: Iterable[Any], dryrun: bool, cleanforget: bool) -> None:  # noqa: FBT001 - doit's signature
        """Clean tasks, each once; a folder that cannot be removed is an error, and the others are removed."""
        for task in {task.name: task for task in tasks}.values():
            try:
                for action in task.clean_actions:
                    action.py_callable(dryrun)
            except OSError as err:
                self._code = 1
                what = f"{os.path.relpath(err.filename)}: {err.strerror}" if err.filename else str(err)
                self.outstream.write(f"! {task.name}: {what}; not removed, check its permissions\n")
                continue
            if cleanforget and not dryrun:
                self.dep_manager.remove(task.name)
        self.dep_manager.close()


class Graph(DoitCmdBase):  # type: ignore[misc]
    """``doit graph``: the task graph as a picture."""

    name = "graph"
    doc_purpose = "write the task graph as a picture, coloured by state"
    doc_usage = "[TASK or PIPELINE ...]"
    doc_description = (
        "Without a name, all tasks; a pipeline's name means its tasks. The suffix decides: .svg, .dot or .mmd."
    )
    cmd_options = (
        {
            "name": "output",
            "short": "o",
            "long": "output",
            "type": str,
            "default": "graph.svg",
            "help": "file to write",
        },
        {"name": "plain", "short": "", "long": "plain", "type": bool, "default": False, "help": "without the states"},
    )

    def _execute(self, output: str, plain: bool, pos_args: list[str]) -> int:  # noqa: FBT001 - doit passes it by name
        suffix = os.path.splitext(output)[1]
        if suffix not in WRITERS:
            raise InvalidCommand(f"--output: must end in one of {', '.join(WRITERS)}, got {output!r}")
        tasks = {task.name: task for task in self.task_list if task.actions}
        wanted = _wanted(list(tasks), pos_args)
        nodes = [self._node(tasks[name], tasks, plain=plain) for name in tasks if name in wanted]
        write_text(output, WRITERS[suffix](nodes))
        self.outstream.write(f"{output}: {len(nodes)} tasks\n")
        return 0

    def _node(self, task: Any, tasks: dict[str, Any], *, plain: bool) -> Node:
        verb, _, rest = task.name.partition(":")
        band = rest.rpartition(":")[0] if verb == "step" else rest
        parts = rest.split(":") if verb == "step" else [verb, *rest.split(":")[1:]]
        label = parts[-1] if verb == "step" else " ".join(parts)
        fresh = plain or self.dep_manager.get_status(task, tasks).status == "up-to-date"
        return Node(
            task.name,
            label,
            band.split(":")[0] if verb != "step" else band,
            "plain" if plain else "fresh" if fresh else "stale",
            tuple(task.task_dep),
        )


def _wanted(names: list[str], chosen: list[str]) -> set[str]:
    """Names of the chosen tasks, and of all tasks of the chosen pipelines; everything when nothing is chosen."""
    if not chosen:
        return set(names)
    pipelines = {name.split(":")[1] for name in names if ":" in name}
    wanted: set[str] = set()
    for choice in chosen:
        if choice not in names and choice not in pipelines:
            raise InvalidCommand(
                f"{choice!r} is neither a task nor a pipeline{suggestion(choice, [*names, *pipelines])}"
            )
        wanted |= {name for name in names if name == choice or name.split(":")[1:2] == [choice]}
    return wanted
