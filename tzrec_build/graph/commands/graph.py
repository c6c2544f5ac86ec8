"""``doit graph``: the task graph as a picture."""

from __future__ import annotations

import os
from typing import Any

from doit.cmd_base import DoitCmdBase
from doit.exceptions import InvalidCommand

from tzrec_build.files import write_text
from tzrec_build.graph.commands.selection import chosen_tasks
from tzrec_build.graph.picture import WRITERS, Node


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
        wanted = chosen_tasks(list(tasks), pos_args)
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
