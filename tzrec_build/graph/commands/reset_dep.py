"""``doit reset-dep``: takes the artifacts that lie there for up to date, as ``doit accept`` does, without asking why."""

from __future__ import annotations

from typing import Any

from doit.cmd_resetdep import ResetDep as DoitResetDep

from tzrec_build.errors import BuildError
from tzrec_build.graph.commands.options import OptionsAnywhere
from tzrec_build.graph.commands.selection import named_tasks, wrong_pipelines
from tzrec_build.graph.commands.site import site_of
from tzrec_build.graph.plan import in_order

BECAUSE = "doit reset-dep"


class ResetDep(OptionsAnywhere, DoitResetDep):  # type: ignore[misc]
    """doit's `reset-dep`: the tasks are up to date afterwards, nothing is executed; each record says who did it."""

    doc_purpose = "take stale artifacts for up to date without building them"
    doc_description = (
        "Like `doit accept` with no reason given: the outputs must be as they were made, and what a task needs must be up to "
        "date. Without a name, all tasks. Ends with 1 when one of them could not be taken."
    )

    def _execute(self, pos_args: list[str] | None = None) -> int:
        tasks = named_tasks(self.task_list, pos_args or ())
        chosen = [member for name in pos_args or tasks for member in (name, *_members(tasks[name]))]
        site = site_of(self.task_list)
        if site is None:
            return 0
        failed = [
            f"pipeline:{name} ({error})" for name, error in wrong_pipelines(self.task_list).items() if not pos_args
        ]
        from tzrec_build.graph.accepting import accept

        for name in in_order(site.specs, chosen):
            if name not in chosen:
                continue
            try:
                ((_, causes),) = [one for one in accept(site, {name}, BECAUSE) if one[0] == name]
            except (BuildError, OSError) as err:
                failed.append(f"{name} ({str(err).removeprefix(f'{name}: ')})")
            else:
                self.outstream.write(f"{'processed' if causes else 'skip'} {name}\n")
        for text in failed:
            self.outstream.write(f"failed {text}\n")
        return int(bool(failed))


def _members(task: Any) -> list[str]:
    return list(task.task_dep) if task.has_subtask else []
