"""What a build tells about itself while it runs: each thing once, in order, to everybody who listens."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple


class Event(NamedTuple):
    """One thing that happened.

    Attributes:
        kind: task_start, phase, progress, child, task_end or line.
        at_s: the console's clock.
        task: doit's name of the task, "" for a line of the build itself.
        detail: what belongs to the kind: {"phase": ..}, {"line": ..}, {"pid": ..}, {"how": .., "elapsed_s": .., "message": ..}.
    """

    kind: str
    at_s: float
    task: str
    detail: dict[str, Any]


Listener = Callable[[Event], None]


class Console:
    """Takes what the actions tell from any thread, and passes it on to one listener after the other.

    A task begins with the first thing heard of it: doit's own notice comes through a queue, and may be late.

    Args:
        clock: seconds, monotonic; a test passes its own.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.counts = {"built": 0, "restored": 0, "up to date": 0, "failed": 0}
        self.ended: dict[str, str] = {}
        self._lock = threading.RLock()
        self._begun: dict[str, float] = {}
        self._listeners: list[Listener] = []
        self._of_every_task: list[Listener] = []
        self._at_first: list[Callable[[], None]] = []
        self._closed = False

    def listen(self, listener: Listener, *, every_task: bool = False) -> None:
        """Pass all that follows to `listener`; with `every_task` also the tasks that needed nothing."""
        self._listeners.append(listener)
        if every_task:
            self._of_every_task.append(listener)

    def at_first_task(self, call: Callable[[], None]) -> None:
        """Call this before the first task begins; a build with nothing to do never pays for it."""
        self._at_first.append(call)

    def close(self) -> None:
        """Pass on nothing but lines from now on: after Ctrl-C the threads of doit still tell how their tasks were stopped."""
        with self._lock:
            self._closed = True

    def started(self, task: str) -> None:
        """A task begins."""
        with self._lock:
            self._begin(task)

    def phase(self, task: str, name: str) -> None:
        """What a running task does now: waiting, key, restoring, running, retrying, checking, caching or publishing."""
        self._tell("phase", task, {"phase": name})

    def progress(self, task: str, line: str) -> None:
        """One line of a running task."""
        self._tell("progress", task, {"line": line})

    def started_child(self, task: str, pid: int) -> None:
        """The command of a task runs as process `pid`."""
        self._tell("child", task, {"pid": pid})

    def finished(self, task: str, how: str, elapsed_s: float) -> None:
        """A task was built or restored."""
        self._end(task, how, {"elapsed_s": elapsed_s, "message": ""})

    def failed(self, task: str, text: str, *, stopped: bool = False) -> None:
        """A task failed, or was stopped by a signal; the text says where and what to do."""
        with self._lock:
            elapsed_s = self.clock() - self._begun.get(task, self.clock())
            self._end(task, "failed", {"elapsed_s": elapsed_s, "message": text, "stopped": stopped})

    def up_to_date(self, task: str) -> None:
        """A task needed nothing."""
        self.counts["up to date"] += 1
        self.ended[task] = "up to date"
        if self._of_every_task:
            detail = {"how": "up to date", "elapsed_s": 0.0, "message": ""}
            with self._lock:
                for listener in self._of_every_task:
                    listener(Event("task_end", self.clock(), task, detail))

    def line(self, text: str) -> None:
        """One whole line of the build itself."""
        with self._lock:
            self._emit("line", "", {"line": text})

    def _begin(self, task: str) -> bool:
        """Note the start of a task; False when it is over, which late notices must not undo."""
        if self._closed or task in self.ended:
            return False
        if task not in self._begun:
            for call in self._at_first:
                call()
            self._at_first.clear()
            self._begun[task] = self.clock()
            self._emit("task_start", task, {})
        return True

    def _tell(self, kind: str, task: str, detail: dict[str, Any]) -> None:
        with self._lock:
            if self._begin(task):
                self._emit(kind, task, detail)

    def _end(self, task: str, how: str, detail: dict[str, Any]) -> None:
        with self._lock:
            if self._begin(task):
                self.ended[task] = how
                self.counts[how] += 1
                self._emit("task_end", task, {"how": how, **detail})

    def _emit(self, kind: str, task: str, detail: dict[str, Any]) -> None:
        event = Event(kind, self.clock(), task, detail)
        for listener in self._listeners:
            listener(event)
