"""doit commands of our own; registered as entry points, so that plain `doit` knows them from any folder."""

from __future__ import annotations

import functools
import os
from typing import Any

from doit.cmd_base import DoitCmdBase
from doit.cmd_run import Run as DoitRun
from doit.exceptions import InvalidCommand

from tzrec_build.errors import suggestion
from tzrec_build.files import write_text
from tzrec_build.graph.picture import WRITERS, Node
from tzrec_build.graph.tasks import force


class Run(DoitRun):  # type: ignore[misc]
    """doit's `run`, which also tells the actions of ``-a``: skip the record and the cache."""

    @functools.wraps(DoitRun._execute)  # noqa: SLF001 - doit reads the names of the options from the signature
    def _execute(self, *args: Any, **kwargs: Any) -> int:
        if kwargs.get("always"):
            force()
        code: int = super()._execute(*args, **kwargs)
        return code


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
