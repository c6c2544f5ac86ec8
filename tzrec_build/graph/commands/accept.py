"""``doit accept``: declare stale artifacts good, with the reason kept."""

from __future__ import annotations

from doit.cmd_base import DoitCmdBase
from doit.exceptions import InvalidCommand

from tzrec_build.errors import BuildError
from tzrec_build.graph.commands.options import OptionsAnywhere
from tzrec_build.graph.commands.selection import right_tasks
from tzrec_build.graph.commands.site import site_of


class Accept(OptionsAnywhere, DoitCmdBase):  # type: ignore[misc]
    """``doit accept``: declare stale artifacts good, with the reason kept."""

    name = "accept"
    doc_purpose = "declare stale artifacts good without building them"
    doc_usage = "TASK or PIPELINE ... --because TEXT"
    doc_description = "The outputs must be as they were made. The record keeps who accepted them, when and why; doit why and doit info show it."
    cmd_options = (
        {
            "name": "because",
            "short": "",
            "long": "because",
            "type": str,
            "default": "",
            "help": "why they are good, for those who ask later (must be given)",
        },
    )

    def _execute(self, because: str, pos_args: list[str]) -> int:
        if not pos_args:
            raise InvalidCommand("accept: name the tasks or pipelines; doit why shows which are stale")
        if not because.strip():
            raise InvalidCommand("accept: --because must say why the artifacts are good, got nothing")
        site = site_of(self.task_list)
        chosen = right_tasks({task.name: task for task in self.task_list if task.actions}, pos_args)
        if site is None:
            return 0
        from tzrec_build.graph.accepting import accept

        try:
            for name, causes in accept(site, chosen, because.strip()):
                said = "accepted" if causes else "up to date before, nothing to accept"
                self.outstream.write(
                    "".join(f"{line}\n" for line in (f"{name}  {said}", *(f"    {c}" for c in causes)))
                )
        except (BuildError, OSError) as err:
            self.outstream.write(f"! {err}\n")
            return 1
        return 0
