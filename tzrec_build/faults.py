"""Named points at which a test kills the build: what a power cut or ``kill -9`` could hit, made repeatable.

``TZREC_FAULT=swap.after:3`` ends the process by SIGKILL at the third time that it comes by ``swap.after``. Without the variable a
point costs one comparison.
"""

from __future__ import annotations

import os
import signal
import threading

FAULT_POINTS = (
    *("key.after", "run.before", "run.after"),
    *("blob.before", "blob.after", "entry.before", "entry.after"),
    *("swap.before", "swap.between", "swap.after", "record.before", "record.after"),
    *("lock.before", "lock.after", "restore.before", "restore.after", "gc.before", "gc.between", "gc.after"),
)
_name, _, _count = os.environ.get("TZREC_FAULT", "").partition(":")
_left = int(_count) if _count.isdigit() else 1
_lock = threading.Lock()


def fault_point(name: str) -> None:
    """Die here if the test that started this process asked for it; `name` is one of `FAULT_POINTS`."""
    if name == _name:
        _hit()


def _hit() -> None:
    global _left  # noqa: PLW0603 - counts the passes of all threads
    with _lock:
        _left -= 1
        if _left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
