"""``doit list``: doit's own, with the plan's verdicts under ``--status``."""

from __future__ import annotations

import functools
import sys
from typing import Any

from doit.cmd_list import List as DoitList
from doit.cmd_list import opt_list_status

from tzrec_build.graph.commands.options import OptionsAnywhere
from tzrec_build.graph.commands.selection import wrong_pipelines


class List(OptionsAnywhere, DoitList):  # type: ignore[misc]
    """doit's `list`; ``--status`` says what a build would do, also where that follows from another task."""

    STATUS_MAP = {**DoitList.STATUS_MAP, "maybe": "M"}  # noqa: RUF012 - as doit has it
    cmd_options = tuple(
        {
            **option,
            "help": "print task status (R)un, (M)aybe: decided by another task, (U)p-to-date, (I)gnored, (E)rror",
        }
        if option is opt_list_status
        else option
        for option in DoitList.cmd_options
    )

    @functools.wraps(DoitList._execute)  # noqa: SLF001 - doit reads the names of the options from the signature
    def _execute(self, *args: Any, **kwargs: Any) -> int:
        if kwargs.get("status"):
            from tzrec_build.graph.commands.statuses import Statuses

            names = [task.name for task in self.task_list]
            asked = [name for name in kwargs["pos_args"] or names if name in set(names)]
            self.dep_manager = Statuses(self.task_list, asked)
        code: int = super()._execute(*args, **kwargs)
        if not all(":" in name for name in kwargs["pos_args"] or ("",)):  # all tasks, or those of a verb
            for name, error in wrong_pipelines(self.task_list).items():
                sys.stderr.write(f"! {name} is left out: {error}\n")
        return code
