"""Warnings of the log as lines of the build, so that they do not land inside the lines that are drawn in place."""

from __future__ import annotations

import logging
from collections.abc import Callable

from tzrec_build.logs import logger


class LogLines(logging.Handler):
    """Passes each record on as one line.

    Args:
        write: prints a line.
    """

    def __init__(self, write: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._write = write

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record."""
        self._write(f"! {record.getMessage()}")


def take_warnings(write: Callable[[str], None]) -> None:
    """Print the warnings of this package through `write` from now on."""
    logger.handlers[:] = [LogLines(write)]
    logger.propagate = False
