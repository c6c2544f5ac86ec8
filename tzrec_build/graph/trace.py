"""The course of a build as a trace for Perfetto (ui.perfetto.dev) or chrome://tracing: a lane per task that runs at once."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Mapping
from typing import Any

from tzrec_build.files import write_text
from tzrec_build.graph.console import Event

KEPT = 5
FOLDER = "traces"


class Trace:
    """Listens to a console and remembers when each task and phase began and ended.

    Args:
        start_s: the console's clock at the start of the build.
        explain: gives ``reason`` and ``key`` of a task.
    """

    def __init__(self, start_s: float, explain: Callable[[str], Mapping[str, Any]]) -> None:
        self._start_s, self._explain = start_s, explain
        self._lanes: dict[str, int] = {}  # running task -> its lane
        self._tasks: dict[str, float] = {}
        self._phases: dict[str, tuple[str, float]] = {}
        self._pids: dict[str, int] = {}
        self._used = 0
        self._events: list[dict[str, Any]] = []

    def __call__(self, event: Event) -> None:
        """Take one thing that happened."""
        if event.kind == "task_start":
            self._start(event.task, event.at_s)
        elif event.task not in self._tasks:
            return
        elif event.kind == "phase":
            self._end_phase(event.task, event.at_s)
            self._phases[event.task] = (event.detail["phase"], event.at_s)
        elif event.kind == "child":
            self._pids[event.task] = event.detail["pid"]
        elif event.kind == "task_end":
            self._end(event.task, event.at_s, event.detail["how"], event.detail["message"])

    def close(self, end_s: float) -> str:
        """The whole trace as JSON text; tasks that run still are shown as interrupted."""
        for task in list(self._tasks):
            self._end(task, end_s, "interrupted", "")
        names = [_meta("process_name", 0, "doit")]
        names += [_meta("thread_name", lane, f"worker {lane}") for lane in range(1, self._used + 1)]
        return json.dumps({"displayTimeUnit": "ms", "traceEvents": [*names, *self._events]})

    def _start(self, task: str, at_s: float) -> None:
        taken = set(self._lanes.values())
        self._lanes[task] = next(lane for lane in range(1, len(taken) + 2) if lane not in taken)
        self._used = max(self._used, self._lanes[task])
        self._tasks[task] = at_s
        self._count(at_s)

    def _end_phase(self, task: str, at_s: float) -> None:
        if task in self._phases:
            name, start_s = self._phases.pop(task)
            self._complete(task, name, start_s, at_s, {"cat": "phase"})

    def _end(self, task: str, at_s: float, how: str, message: str) -> None:
        self._end_phase(task, at_s)
        more = {"how": how, **self._explain(task)}
        more.update({"pid": self._pids.pop(task)} if task in self._pids else {})
        more.update({"message": message} if message else {})
        self._complete(task, task, self._tasks.pop(task), at_s, {"cat": "task", "args": more})
        del self._lanes[task]
        self._count(at_s)

    def _complete(self, task: str, name: str, start_s: float, end_s: float, more: dict[str, Any]) -> None:
        times = {"ts": self._us(start_s), "dur": max(self._us(end_s) - self._us(start_s), 0)}
        self._events.append({"ph": "X", "name": name, "pid": 1, "tid": self._lanes[task], **times, **more})

    def _count(self, at_s: float) -> None:
        running = {"running": len(self._lanes)}
        self._events.append(
            {"ph": "C", "name": "running tasks", "pid": 1, "tid": 0, "ts": self._us(at_s), "args": running}
        )

    def _us(self, at_s: float) -> int:
        return round((at_s - self._start_s) * 1e6)


def _meta(name: str, lane: int, value: str) -> dict[str, Any]:
    return {"ph": "M", "name": name, "pid": 1, "tid": lane, "args": {"name": value}}


def keep(state_folder: str, text: str) -> str:
    """Write a trace below the state's folder, drop all but the last `KEPT`, and return its path.

    Raises:
        OSError: the disk refuses.
    """
    folder = os.path.join(state_folder, FOLDER)
    now_ns = time.time_ns()
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(now_ns // 10**9))
    path = os.path.join(folder, f"{stamp}.{now_ns // 1000 % 10**6:06}Z-{os.getpid()}.json")
    write_text(path, text)
    names = sorted(name for name in os.listdir(folder) if name.endswith(".json") and not name.startswith("."))
    for name in names[:-KEPT]:
        with contextlib.suppress(FileNotFoundError):  # another build drops the same ones
            os.unlink(os.path.join(folder, name))
    return path
