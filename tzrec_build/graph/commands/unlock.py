"""``doit unlock``: removes locks that a build left behind."""

from __future__ import annotations

from doit.cmd_base import DoitCmdBase
from doit.exceptions import InvalidCommand

from tzrec_build.errors import BuildError
from tzrec_build.graph import locks
from tzrec_build.graph.commands.options import OptionsAnywhere
from tzrec_build.graph.commands.selection import named_tasks
from tzrec_build.graph.state import open_state


class Unlock(OptionsAnywhere, DoitCmdBase):  # type: ignore[misc]
    """``doit unlock``: removes locks that a build left behind."""

    name = "unlock"
    doc_purpose = "remove locks that a build left behind"
    doc_usage = "TASK ..."
    doc_description = (
        "Needed on network file systems only: elsewhere the next build takes the lock of a dead one over by itself. "
        "A lock whose holder may be alive is removed with --force only; that holder then publishes nothing."
    )
    cmd_options = (
        {"name": "force", "short": "", "long": "force", "type": bool, "default": False, "help": "whoever holds it"},
    )

    def _execute(self, force: bool, pos_args: list[str]) -> int:  # noqa: FBT001 - doit passes it by name
        if not pos_args:
            raise InvalidCommand("unlock: name the tasks; a build that waits says for which")
        named_tasks(self.task_list, pos_args)
        code = 0
        for name in pos_args:
            try:
                line = locks.remove(open_state().folder, name, force=force)
            except (BuildError, OSError) as err:
                code, line = 1, f"! {err}"
            self.outstream.write(f"{line}\n")
        return code
