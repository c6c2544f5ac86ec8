"""``doit clean``: removes artifacts, and says which."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable
from typing import Any

from doit.cmd_clean import Clean as DoitClean


class Clean(DoitClean):  # type: ignore[misc]
    """doit's `clean`, which prints what is removed instead of the names of Python objects."""

    _code = 0

    @functools.wraps(DoitClean._execute)  # noqa: SLF001 - doit reads the names of the options from the signature
    def _execute(self, *args: Any, **kwargs: Any) -> int:
        super()._execute(*args, **kwargs)
        return self._code

    def clean_tasks(self, tasks: Iterable[Any], dryrun: bool, cleanforget: bool) -> None:  # noqa: FBT001 - doit's signature
        """Clean tasks, each once; a folder that cannot be removed is an error, and the others are removed."""
        for task in {task.name: task for task in tasks}.values():
            try:
                for action in task.clean_actions:
                    action.py_callable(dryrun)
            except OSError as err:
                self._code = 1
                what = f"{os.path.relpath(err.filename)}: {err.strerror}" if err.filename else str(err)
                self.outstream.write(f"! {task.name}: {what}; not removed, check its permissions\n")
                continue
            if cleanforget and not dryrun:
                self.dep_manager.remove(task.name)
        self.dep_manager.close()
