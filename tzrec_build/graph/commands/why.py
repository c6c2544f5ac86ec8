"""``doit why``: the dry run; what a build would do with each task, and for which cause."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from doit.cmd_base import DoitCmdBase

from tzrec_build.errors import BuildError
from tzrec_build.graph import explain, locks
from tzrec_build.graph.commands.options import OptionsAnywhere
from tzrec_build.graph.commands.selection import chosen_tasks
from tzrec_build.graph.commands.site import is_ours, site_of
from tzrec_build.graph.plan import Plan, Planned, Site, Wish, followers, make_plan


class Why(OptionsAnywhere, DoitCmdBase):  # type: ignore[misc]
    """``doit why``: the dry run; what a build would do with each task, and for which cause."""

    name = "why"
    doc_purpose = "say what a build would do, and why"
    doc_usage = "[TASK or PIPELINE ...]"
    doc_description = (
        "Without a name, all that bare `doit` builds. Runs nothing but light config tasks, in a scratch folder. "
        "Ends with 0, unless --exit-code is given."
    )
    cmd_options = (
        {
            "name": "every",
            "short": "v",
            "long": "all-causes",
            "type": bool,
            "default": False,
            "help": "every cause, not the first of each task alone",
        },
        {
            "name": "cache",
            "short": "",
            "long": "cache",
            "type": bool,
            "default": False,
            "help": "also where the entry in the cache comes from",
        },
        {"name": "as_json", "short": "", "long": "json", "type": bool, "default": False, "help": "as JSON"},
        {
            "name": "exit_code",
            "short": "",
            "long": "exit-code",
            "type": bool,
            "default": False,
            "help": "end with 1 when something is not up to date",
        },
    )

    def _execute(self, every: bool, cache: bool, as_json: bool, exit_code: bool, pos_args: list[str]) -> int:  # noqa: FBT001 - doit passes them by name
        site = site_of(self.task_list)
        if site is None:
            self.outstream.write("no tasks\n")
            return 0
        names = [*site.broken, *site.specs]
        chosen = (
            chosen_tasks({task.name: task for task in self.task_list if is_ours(task)}, pos_args)
            if pos_args
            else set(self.sel_tasks or names)
        )
        around = (
            followers(site.specs, chosen) | chosen if pos_args else chosen
        )  # named tasks: with what follows from them
        plan = make_plan(site, [name for name in names if name in around], Wish(all_causes=every))
        wanted = [one for one in plan.tasks.values() if (one.task in chosen if pos_args else one.state != "fresh")]
        wanted = [one if one.record else replace(one, record=site.judge.record(one.task)) for one in wanted]
        if as_json:
            body = explain.plan_json(plan, wanted)
            for one, entry in zip(wanted, body["tasks"], strict=True):
                entry["cache"] = _provenance(site, one) if cache else None
            self.outstream.write(json.dumps(body, indent=2, ensure_ascii=False) + "\n")
        else:
            self._write(
                site, plan, [one for one in wanted if one.task in pos_args or one.state != "fresh"], cache=cache
            )
        return int(exit_code and any(one.state != "fresh" for one in wanted))

    def _write(self, site: Site, plan: Plan, wanted: list[Planned], *, cache: bool) -> None:
        for one in wanted:
            self.outstream.write("\n".join(explain.block(plan, one, running=_running(site, one.task))) + "\n")
            if cache:
                self.outstream.write(_provenance_text(site, one))
        self.outstream.write(explain.totals_text(plan) + "\n")


def _running(site: Site, task: str) -> str:
    """Who makes the artifact at this moment, or ""."""
    found = locks.holder(site.judge.state.folder, task)
    return f"by {found}" if found is not None and found.alive else ""


def _provenance(site: Site, one: Planned) -> dict[str, Any] | None:
    key = one.key or (one.record or site.judge.record(one.task) or {}).get("key")
    if site.cache is None or not key:
        return None
    try:
        manifest = site.cache.lookup(key)
    except BuildError:
        return None
    return None if manifest is None else {"key": key, "provenance": dict(manifest.provenance)}


def _provenance_text(site: Site, one: Planned) -> str:
    found = _provenance(site, one)
    if found is None:
        return "    cache: no entry\n"
    facts = ", ".join(f"{name} {value}" for name, value in sorted(found["provenance"].items()))
    return f"    cache: {found['key'][:16]}, {facts}\n"
