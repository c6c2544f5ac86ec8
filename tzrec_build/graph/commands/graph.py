"""``doit graph``: the task graph as a picture."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from typing import Any

from doit.cmd_base import DoitCmdBase
from doit.exceptions import InvalidCommand

from tzrec_build.files import write_text
from tzrec_build.graph.collapse import collapsed, split_name
from tzrec_build.graph.commands.options import OptionsAnywhere
from tzrec_build.graph.commands.selection import chosen_tasks
from tzrec_build.graph.commands.site import site_of
from tzrec_build.graph.layout import Node
from tzrec_build.graph.picture import DRAWN, WRITERS, geometry

_FLAG = {"short": "", "type": bool, "default": False}
_SHOWN = {"fresh": "fresh", "restore": "restorable", "ignored": "plain"}  # of a plan's states; the others are stale


class Graph(OptionsAnywhere, DoitCmdBase):  # type: ignore[misc]
    """``doit graph``: the task graph as a picture."""

    name = "graph"
    doc_purpose = "write the task graph as a picture, coloured by state"
    doc_usage = "[TASK or PIPELINE ...]"
    doc_description = "Without a name, all tasks; a pipeline's name means its tasks. The suffix decides: .svg, .png, .pdf, .dot or .mmd."
    cmd_options = (
        {
            "name": "output",
            "short": "o",
            "long": "output",
            "type": str,
            "default": "graph.svg",
            "help": "file to write",
        },
        {"name": "plain", "long": "plain", "help": "without the states", **_FLAG},
        {"name": "expand", "long": "expand", "help": "each instance of [each] for itself", **_FLAG},
    )

    def _execute(self, output: str, plain: bool, expand: bool, pos_args: list[str]) -> int:  # noqa: FBT001 - doit passes them by name
        suffix = os.path.splitext(output)[1]
        if suffix not in {*WRITERS, *DRAWN}:
            raise InvalidCommand(f"--output: must end in one of {', '.join([*WRITERS, *DRAWN])}, got {output!r}")
        if not os.path.isdir(os.path.dirname(os.path.abspath(output))):
            raise InvalidCommand(f"{output}: cannot be written (no such folder); name another file")
        tasks = {task.name: task for task in self.task_list if task.actions}
        wanted = chosen_tasks(tasks, pos_args)
        names = [name for name in tasks if name in wanted]
        states = dict.fromkeys(names, ("plain", "")) if plain else _states(tasks, names)
        nodes = [_node(name, tasks[name].task_dep, states[name], expand=expand) for name in names]
        shown = nodes if expand else collapsed(nodes)
        try:
            if suffix in DRAWN:
                _draw(geometry(shown), output)
            else:
                write_text(output, WRITERS[suffix](shown))
        except OSError as err:
            raise InvalidCommand(f"{output}: cannot be written ({err.strerror}); name another file") from err
        boxes = f" in {len(shown)} boxes (--expand draws each)" if len(shown) < len(nodes) else ""
        self.outstream.write(f"{output}: {len(nodes)} tasks{boxes}\n")
        return 0


def _node(name: str, needs: Iterable[str], state: tuple[str, str], *, expand: bool) -> Node:
    pipeline, instance, label = split_name(name)
    band = f"{pipeline} {instance.replace('@', '=')}" if instance and expand else pipeline
    return Node(name, label, band or "checkout", state[0], tuple(needs), state[1])


def _states(tasks: Mapping[str, Any], names: list[str]) -> dict[str, tuple[str, str]]:
    """State of each task and what there is to say about it: the plan of a build, who builds it now, how it last failed."""
    from tzrec_build.graph.history import last_all
    from tzrec_build.graph.locks import holder
    from tzrec_build.graph.plan import make_plan

    site = site_of(tasks.values())
    if site is None:
        return {}
    plan = make_plan(site, names)
    runs = last_all(site.judge.state)
    found = {}
    for name in names:
        planned = plan.tasks[name]
        reason = planned.causes[0].text if planned.causes else ""
        found[name] = (_SHOWN.get(planned.state, "stale"), "ignored" if planned.state == "ignored" else reason)
        holding = holder(site.judge.state.folder, name)
        if holding is not None and holding.alive:
            found[name] = ("running", f"process {holding.pid} on {holding.host}")
        elif name in runs and runs[name].how == "failed" and planned.state not in {"fresh", "restore", "ignored"}:
            found[name] = ("failed", runs[name].message.partition("\n")[0])
    return found


def _draw(text: str, output: str) -> None:
    """Draw in a child process: the picture's library is heavy, and nothing for this floor."""
    with tempfile.TemporaryDirectory(prefix="tzrec-graph-") as folder:
        path = os.path.join(folder, "geometry.json")
        write_text(path, text)
        tool = [sys.executable, "-P", "-m", "tzrec_build.tools.graph_picture"]
        done = subprocess.run(
            [*tool, "--geometry", path, "--output", os.path.abspath(output)],
            env={**os.environ, "MPLBACKEND": "Agg"},
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        last = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1]
        raise InvalidCommand(f"{output}: cannot be drawn ({last}); .svg needs no drawing")
