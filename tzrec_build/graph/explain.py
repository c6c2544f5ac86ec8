"""A plan in words: the blocks of ``doit why``, the lines before a build, and the JSON of ``doit why --json``.

The JSON is an object ``{"version": 1, "tasks": [..], "totals": {..}}``; docs/staleness.md describes its fields.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tzrec_build.graph.amounts import duration_text
from tzrec_build.graph.plan import Plan, Planned

JSON_VERSION = 1
SHOWN_TASKS = 20  # lines of the plan before a build; the rest is counted by pipeline
SHOWN_FOLLOWERS = 4
SIGNS: Mapping[str, str] = {
    "build": "+",
    "restore": "<",
    "maybe": "?",
    "error": "!",
    "blocked": "-",
    "fresh": "=",
    "ignored": "~",
}
VERDICTS: Mapping[str, str] = {
    "build": "will be built",
    "restore": "will be restored from the cache",
    "maybe": "may run",
    "error": "would fail",
    "blocked": "cannot be built",
    "fresh": "up to date",
    "ignored": "ignored, until doit forget",
}


def totals_text(plan: Plan) -> str:
    """``build 4 (about 3 min 20 s), restore 2, up to date 38``."""
    counts = plan.counts()
    parts = [f"build {counts['build']}{_cost(plan, 'build', 'about')}", f"restore {counts['restore']}"]
    if counts["maybe"]:
        parts.append(f"maybe {counts['maybe']}{_cost(plan, 'maybe', 'up to')}")
    parts += [f"{name} {counts[name]}" for name in ("error", "blocked", "ignored") if counts[name]]
    return ", ".join([*parts, f"up to date {counts['fresh']}"])


def _cost(plan: Plan, state: str, word: str) -> str:
    those = [one for one in plan.tasks.values() if one.state == state]
    if not those:
        return ""
    unknown = sum(one.cost_s is None for one in those)
    if unknown == len(those):
        return " (never timed)"
    more = f" and {unknown} never timed" if unknown else ""
    return f" ({word} {duration_text(plan.cost_s(state))}{more})"


def plan_lines(plan: Plan) -> list[str]:
    """What a build prints first: the totals, and a line for each task that is not up to date."""
    stale = [one for one in plan.stale() if one.state != "blocked"]
    lines = [f"plan: {totals_text(plan)}"]
    shown = stale if len(stale) <= SHOWN_TASKS else stale[: SHOWN_TASKS // 2]
    width = max((len(one.task) for one in shown), default=0)
    lines += [f"  {SIGNS[one.state]} {one.task:<{width}}  {_short(one)}" for one in shown]
    rest = stale[len(shown) :]
    if rest:
        lines.append(f"  and {len(rest)} more: {_by_pipeline(rest)}; doit why tells each")
    return lines


def _follows(one: Planned) -> bool:
    return bool(one.causes) and one.causes[0].part == "upstream"


def _short(one: Planned) -> str:
    if _follows(one) and one.after:
        return f"after {one.after[0]}" + (f"  ({duration_text(one.cost_s)})" if one.cost_s is not None else "")
    cost = f"  ({duration_text(one.cost_s)})" if one.cost_s is not None and one.state != "restore" else ""
    return f"{one.causes[0].text if one.causes else ''}{cost}"


def _by_pipeline(tasks: Iterable[Planned]) -> str:
    counts: dict[str, int] = {}
    for one in tasks:
        pipeline = one.task.split(":")[1] if ":" in one.task else one.task
        counts[pipeline] = counts.get(pipeline, 0) + 1
    names = list(counts)
    shown = ", ".join(f"{counts[name]} of {name}" for name in names[:5])
    return shown + (f" and {len(names) - 5} other pipelines" if len(names) > 5 else "")


def block(plan: Plan, one: Planned, *, running: str = "") -> list[str]:
    """What ``doit why`` says of one task."""
    cost = f", about {duration_text(one.cost_s)}" if one.cost_s is not None and one.state in {"build", "maybe"} else ""
    lines = [f"{SIGNS[one.state]} {one.task}  {verdict(one)}{cost}"]
    lines += [f"    {cause.text}" for cause in one.causes]
    if running:
        lines.append(f"    being built now {running}")
    lines += [f"    {text}" for text in accepted_lines(one.record)]
    followers = plan.downstream(one.task)
    if followers and one.state != "fresh" and not _follows(one):  # else it is in the list of the one that it follows
        shown = ", ".join(followers[:SHOWN_FOLLOWERS])
        more = f" and {len(followers) - SHOWN_FOLLOWERS} more" if len(followers) > SHOWN_FOLLOWERS else ""
        lines.append(f"    then: {shown}{more}")
    return lines


def verdict(one: Planned) -> str:
    """The state in words; a task below one that cannot be foreseen may have a cause of its own, and then runs for certain."""
    if one.state == "maybe" and one.causes[0].part != "upstream":
        return "will be built, or restored"
    return VERDICTS[one.state]


def accepted_lines(record: Mapping[str, Any] | None) -> list[str]:
    """Who accepted the artifact, and why, when somebody did."""
    accepted = (record or {}).get("accepted")
    if not isinstance(accepted, dict):
        return []
    return [f"accepted by {accepted['by']} on {accepted['when']}: {accepted['because']}"]


def task_json(plan: Plan, one: Planned) -> dict[str, Any]:
    """One task for ``doit why --json``."""
    record = one.record or {}
    return {
        "task": one.task,
        "state": one.state,
        "causes": [
            {"part": c.part, "what": c.what, "old": c.old, "new": c.new, "file": c.file, "text": c.text}
            for c in one.causes
        ],
        "after": list(one.after),
        "downstream": plan.downstream(one.task) if one.state != "fresh" else [],
        "cost_s": one.cost_s,
        "key": one.key or None,
        "recorded_key": record.get("key"),
        "accepted": record.get("accepted"),
    }


def plan_json(plan: Plan, tasks: Iterable[Planned]) -> dict[str, Any]:
    """A plan for ``doit why --json``; the totals are of the whole plan."""
    counts = plan.counts()
    cost = {"build_s": plan.cost_s("build"), "maybe_s": plan.cost_s("maybe")}
    return {"version": JSON_VERSION, "tasks": [task_json(plan, one) for one in tasks], "totals": {**counts, **cost}}
