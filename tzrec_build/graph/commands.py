"""doit commands of our own; registered as entry points, so that plain `doit` knows them from any folder."""

from __future__ import annotations

import functools
from typing import Any

from doit.cmd_run import Run as DoitRun

from tzrec_build.graph.tasks import force


class Run(DoitRun):  # type: ignore[misc]
    """doit's `run`, which also tells the actions of ``-a``: skip the record and the cache."""

    @functools.wraps(DoitRun._execute)  # noqa: SLF001 - doit reads the names of the options from the signature
    def _execute(self, *args: Any, **kwargs: Any) -> int:
        if kwargs.get("always"):
            force()
        code: int = super()._execute(*args, **kwargs)
        return code
