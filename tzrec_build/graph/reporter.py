"""What a build prints: one line per task, progress of the running ones, counts and headline numbers at the end."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any, TextIO

from tzrec_build.graph import child
from tzrec_build.graph.spec import TaskSpec
from tzrec_build.graph.state import set_running

LOG_INTERVAL_S = 10.0  # of progress lines where stdout is not a terminal
_SIGNS = {"built": "+", "restored": "<", "failed": "!"}


class Screen:
    """Serialises what several tasks print; on a terminal the last line shows the running tasks and is redrawn."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._tty = stream.isatty()
        self._lock = threading.Lock()
        self._running: dict[str, tuple[float, str]] = {}
        self._last_s: dict[str, float] = {}
        self._phases: dict[str, str] = {}
        self._children: dict[str, int] = {}
        self.counts = {"built": 0, "restored": 0, "up to date": 0, "failed": 0}

    def line(self, text: str) -> None:
        """Print one whole line above the status line."""
        with self._lock:
            self._clear()
            self._stream.write(text + "\n")
            self._draw()

    def started(self, task: str) -> None:
        """A task begins."""
        with self._lock:
            self._running[task] = (time.monotonic(), "")
            self._last_s[task] = time.monotonic()
            self._clear()
            self._draw()

    def progress(self, task: str, line: str) -> None:
        """One line of a running task: redrawn at once on a terminal, every `LOG_INTERVAL_S` in a log."""
        now_s = time.monotonic()
        with self._lock:
            start_s, _ = self._running.get(task, (now_s, ""))
            self._running[task] = (start_s, line)
            if self._tty:
                self._clear()
                self._draw()
            elif now_s - self._last_s.get(task, now_s) >= LOG_INTERVAL_S:
                self._last_s[task] = now_s
                self._stream.write(f"  {task}: {line}\n")
                self._stream.flush()

    def phase(self, task: str, name: str) -> None:
        """What a running task does now: waiting, key, restoring, running, retrying, checking, caching or publishing."""
        with self._lock:
            self._phases[task] = name

    def started_child(self, task: str, pid: int) -> None:
        """The command of a task runs as process `pid`."""
        with self._lock:
            self._children[task] = pid

    def finished(self, task: str, how: str, elapsed_s: float) -> None:
        """A task was built or restored."""
        self._end(task, how)
        self.line(f"{_SIGNS[how]} {task}  {how} in {elapsed_s:.1f} s")

    def failed(self, task: str, text: str) -> None:
        """A task failed; the text says where and what to do."""
        self._end(task, "failed")
        self.line(f"{_SIGNS['failed']} {text}")

    def _end(self, task: str, how: str) -> None:
        with self._lock:
            self._running.pop(task, None)
            self.counts[how] += 1

    def _clear(self) -> None:
        if self._tty:
            self._stream.write("\r\x1b[K")

    def _draw(self) -> None:
        if self._tty and self._running:
            width = os.get_terminal_size(self._stream.fileno()).columns - 1
            now_s = time.monotonic()
            shown = [f"{name} {now_s - start:.0f} s {line}".rstrip() for name, (start, line) in self._running.items()]
            self._stream.write(" | ".join(shown)[:width])
        self._stream.flush()


_screens: list[Screen] = []
_specs: dict[str, TaskSpec] = {}


def screen() -> Screen:
    """The screen of this process: the reporter's, or stdout before there is one."""
    if not _screens:
        _screens.append(Screen(sys.stdout))
    return _screens[0]


def know(specs: Mapping[str, TaskSpec]) -> None:
    """Tell the reporter what the tasks of this run make."""
    _specs.update(specs)


class Reporter:
    """doit reporter ``tzrec``."""

    desc = "tzrec-build: one line per task, progress, counts and headline numbers"

    def __init__(self, outstream: TextIO, options: Mapping[str, Any]) -> None:  # noqa: ARG002 - doit's signature
        _screens[:] = [Screen(outstream)]
        self._screen = _screens[0]
        self._start_s = time.monotonic()
        self._whole: set[str] = set()  # tasks whose artifact is what it should be, as far as this run has looked
        self._unmet: list[str] = []
        self._errors: list[str] = []

    def initialize(self, tasks: Mapping[str, Any], selected_tasks: list[str]) -> None:  # noqa: ARG002 - doit's signature
        """Called before the first task: from here on doit's `remove` means failure, and signals end the children."""
        set_running()
        signal.signal(signal.SIGINT, _stop)
        signal.signal(signal.SIGTERM, _stop)

    def get_status(self, task: Any) -> None:
        """A task is looked at."""

    def execute_task(self, task: Any) -> None:
        """A task starts; groups have no actions and are not shown."""
        if task.actions:
            self._screen.started(task.name)

    def add_failure(self, task: Any, fail: Any) -> None:
        """A task failed, or could not start because one that it needs failed."""
        if fail.__class__.__name__ == "UnmetDependency":
            self._unmet.append(task.name)
        else:
            self._screen.failed(task.name, fail.get_msg().strip())

    def add_success(self, task: Any) -> None:
        """A task is done; `Make` has reported how."""
        self._whole.add(task.name)

    def skip_uptodate(self, task: Any) -> None:
        """A task needed nothing."""
        self._whole.add(task.name)
        if task.name in _specs:
            self._screen.counts["up to date"] += 1

    def skip_ignore(self, task: Any) -> None:
        """A task that the user ignores."""
        self._screen.line(f"~ {task.name}  ignored")

    def cleanup_error(self, exception: Any) -> None:
        """An error in a teardown."""
        self._errors.append(exception.get_msg())

    def runtime_error(self, msg: str) -> None:
        """An error of the graph, found while it ran."""
        self._errors.append(msg)

    def teardown_task(self, task: Any) -> None:
        """A teardown starts."""

    def complete_run(self) -> None:
        """Print what was made, where it lies, and the numbers that a person waits for."""
        counts = self._screen.counts
        for name in self._unmet:
            self._screen.line(f"- {name}  not built: a task that it needs failed")
        for text in self._errors:
            self._screen.line(f"! {text}")
        if (counts["built"] or counts["restored"]) and not counts["failed"] and not self._errors:
            for text in artifacts_and_headlines([spec for name, spec in _specs.items() if name in self._whole]):
                self._screen.line(text)
        shown = ", ".join(f"{name} = {count}" for name, count in counts.items())
        self._screen.line(f"{shown} ({time.monotonic() - self._start_s:.1f} s)")


def _stop(signum: int, frame: object) -> None:  # noqa: ARG001 - a signal handler's signature
    """End every child, then leave doit the way Ctrl-C does."""
    child.end_all()
    raise KeyboardInterrupt


def artifacts_and_headlines(specs: list[TaskSpec]) -> list[str]:
    """Lines that say where the artifact of each task lies and its headline numbers, pipeline by pipeline."""
    lines = []
    headlines: list[str] = []
    shown_folder = ""
    for spec in specs:
        folder = os.path.join(spec.folder, spec.out)
        if ":" not in spec.name or not os.path.isdir(folder):
            continue  # a task of the checkout itself, or not built
        if spec.folder != shown_folder:
            shown_folder = spec.folder
            lines += ["", os.path.relpath(spec.folder)]
        lines.append(f"  {spec.out:<26}  {spec.doc}")
        if spec.headline and os.path.isfile(os.path.join(folder, spec.headline)):
            headlines.append(os.path.join(folder, spec.headline))
    for path in headlines:
        with open(path, encoding="utf-8") as file:
            lines += ["", *file.read().splitlines()]
    return [*lines, ""]
