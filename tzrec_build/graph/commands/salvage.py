"""``doit salvage``: the last complete checkpoint of a training that was cut off, as its artifact."""

from __future__ import annotations

from doit.cmd_base import DoitCmdBase
from doit.exceptions import InvalidCommand

from tzrec_build.errors import BuildError
from tzrec_build.graph.commands.options import ClearErrors
from tzrec_build.graph.commands.selection import named_tasks
from tzrec_build.graph.commands.site import site_of


class Salvage(ClearErrors, DoitCmdBase):  # type: ignore[misc]
    """``doit salvage``: the last complete checkpoint of a training that was cut off, as its artifact."""

    name = "salvage"
    doc_purpose = "publish the last complete checkpoint of a training that was cut off"
    doc_usage = "TASK ..."
    doc_description = (
        "The artifact is marked partial: the task stays stale, and its next build goes on with the training. "
        "`doit -s TASK ...` builds what hangs off it from the partial one."
    )
    cmd_options = ()

    def _execute(self, pos_args: list[str]) -> int:
        if not pos_args:
            raise InvalidCommand("salvage: name the training, such as train:PIPELINE")
        site = site_of(self.task_list)
        specs = site.specs if site else {}
        named_tasks((task for task in self.task_list if task.actions), pos_args)
        from tzrec_build.graph.salvaging import salvage

        code = 0
        for name in pos_args:
            try:
                step = salvage(site.judge, specs[name]) if site else 0
            except (BuildError, OSError) as err:
                code = 1
                self.outstream.write(f"! {err}\n")
            else:
                out = specs[name].out
                self.outstream.write(f"{name}  partial, step {step}: {out}/model.ckpt-{step}\n")
        return code
