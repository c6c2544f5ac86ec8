"""``doit ignore``: doit's own, with clear errors."""

from __future__ import annotations

from doit.cmd_ignore import Ignore as DoitIgnore
from doit.exceptions import InvalidCommand

from tzrec_build.graph.commands.options import OptionsAnywhere


class Ignore(OptionsAnywhere, DoitIgnore):  # type: ignore[misc]
    """doit's `ignore`; without a name it is an error, as everywhere else."""

    doc_purpose = "pass over tasks until doit forget"
    doc_description = "What needs an ignored task is passed over too. `doit forget TASK` ends it."

    def _execute(self, pos_args: list[str]) -> None:
        if not pos_args:
            raise InvalidCommand("ignore: name the tasks; `doit list --all` shows them")
        super()._execute(pos_args)
