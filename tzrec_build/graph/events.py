"""``doit run --json-events FILE``: what a build does, one JSON object per line, for programs that watch it.

Every object has ``event`` and ``time`` (UTC, ISO 8601); those of a task have ``task``:

* ``build_start``: ``tasks`` (how many are chosen), ``plan`` (task -> "build", "restore" or "maybe"; null when there is nothing to do)
* ``task_start``: ``reason`` (why it is not up to date)
* ``phase``: ``phase`` (waiting, key, restoring, running, retrying, checking, caching, publishing)
* ``progress``: ``line`` (as the command printed it)
* ``child``: ``pid``
* ``task_end``: ``how`` (built, restored, up to date, failed), ``elapsed_s``, ``reason``, ``key`` (null where there is none), ``message``
* ``build_end``: ``counts`` (how -> how many), ``elapsed_s``
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TextIO

from tzrec_build.errors import ConfigError
from tzrec_build.graph.console import Event


def open_events(path: str) -> TextIO:
    """Open the file that gets the events; ``-`` is stderr. A named pipe waits here for its reader.

    Raises:
        ConfigError: it cannot be written.
    """
    if path == "-":
        return sys.stderr
    try:
        return open(path, "w", encoding="utf-8")
    except OSError as err:
        raise ConfigError(
            f"--json-events: must be a file that can be written, got {path!r} ({err.strerror}); name another"
        ) from err


class EventFile:
    """Listens to a console and writes what it hears.

    Args:
        stream: where to write; flushed after every line.
        explain: gives ``reason`` and ``key`` of a task.
        on_error: told once when the stream takes no more; the build goes on without.
        now: the time in UTC; a test passes its own.
    """

    def __init__(
        self,
        stream: TextIO,
        explain: Callable[[str], Mapping[str, Any]],
        on_error: Callable[[str], None],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._stream, self._explain, self._on_error, self._now = stream, explain, on_error, now
        self._broken = False

    def __call__(self, event: Event) -> None:
        """Write one thing that happened; lines of the build itself are for people."""
        if event.kind == "line":
            return
        more: dict[str, Any] = dict(event.detail)
        if event.kind == "task_start":
            more["reason"] = self._explain(event.task)["reason"]
        elif event.kind == "task_end":
            more.update(self._explain(event.task), elapsed_s=round(more["elapsed_s"], 3))
        self.write(event.kind, {"task": event.task, **more})

    def write(self, kind: str, more: Mapping[str, Any]) -> None:
        """Write one object."""
        if self._broken:
            return
        time = self._now().isoformat(timespec="milliseconds").replace("+00:00", "Z")
        try:
            self._stream.write(json.dumps({"event": kind, "time": time, **more}) + "\n")
            self._stream.flush()
        except OSError as err:
            self._broken = True
            self._on_error(f"--json-events: {err.strerror}; no more events are written, the build goes on")
