"""``doit clean``: removes the artifacts that the cache can restore, and says which, and why others stay."""

from __future__ import annotations

import functools
import os
import stat
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from doit.cmd_clean import Clean as DoitClean

from tzrec_build.errors import BuildError
from tzrec_build.graph.commands.options import OptionsAnywhere
from tzrec_build.graph.digests import walk
from tzrec_build.graph.spec import RECORDS

if TYPE_CHECKING:
    from tzrec_build.graph.action import Workshop
    from tzrec_build.graph.spec import TaskSpec

EXECUTABLE = 0o755


class Clean(OptionsAnywhere, DoitClean):  # type: ignore[misc]
    """doit's `clean`, which prints what is removed instead of the names of Python objects, and loses nothing."""

    doc_description = (
        "Removes what the action cache can restore, byte by byte, and keeps the rest unless --purge. If no task is "
        "specified clean default tasks and set --clean-dep automatically."
    )
    cmd_options = (
        *DoitClean.cmd_options,
        {
            "name": "purge",
            "short": "",
            "long": "purge",
            "type": bool,
            "default": False,
            "help": "also remove what the cache cannot restore",
        },
    )
    _code = 0
    _purge = False

    @functools.wraps(DoitClean._execute)  # noqa: SLF001 - doit reads the names of the options from the signature
    def _execute(self, *args: Any, **kwargs: Any) -> int:
        super()._execute(*args, **kwargs)
        return self._code

    def execute(self, opt_values: Any, pos_args: list[str]) -> int:
        """Take our option out of what doit's own command is called with."""
        self._purge = bool(opt_values["purge"])
        code: int = super().execute(opt_values, pos_args)
        return code

    def clean_tasks(self, tasks: Iterable[Any], dryrun: bool, cleanforget: bool) -> None:  # noqa: FBT001 - doit's signature
        """Clean tasks, each once; a folder that cannot be removed is an error, and the others are removed."""
        for task in {task.name: task for task in tasks}.values():
            try:
                if task.actions and not self._may_go(task):
                    continue
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

    def _may_go(self, task: Any) -> bool:
        """Whether nothing is lost with the artifact; says so when something is."""
        spec: TaskSpec = task.actions[0].spec
        folder = os.path.join(spec.folder, spec.out)
        if self._purge or not os.path.isdir(folder):
            return True
        why = why_lost(task.actions[0].workshop, spec)
        if why:
            self.outstream.write(f"{spec.name} - kept {os.path.relpath(folder)}/: {why}; --purge removes it\n")
        return not why


def why_lost(shop: Workshop, spec: TaskSpec) -> str:
    """Say why the cache cannot bring back the artifact of a task as it lies there; "" when it can.

    Records (logs, timings) do not count: nothing keeps them.
    """
    if shop.cache is None:
        return "the action cache is off"
    record = shop.judge.record(spec.name)
    manifest = shop.cache.lookup(record["key"]) if record else None
    if manifest is None:
        return "the action cache has no copy"
    folder = os.path.join(spec.folder, spec.out)
    kept = {output.path: output for output in manifest.outputs}
    for path in walk(folder, skip=RECORDS):
        try:
            same = (
                path in kept
                and shop.judge.digests.sha256(f"{folder}/{path}") == kept[path].sha256
                and bool(os.stat(f"{folder}/{path}").st_mode & stat.S_IXUSR) == (kept[path].mode == EXECUTABLE)
            )
        except BuildError as err:
            return str(err)
        if not same:
            return f"the action cache has no copy of {path} as it is now"
    return ""
