"""The logger `tzrec_build` and progress lines with rate and time left."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from typing import TextIO

logger = logging.getLogger("tzrec_build")


def setup_logging(*, debug: bool = False) -> None:
    """Send the logger to stderr; called by a tool's entry only, never at import."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("[%(asctime)s][%(levelname)s] %(message)s"))
    logger.handlers[:] = [handler]
    logger.setLevel(logging.DEBUG if debug else logging.INFO)
    logger.propagate = False


class ProgressLogger:
    """Progress of a loop: rewrites one line on a terminal, prints a plain line every `interval_s` in a log.

    Args:
        what: what the loop does, e.g. ``train``.
        unit: name of one count, e.g. ``rows``.
        total: final count when it is known, else 0 (no percentage, no time left).
        interval_s: least seconds between two lines in a log; a terminal is redrawn every 0.2 s.
        stream: where to print; stderr by default.
        clock: seconds, monotonic; a test passes its own.
    """

    def __init__(
        self,
        what: str,
        unit: str,
        total: int = 0,
        *,
        interval_s: float = 2.0,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._what, self._unit, self._total = what, unit, total
        self._stream = stream if stream is not None else sys.stderr
        self._tty = self._stream.isatty()
        self._interval_s = 0.2 if self._tty else interval_s
        self._clock = clock
        self._start_s = self._last_s = clock()
        self._count = 0

    def update(self, count: int, suffix: str = "") -> None:
        """Report that `count` units are done in all; prints only when the interval has passed."""
        self._count = count
        now_s = self._clock()
        if now_s - self._last_s >= self._interval_s:
            self._last_s = now_s
            self._print(now_s, suffix, last=False)

    def close(self, suffix: str = "") -> None:
        """Print the last line whatever the interval says, unless the loop took under two seconds in a log."""
        now_s = self._clock()
        if self._tty or now_s - self._start_s >= self._interval_s:
            self._print(now_s, suffix, last=True)

    def _print(self, now_s: float, suffix: str, *, last: bool) -> None:
        elapsed_s = max(now_s - self._start_s, 1e-9)
        rate = self._count / elapsed_s
        parts = [f"{self._what}: {self._count:,}"]
        if self._total:
            parts[0] += f"/{self._total:,} {self._unit}"
            parts.append(f"{100 * self._count / self._total:.0f} %")
        else:
            parts[0] += f" {self._unit}"
        parts.append(f"{rate:,.0f} {self._unit}/s")
        if last:
            parts.append(f"took {elapsed_s:.1f} s")
        elif self._total and rate > 0:
            parts.append(f"{(self._total - self._count) / rate:.0f} s left")
        if suffix:
            parts.append(suffix)
        line = "  ".join(parts)
        if self._tty:
            self._stream.write("\r\x1b[K" + line + ("\n" if last else ""))
        else:
            self._stream.write(line + "\n")
        self._stream.flush()
