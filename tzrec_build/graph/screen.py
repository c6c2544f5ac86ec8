"""Draws a build: on a terminal one line per running task and one for the whole, in place; in a log plain lines."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TextIO

from tzrec_build.graph.amounts import about_text, clock_text
from tzrec_build.graph.console import Console, Event
from tzrec_build.graph.outlook import Outlook
from tzrec_build.graph.terminal import Region, can_redraw, columns_of, cut, has_colours, plain, size_of, writable

LOG_INTERVAL_S = 10.0  # between two progress lines of a task where stdout is not a terminal
SILENT_S = 1.0  # a task that ends sooner gets no line for its start in a log
DRAW_INTERVAL_S = 0.25
RECKON_INTERVAL_S = 1.0
MOST_LINES = 16  # of running tasks, however high the terminal is
SIGNS: Mapping[str, tuple[str, str]] = {  # how a task ended -> mark, colour
    "built": ("+", "good"),
    "restored": ("<", "info"),
    "up to date": ("=", "info"),  # a killed build had finished it, or another one made it meanwhile
    "failed": ("!", "bad"),
}


@dataclass(slots=True)
class Row:
    """One running task."""

    start_s: float
    phase: str = ""
    line: str = ""
    told_s: float = 0.0  # when a log was last told of it, 0.0 for never
    told: str = ""  # what it was told


class Screen:
    """Listens to a console and shows it.

    Args:
        stream: where to print.
        console: gives clock and counts.
        env: TERM and NO_COLOR count.
        size: columns and rows of the terminal; those of `stream` by default.
    """

    def __init__(
        self,
        stream: TextIO,
        console: Console,
        env: Mapping[str, str] = os.environ,
        size: Callable[[], tuple[int, int]] | None = None,
    ) -> None:
        self._stream, self._console = stream, console
        self._rows: dict[str, Row] = {}
        self._size = size or (lambda: size_of(stream))
        self._region = Region(stream, self._size, colours=has_colours(stream, env)) if can_redraw(stream, env) else None
        self._lock = threading.RLock()
        self._ticking: threading.Event | None = None
        self._start_s = self._reckon_s = console.clock()
        self._left_text = ""
        self.outlook = Outlook({}, {}, 1)

    @property
    def draws(self) -> bool:
        """Whether lines are drawn in place, which nothing else may print into."""
        return self._region is not None

    def __call__(self, event: Event) -> None:
        """Show one thing that happened."""
        with self._lock:
            row = self._rows.get(event.task)
            if event.kind == "line":
                self._print(event.detail["line"])
            elif event.kind == "task_start":
                self._rows[event.task] = Row(event.at_s)
            elif event.kind == "task_end":
                self._rows.pop(event.task, None)
                self._print(_end_line(event.task, event.detail), *SIGNS[event.detail["how"]])
            elif row is not None and event.kind == "phase":
                row.phase = event.detail["phase"]
            elif row is not None and event.kind == "progress":
                row.line = plain(event.detail["line"]).strip()

    def start_ticking(self) -> None:
        """Draw anew every `DRAW_INTERVAL_S` from a thread of its own, until `close`."""
        self._ticking = threading.Event()
        threading.Thread(target=self._tick_on, args=(self._ticking,), daemon=True, name="screen").start()

    def close(self) -> None:
        """Take the drawn lines off the terminal."""
        if self._ticking is not None:
            self._ticking.set()
        with self._lock:
            self._rows.clear()
            if self._region is not None:
                self._region.draw([], [])

    def tick(self) -> None:
        """Show how the time passes."""
        with self._lock:
            if self._region is not None:
                self._region.draw([], self._lines())
                return
            now_s = self._console.clock()
            for task, row in self._rows.items():
                self._log(task, row, now_s)

    def _tick_on(self, stop: threading.Event) -> None:
        while not stop.wait(DRAW_INTERVAL_S):
            self.tick()

    def _log(self, task: str, row: Row, now_s: float) -> None:
        """In a log: one line soon after the start, then the last progress line every `LOG_INTERVAL_S`, if it is a new one."""
        if not row.told_s and now_s - row.start_s >= SILENT_S:
            row.told_s = now_s
            cost_s = self.outlook.cost_s(task)
            known = f", about {about_text(cost_s)} the last time" if cost_s is not None else ""
            self._print(f"  {task}  {row.phase or 'running'}{known}")
        elif row.told_s and row.line != row.told and now_s - row.told_s >= LOG_INTERVAL_S:
            row.told_s, row.told = now_s, row.line
            self._print(f"  {task}: {row.line}")

    def _print(self, text: str, mark: str = "", colour: str = "") -> None:
        if self._region is None:
            self._stream.write(writable(f"{mark} {text}\n" if mark else f"{text}\n", self._stream))
            self._stream.flush()
            return
        shown = f"{self._region.paint(mark, colour)} {text}" if mark else text
        self._region.draw([shown], self._lines())

    def _lines(self) -> list[str]:
        """The running tasks that fit, a count of the others, and the line of the whole build; none when nothing runs."""
        if not self._rows:
            return []
        columns, rows = self._size()
        most = max(min(rows - 3, MOST_LINES), 1)
        tasks = list(self._rows)
        shown = tasks if len(tasks) <= most else tasks[: most - 1] or tasks[:1]
        width = min(max(map(columns_of, shown)), max(columns // 2 - 8, 12))
        now_s = self._console.clock()
        lefts = [self._task_left(task, now_s) for task in shown]
        widths = width, max(map(len, lefts))
        lines = [self._task_line(task, left, widths, now_s) for task, left in zip(shown, lefts, strict=True)]
        if len(shown) < len(tasks):
            lines.append(f"  and {len(tasks) - len(shown)} more running")
        return [*lines, self._total_line(now_s)]

    def _task_left(self, task: str, now_s: float) -> str:
        cost_s, elapsed_s = self.outlook.cost_s(task), now_s - self._rows[task].start_s
        if cost_s is None or cost_s < SILENT_S:
            return ""
        return f"~{about_text(cost_s - elapsed_s)} left" if elapsed_s < cost_s else f"last time {about_text(cost_s)}"

    def _task_line(self, task: str, left: str, widths: tuple[int, int], now_s: float) -> str:
        row = self._rows[task]
        name = cut(task, widths[0])
        parts = [
            name + " " * (widths[0] - columns_of(name)),
            f"{row.phase or 'running':<10}",
            f"{clock_text(now_s - row.start_s):>5}",
            *([f"{left:<{widths[1]}}"] if widths[1] else []),
            row.line,
        ]
        return f"  {'  '.join(parts)}".rstrip()

    def _total_line(self, now_s: float) -> str:
        total = len(self.outlook.needs)
        done = sum(self._console.counts.values())
        counts = ", ".join(f"{count} {name}" for name, count in self._console.counts.items() if count)
        left = self._left(now_s)
        parts = [f"{done}/{total} tasks" if total else f"{done} tasks", counts, clock_text(now_s - self._start_s), left]
        return "  ".join(part for part in parts if part)

    def _left(self, now_s: float) -> str:
        """Time left of the build, reckoned anew now and then only: it takes a look at every task."""
        if now_s >= self._reckon_s:
            self._reckon_s = now_s + RECKON_INTERVAL_S
            running = {task: now_s - row.start_s for task, row in self._rows.items()}
            left_s, known = self.outlook.left_s(dict(self._console.ended), running)  # a copy: other threads add to it
            self._left_text = f"{'~' if known else '> '}{about_text(left_s)} left" if left_s else ""
        return self._left_text


def _end_line(task: str, detail: Mapping[str, Any]) -> str:
    if detail["how"] == "failed":
        return str(detail["message"])
    return f"{task}  {detail['how']} in {detail['elapsed_s']:.1f} s"
