"""``doit lock``: writes or checks ``workspace/inputs.lock``, the digests of the user's own inputs."""

from __future__ import annotations

import os

from doit.cmd_base import DoitCmdBase
from doit.exceptions import InvalidCommand

from tzrec_build.errors import BuildError
from tzrec_build.graph.commands.options import OptionsAnywhere
from tzrec_build.graph.commands.selection import right_tasks
from tzrec_build.graph.commands.site import site_of
from tzrec_build.graph.input_lock import Locked, lock_path, measure, read_lock, write_lock


class Lock(OptionsAnywhere, DoitCmdBase):  # type: ignore[misc]
    """``doit lock``: writes or checks ``workspace/inputs.lock``, the digests of the user's own inputs."""

    name = "lock"
    doc_purpose = "write the digests of the inputs to workspace/inputs.lock"
    doc_usage = "[TASK or PIPELINE ...]"
    doc_description = (
        "Commit the file: a machine without the data then computes the same keys, and restores from the cache. "
        "Without a name, of all tasks; with names, the entries of other inputs stay."
    )
    cmd_options = (
        {
            "name": "check",
            "short": "",
            "long": "check",
            "type": bool,
            "default": False,
            "help": "change nothing; end with 1 when an input is not as locked",
        },
    )

    def _execute(self, check: bool, pos_args: list[str]) -> int:  # noqa: FBT001 - doit passes it by name
        site = site_of(self.task_list)
        names = right_tasks({task.name: task for task in self.task_list if task.actions}, pos_args)
        if site is None:
            return 0
        specs = [spec for name, spec in site.specs.items() if name in names]
        try:
            locked = read_lock(site.root)
            here, absent = measure(site.root, site.judge.digests, specs, locked)
            if check:
                return self._check(locked, here, absent)
            new = {**here, **absent} if not pos_args else {**locked, **here}
            write_lock(site.root, new)
        except (BuildError, OSError) as err:
            raise InvalidCommand(f"lock: {err}") from err
        changed = sum(locked.get(name) != entry for name, entry in here.items())
        text = f"{os.path.relpath(lock_path(site.root))}: {len(new)} files, {changed} new or changed"
        self.outstream.write(text + (f", {len(absent)} kept that are not here\n" if absent else "\n"))
        return 0

    def _check(self, locked: Locked, here: Locked, absent: Locked) -> int:
        lines = []
        for name, entry in sorted(here.items()):
            if name not in locked:
                lines.append(f"! {name}: not in the lock; doit lock adds it")
            elif locked[name] != entry:
                sizes = (
                    f"{locked[name][0]} → {entry[0]} bytes"
                    if locked[name][0] != entry[0]
                    else "same size, other content"
                )
                lines.append(f"! {name}: not as locked ({sizes}); put the locked one back, or run doit lock")
        more = f", {len(absent)} not here" if absent else ""
        lines.append(f"{len(here) - len(lines)} files as locked, {len(lines)} not{more}")
        self.outstream.write("\n".join(lines) + "\n")
        return int(len(lines) > 1)
