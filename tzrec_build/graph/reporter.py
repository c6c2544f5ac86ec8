"""doit's side of what a build prints: passes on what doit tells, sums up at the end. See console.py and screen.py."""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any, TextIO

from tzrec_build.graph import child
from tzrec_build.graph.console import Console, Event
from tzrec_build.graph.screen import Screen
from tzrec_build.graph.spec import TaskSpec
from tzrec_build.graph.state import open_state, set_running


class Wishes:
    """What the command line and the plan say about the report, before doit makes the reporter.

    Attributes:
        events: stream of ``--json-events``, or None.
        plan: task -> "build", "restore" or "maybe", empty when no plan was taken.
        workers: how many tasks run at once.
        forced: ``doit -a``.
    """

    def __init__(self) -> None:
        self.events: TextIO | None = None
        self.plan: dict[str, str] = {}
        self.workers = len(os.sched_getaffinity(0))
        self.forced = False


wishes = Wishes()
_consoles: list[Console] = []
_specs: Mapping[str, TaskSpec] = {}
_stopped = threading.Event()


def screen() -> Console:
    """What the actions of this process talk to: the reporter's console, or one on stdout before there is one."""
    if not _consoles:
        _consoles.append(Console())
        _consoles[0].listen(Screen(sys.stdout, _consoles[0]))
    return _consoles[0]


def know(specs: Mapping[str, TaskSpec]) -> None:
    """Tell the reporter what the tasks of this run make."""
    global _specs  # noqa: PLW0603 - kept as it is: each spec is decoded when it is asked for
    _specs = specs


class Reporter:
    """doit reporter ``tzrec``."""

    desc = "tzrec-build: running tasks with time left, one line per task that ends, counts and headline numbers"

    def __init__(self, outstream: TextIO, options: Mapping[str, Any]) -> None:  # noqa: ARG002 - doit's signature
        self._console = Console()
        _consoles[:] = [self._console]
        self._screen = Screen(outstream, self._console)
        self._console.listen(self._screen)
        self._start_s = time.monotonic()
        self._tasks: Mapping[str, Any] = {}
        self._selected: list[str] = []
        self._whole: set[str] = set()  # tasks whose artifact is what it should be, as far as this run has looked
        self._failed: dict[str, str] = {}
        self._errors: list[str] = []
        self._events: Any = None
        self._trace: Any = None

    def initialize(self, tasks: Mapping[str, Any], selected_tasks: list[str]) -> None:
        """Called before the first task: from here on doit's `remove` means failure, and signals end the children."""
        set_running()
        signal.signal(signal.SIGINT, _stop)
        signal.signal(signal.SIGTERM, _stop)
        self._tasks, self._selected = tasks, selected_tasks
        self._console.at_first_task(self._look_ahead)
        if wishes.events is not None:
            from tzrec_build.graph.events import EventFile

            self._events = EventFile(wishes.events, self._explain, self._console.line)
            self._events.write("build_start", {"tasks": len(self._needs()), "plan": wishes.plan or None})
            self._console.listen(self._events, every_task=True)

    def _look_ahead(self) -> None:
        """What only a build that makes something pays for: recorded times, the drawn lines, the trace."""
        from tzrec_build.graph.history import costs_s
        from tzrec_build.graph.outlook import Outlook
        from tzrec_build.graph.trace import Trace

        try:
            costs = costs_s(open_state())
        except sqlite3.Error as err:
            costs = {}
            self._console.line(f"! times of earlier builds: cannot be read ({err}); no time left is shown")
        self._screen.outlook = Outlook(self._needs(), costs, wishes.workers, wishes.plan)
        self._screen.start_ticking()
        if self._screen.draws and sys.stderr.isatty():
            from tzrec_build.graph.log_lines import take_warnings

            take_warnings(self._console.line)
        self._trace = Trace(self._start_s, self._explain)
        self._console.listen(self._trace)
        self._console.listen(self._note)

    def _needs(self) -> dict[str, tuple[str, ...]]:
        """The chosen tasks and all that they need, groups left out, in an order in which they can run."""
        from tzrec_build.graph.outlook import ordered

        chosen: set[str] = set()
        stack = [name for name in self._selected if name in self._tasks]
        while stack:
            name = stack.pop()
            if name not in chosen:
                chosen.add(name)
                stack += self._tasks[name].task_dep
        return ordered({name: task.task_dep for name, task in self._tasks.items() if name in chosen and task.actions})

    def _explain(self, task: str) -> dict[str, Any]:
        """Why a task ran, and its key once it is on record."""
        judged = getattr(self._tasks.get(task), "uptodate", None)
        record = None if task in self._failed else open_state().record(task)
        reason = ("-a was given" if wishes.forced else repr(judged[0][0])) if judged else ""
        return {"reason": reason, "key": record["key"] if record else None}

    def _note(self, event: Event) -> None:
        """Keep what a task came to."""
        if event.kind != "task_end":
            return
        from tzrec_build.graph.history import Run, note

        detail = event.detail
        how = "stopped" if detail.get("stopped") else detail["how"]
        run = Run(event.task, how, time.time() - detail["elapsed_s"], detail["elapsed_s"], detail["message"])
        try:
            note(open_state(), run)
        except sqlite3.Error as err:
            self._console.line(f"! {event.task}: its time cannot be kept ({err}); check disk space and permissions")

    def get_status(self, task: Any) -> None:
        """A task is looked at."""

    def execute_task(self, task: Any) -> None:
        """A task starts; groups have no actions and are not shown."""
        if task.actions:
            self._console.started(task.name)

    def add_failure(self, task: Any, fail: Any) -> None:
        """A task failed, or could not start because one that it needs failed: those are listed at the end."""
        if fail.__class__.__name__ != "UnmetDependency":
            self._failed[task.name] = fail.get_msg().strip()
            self._console.failed(task.name, self._failed[task.name], stopped=_stopped.is_set())

    def add_success(self, task: Any) -> None:
        """A task is done; `Make` has reported how."""
        self._whole.add(task.name)

    def skip_uptodate(self, task: Any) -> None:
        """A task needed nothing."""
        self._whole.add(task.name)
        if task.name in _specs:
            self._console.up_to_date(task.name)

    def skip_ignore(self, task: Any) -> None:
        """A task that the user ignores."""
        self._console.line(f"~ {task.name}  ignored")

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
        counts = self._console.counts
        self._console.close()
        self._screen.close()
        for text in self._last_lines():
            self._console.line(text)
        elapsed_s = time.monotonic() - self._start_s
        if self._events is not None:
            self._events.write("build_end", {"counts": counts, "elapsed_s": round(elapsed_s, 3)})
        shown = ", ".join(f"{name} = {count}" for name, count in counts.items())
        self._console.line(f"{shown} ({elapsed_s:.1f} s)")

    def _last_lines(self) -> list[str]:
        """What failed, what it held up, where the artifacts lie; nothing when there was nothing to do."""
        from tzrec_build.graph import summary

        lines = self._keep_trace()
        if self._failed:
            lines += summary.not_built(list(self._failed), self._console.ended, self._needs())
            if summary.out_of_sight(self._failed, self._console.ended):
                lines += ["", *summary.failures(self._failed)]
        lines += [f"! {text}" for text in self._errors]
        made = [how for how in self._console.ended.values() if how in {"built", "restored"}]
        if made and not self._failed and not self._errors:
            whole = [spec for name, spec in _specs.items() if name in self._whole]
            lines += summary.artifacts_and_headlines(whole, self._console.ended)
        return lines

    def _keep_trace(self) -> list[str]:
        if self._trace is None:
            return []
        from tzrec_build.graph.trace import keep

        try:
            keep(open_state().folder, self._trace.close(self._console.clock()))
        except OSError as err:
            return [f"! trace of this build: not written ({err}); check disk space and permissions"]
        return []


def _stop(signum: int, frame: object) -> None:  # noqa: ARG001 - a signal handler's signature
    """End every child, then leave doit the way Ctrl-C does."""
    _stopped.set()
    child.end_all()
    raise KeyboardInterrupt
