"""What stands before a build: its plan is printed, and a build that would cost more than is allowed does not start.

When everything is up to date nothing is printed and nothing is judged twice: the verdicts taken here are those that doit then uses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from doit.exceptions import InvalidCommand

from tzrec_build.errors import BuildError, ConfigError
from tzrec_build.graph.fresh import Fresh, expect
from tzrec_build.graph.state import open_state

SHOWN_COSTLY = 5
LOADED_FIRST = (  # what actions import where they need it
    "concurrent.futures.thread",
    "ctypes",
    "tzrec_build.graph.action",
    "tzrec_build.graph.trace",
    "xxhash",
    "zlib",
)


class Gate:
    """The plan of one build.

    Args:
        limit_s: recorded seconds that a build may cost; 0 for no limit.
        forced: ``doit -a``.
        single: ``doit -s``.
    """

    def __init__(self, limit_s: float, *, forced: bool, single: bool) -> None:
        self._limit_s, self.forced, self._single = limit_s, forced, single
        self.refused = False
        self.states: dict[str, str] = {}

    def plan(self, tasks: Mapping[str, Any], selected: Iterable[str], write: Callable[[str], None]) -> None:
        """Plan the build of the selected tasks, and print the plan where there is something to do.

        Args:
            tasks: doit's tasks by name.
            selected: tasks and groups that were asked for.
            write: prints a line.
        Raises:
            ConfigError: the recorded time of the plan is above the limit.
        """
        names = _with_needs(tasks, selected)
        expect(tasks[name].uptodate[0][0] for name in names)
        if not self.forced and all(_fresh(tasks[name]) for name in names):
            return
        from tzrec_build.graph.commands.site import site_of
        from tzrec_build.graph.explain import plan_lines
        from tzrec_build.graph.plan import Wish, make_plan

        site = site_of(tasks.values())
        if site is None:
            return
        plan = make_plan(site, names, Wish(single=self._single, forced=self.forced))
        self.states = {one.task: one.state for one in plan.stale()}
        cost_s = plan.cost_s("build", "maybe")
        if self._limit_s and cost_s > self._limit_s:
            raise ConfigError(_too_costly(plan, cost_s, self._limit_s))
        if {"build", "restore", "maybe"} & set(self.states.values()):  # else the failures say it all in a moment
            for line in plan_lines(plan):
                write(line)


def parse_limit(value: str | float) -> float:
    """Seconds of ``--max_cost``, or of the workspace's key, which is in seconds already; ConfigError when it is no duration."""
    if not isinstance(value, str):
        return float(value)
    from tzrec_build.graph.keys import DURATION

    try:
        seconds: Any = 0.0 if value in {"", "0"} else DURATION.parse(value)
    except ValueError as err:
        raise ConfigError(f"--max_cost: must be {DURATION.rule}, or 0 for no limit, got {value!r}") from err
    return float(seconds)


def _too_costly(plan: Any, cost_s: float, limit_s: float) -> str:
    from tzrec_build.graph.amounts import duration_text

    costly = sorted((one for one in plan.stale() if one.cost_s and one.state != "restore"), key=lambda one: -one.cost_s)
    lines = [f"  {one.task}  about {duration_text(one.cost_s)}: {one.causes[0].text}" for one in costly[:SHOWN_COSTLY]]
    more = [f"  and {len(costly) - SHOWN_COSTLY} more"] if len(costly) > SHOWN_COSTLY else []
    first = (
        f"max_cost: the plan must take at most {duration_text(limit_s)} by recorded times, got {duration_text(cost_s)}; "
        "nothing was built"
    )
    last = "go on with doit --max_cost 0, name cheaper tasks, or take the change back (doit why tells all causes)"
    return "\n".join([first, *lines, *more, last])


def _fresh(task: Any) -> bool:
    """Whether doit will find nothing to do; an ignored task is for the plan to tell."""
    judged = task.uptodate[0][0] if task.uptodate else None
    return task.name not in open_state().ignored and isinstance(judged, Fresh) and judged(None, None)


def _with_needs(tasks: Mapping[str, Any], selected: Iterable[str]) -> list[str]:
    """The selected tasks and all that doit will look at for them, groups left out."""
    found: dict[str, None] = {}
    stack = list(selected)[::-1]
    seen = set()
    while stack:
        name = stack.pop()
        if name in tasks and name not in seen:
            seen.add(name)
            stack += tasks[name].task_dep
            if not tasks[name].has_subtask:
                found[name] = None
    return list(found)


def guarded(reporter: Any, gate: Gate) -> Any:
    """A reporter class that plans before the first task.

    Args:
        reporter: the class that doit would use.
        gate: what is asked.
    """
    from tzrec_build.graph.reporter import Reporter, screen, wishes

    ours = issubclass(reporter, Reporter)

    class Guarded(reporter):  # type: ignore[misc]
        """The same, after the plan."""

        def initialize(self, tasks: Mapping[str, Any], selected_tasks: list[str]) -> None:
            try:
                gate.plan(tasks, selected_tasks, screen().line if ours else _nowhere)
                if gate.states or gate.forced:
                    _get_ready(tasks.values())
            except (BuildError, InvalidCommand):
                gate.refused = True
                raise
            wishes.plan = {name: state for name, state in gate.states.items() if state in {"build", "restore", "maybe"}}
            super().initialize(tasks, selected_tasks)

        def complete_run(self) -> None:
            if not gate.refused:
                super().complete_run()
            if gate.states:
                _prune()

    return Guarded


def _get_ready(tasks: Iterable[Any]) -> None:
    """Load and open in this thread what the actions share, before several of them would do so at once.

    CPython 3.11 may end two threads that import the same modules with "release unlocked lock".
    """
    from importlib import import_module

    from tzrec_build.graph.doit_task import Make

    for module in LOADED_FIRST:
        import_module(module)
    for task in tasks:
        if task.actions and isinstance(task.actions[0], Make):
            _ = task.actions[0].workshop
            return


def _prune() -> None:
    """Forget the texts of inputs that no record names any longer, now and then."""
    from tzrec_build.graph import texts

    state = open_state()
    texts.prune(state, lambda: texts.recorded(state.record(task) for task in list(state.records)))


def _nowhere(line: str) -> None:
    """Reporters of others print what they print."""
