"""``doit run``, the command behind bare ``doit``."""

from __future__ import annotations

import functools
from typing import Any

from doit.cmd_run import Run as DoitRun

from tzrec_build.graph.tasks import force

INTERRUPTED = 130  # what a shell says of a program that Ctrl-C ended


class Run(DoitRun):  # type: ignore[misc]
    """doit's `run`, which also tells the actions of ``-a`` (skip the record and the cache), and takes Ctrl-C without a traceback."""

    @functools.wraps(DoitRun._execute)  # noqa: SLF001 - doit reads the names of the options from the signature
    def _execute(self, *args: Any, **kwargs: Any) -> int:
        if kwargs.get("always"):
            force()
        try:
            code: int = super()._execute(*args, **kwargs)
        except KeyboardInterrupt:
            self.outstream.write("interrupted; what had ended before is kept, the next build goes on from there\n")
            return INTERRUPTED
        return code
