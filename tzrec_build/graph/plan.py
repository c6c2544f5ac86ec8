"""The dry run that doit lacks: what a build would do, task by task, and why, without doing it.

A stale task's action key says whether the cache would restore it, and then what it will consist of. A light task is run in a scratch
folder to learn what it makes. Both are laid over the disk when the tasks below are judged, so that one whose inputs come out as
before stays fresh. Below any other stale task nothing can be foreseen: those tasks are "maybe".
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tzrec_build.errors import BuildError, CorruptError
from tzrec_build.graph import history
from tzrec_build.graph.action import Cache
from tzrec_build.graph.causes import Cause
from tzrec_build.graph.fresh import Judge
from tzrec_build.graph.plan_causes import Teller
from tzrec_build.graph.preview import Files, Scratch
from tzrec_build.graph.spec import TaskSpec

STATES = ("build", "restore", "maybe", "error", "blocked", "ignored", "fresh")


@dataclass(frozen=True, slots=True)
class Planned:
    """What a build would do with one task.

    Attributes:
        task: its name.
        state: "fresh" (stays), "build", "restore", "maybe" (depends on a result that cannot be foreseen), "error" (would fail),
            "blocked" (needs one that would) or "ignored".
        causes: why it is not fresh; the first is what counts, all of them only where the plan was asked for them.
        cost_s: seconds that it took when it was last built here, None when it never was.
        key: its action key, "" where it cannot be known yet.
        record: the record of its last good run, or None.
        after: tasks whose result decides ("maybe"), or without which it cannot be built ("blocked").
    """

    task: str
    state: str
    causes: tuple[Cause, ...] = ()
    cost_s: float | None = None
    key: str = ""
    record: Mapping[str, Any] | None = None
    after: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """The tasks that were asked for and what they need, each after what it needs.

    Attributes:
        tasks: name -> what would be done with it.
        needs: name -> names of the tasks that it needs.
    """

    tasks: Mapping[str, Planned]
    needs: Mapping[str, Sequence[str]]

    def stale(self) -> list[Planned]:
        """The tasks that are not fresh, in order; without those that doit passes over."""
        return [one for one in self.tasks.values() if one.state not in {"fresh", "ignored"}]

    def counts(self) -> dict[str, int]:
        """State -> number of tasks."""
        counts = dict.fromkeys(STATES, 0)
        for one in self.tasks.values():
            counts[one.state] += 1
        return counts

    def cost_s(self, *states: str) -> float:
        """Recorded seconds of the tasks in these states."""
        return sum(one.cost_s or 0.0 for one in self.tasks.values() if one.state in states)

    def downstream(self, task: str) -> list[str]:
        """Names of the tasks that are not fresh and need this one, directly or not."""
        reached = {task}
        found = []
        for one in self.tasks.values():  # in order: what is needed comes first
            if one.task != task and not reached.isdisjoint(self.needs[one.task]):
                reached.add(one.task)
                if one.state not in {"fresh", "ignored"}:
                    found.append(one.task)
        return found


@dataclass(frozen=True, slots=True)
class Site:
    """What a plan is made of.

    Attributes:
        specs: every task by its name.
        judge: the judge of this process.
        cache: the action cache, or None when it is off.
        code_root: folder of the package.
        fresh: whether a task is up to date as the disk is now; the verdict that doit itself will use.
        root: the checkout whose tasks these are.
        broken: tasks that stand for a pipeline which is wrong -> what is wrong with it.
    """

    specs: Mapping[str, TaskSpec]
    judge: Judge
    cache: Cache | None
    code_root: str
    fresh: Callable[[str], bool]
    root: str
    broken: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Wish:
    """How a plan is asked for.

    Attributes:
        all_causes: tell every cause, not the first alone.
        single: without what the tasks need (``doit -s``).
        forced: as if nothing was ever built (``doit -a``).
    """

    all_causes: bool = False
    single: bool = False
    forced: bool = False


def make_plan(site: Site, names: Iterable[str], wish: Wish | None = None) -> Plan:
    """Plan a build of the named tasks and of all that they need."""
    wish, names = wish or Wish(), list(names)
    order = (
        list(dict.fromkeys(name for name in names if name in site.specs))
        if wish.single
        else in_order(site.specs, names)
    )
    chosen = set(order)
    needs = {name: [dep for dep in site.specs[name].task_deps if dep in chosen] for name in order}
    with Scratch(site.cache, site.code_root) as scratch:
        planner = _Planner(site, wish, scratch, needs)
        tasks = {name: planner.plan(site.specs[name]) for name in order}
    for name in site.broken.keys() & set(names):
        tasks[name], needs[name] = Planned(name, "error", (Cause("error", name, site.broken[name]),)), []
    return Plan(tasks, needs)


def all_fresh(site: Site, names: Iterable[str]) -> bool:
    """Whether a build of these tasks would do nothing; costs no more than the judging that doit does anyway."""
    state = site.judge.state
    return all(name not in state.ignored and site.fresh(name) for name in names)


def in_order(specs: Mapping[str, TaskSpec], names: Iterable[str]) -> list[str]:
    """The named tasks and what they need, each after what it needs; names that are no tasks of ours are left out."""
    order: dict[str, None] = {}
    stack = [(name, False) for name in reversed(list(names))]
    seen: set[str] = set()
    while stack:
        name, done = stack.pop()
        if done:
            order[name] = None
        elif name in specs and name not in seen:
            seen.add(name)
            stack.append((name, True))
            stack += [(dep, False) for dep in reversed(specs[name].task_deps)]
    return list(order)


@dataclass(slots=True)
class _Planner:
    """One walk over the tasks, in order."""

    site: Site
    wish: Wish
    scratch: Scratch
    needs: Mapping[str, Sequence[str]]
    made: dict[str, Files] = field(default_factory=dict)  # artifact folder -> its files as they will be
    unknown: dict[str, str] = field(default_factory=dict)  # artifact folder -> task whose result cannot be foreseen
    lost: dict[str, str] = field(default_factory=dict)  # task that cannot be built -> the one that would fail
    ignored: set[str] = field(default_factory=set)
    moving: set[str] = field(default_factory=set)  # tasks that will or may run
    roots: dict[str, str] = field(default_factory=dict)  # the same -> the cause with which it begins, and where
    costs: dict[str, float] = field(init=False)
    teller: Teller = field(init=False)

    def __post_init__(self) -> None:
        self.costs = history.costs_s(self.site.judge.state)
        self.teller = Teller(self.site.judge, self.scratch.path)

    def plan(self, spec: TaskSpec) -> Planned:
        """What would be done with one task; those that it needs were planned before."""
        state = self.site.judge.state
        if spec.name in state.ignored or not self.ignored.isdisjoint(self.needs[spec.name]):
            self.ignored.add(spec.name)
            return Planned(spec.name, "ignored")
        bad = tuple(dep for dep in self.needs[spec.name] if dep in self.lost)
        if bad:
            origin = self.lost[bad[0]]
            return self._lost(
                spec, "blocked", Cause("upstream", origin, f"{origin} comes before it, and would fail"), (origin,)
            )
        try:
            return self._plan(spec)
        except (BuildError, OSError, subprocess.TimeoutExpired) as err:
            text = str(err)
            return self._lost(
                spec, "error", Cause("error", spec.name, text.removeprefix(f"{spec.name}: ")), (spec.name,)
            )

    def _plan(self, spec: TaskSpec) -> Planned:
        if self.wish.forced:
            return self._forced(spec)
        above = self._above(spec)
        after = tuple(dict.fromkeys(self.unknown[folder] for folder in above if folder in self.unknown))
        made = {folder: self.made[folder] for folder in above if folder in self.made}
        if after:
            return self._maybe(spec, after, made)
        if not made and self.site.fresh(spec.name):
            return Planned(spec.name, "fresh")
        judge = self.site.judge
        snapshot = judge.snapshot(spec, made)
        key = judge.key(spec, snapshot, made)
        record = judge.record(spec.name)
        if made and record and record.get("key") == key and record["outputs"] == judge.outputs(spec):
            return Planned(spec.name, "fresh")
        causes = self.teller.causes(spec, record, snapshot, made, every=self.wish.all_causes)
        if not causes:  # an artifact above was removed, so that what it was cannot be compared with what it will be
            names = ", ".join(dep for dep in self.needs[spec.name] if dep in self.moving)
            causes = (Cause("upstream", names, f"{names}: will not be as it was when this was made"),)
        judge.check_inputs(spec, snapshot)
        return self._stale(spec, key, record, causes)

    def _stale(self, spec: TaskSpec, key: str, record: Mapping[str, Any] | None, causes: tuple[Cause, ...]) -> Planned:
        """Build or restore; and learn what comes of it."""
        self.moving.add(spec.name)
        self.roots[spec.name] = f"{spec.name}: {causes[0].text}" if causes else spec.name
        folder = _folder(spec)
        manifest = self.site.cache.lookup(key) if self.site.cache is not None else None
        if manifest is not None:
            self.made[folder] = self.scratch.restorable(folder, manifest)
            return Planned(spec.name, "restore", causes, self._cost(spec), key, record)
        self.site.judge.fingerprints.check_present(spec)
        self._foresee(spec)
        return Planned(spec.name, "build", causes, self._cost(spec), key, record)

    def _foresee(self, spec: TaskSpec) -> None:
        """Learn what a build makes, or note that it cannot be known."""
        folder = _folder(spec)
        files = None
        # one that it needs without reading it, such as the generated code, must be in order for the preview to be true
        ready = all(_reads(spec, _folder(self.site.specs[dep])) for dep in self.needs[spec.name] if dep in self.moving)
        if spec.light and ready:
            try:
                files = self.scratch.run(spec)
            except CorruptError:
                files = None  # an input in the cache is damaged; the build will make that one anew
        if files is None:
            self.unknown[folder] = spec.name
        else:
            self.made[folder] = files

    def _maybe(self, spec: TaskSpec, after: tuple[str, ...], made: dict[str, Files]) -> Planned:
        """A task below one that cannot be foreseen: its own causes, if any, are certain, what it will be is not."""
        judge = self.site.judge
        record = judge.record(spec.name)
        causes: tuple[Cause, ...] = ()
        if record is not None:
            snapshot = judge.snapshot(spec, made)
            causes = self.teller.causes(
                spec, record, snapshot, made, every=self.wish.all_causes, hidden=set(self.unknown)
            )
        root = self.roots[after[0]]
        self.unknown[_folder(spec)] = spec.name
        self.moving.add(spec.name)
        self.roots[spec.name] = f"{spec.name}: {causes[0].text}" if causes else root
        if self.wish.all_causes or not causes:
            shown = root.removeprefix(f"{after[0]}: ")  # not twice the same name
            causes = (*causes, Cause("upstream", after[0], f"{after[0]} comes before it ({shown})"))
        return Planned(spec.name, "maybe", causes, self._cost(spec), "", record, after)

    def _forced(self, spec: TaskSpec) -> Planned:
        return Planned(spec.name, "build", (Cause("record", "-a", "-a was given"),), self._cost(spec))

    def _lost(self, spec: TaskSpec, state: str, cause: Cause, origin: tuple[str, ...]) -> Planned:
        """A task that cannot be built, because of itself or of one above."""
        self.lost[spec.name] = origin[0]
        after = origin if state == "blocked" else ()
        return Planned(spec.name, state, (cause,), self._cost(spec), "", self.site.judge.record(spec.name), after)

    def _above(self, spec: TaskSpec) -> list[str]:
        """Folders of the artifacts above that will not be as they lie on disk and that the task reads."""
        return [
            folder
            for dep in self.needs[spec.name]
            if (folder := _folder(self.site.specs[dep])) in self.made or folder in self.unknown
            if _reads(spec, folder)
        ]

    def _cost(self, spec: TaskSpec) -> float | None:
        return self.costs.get(spec.name)


def _folder(spec: TaskSpec) -> str:
    return os.path.join(spec.folder, spec.out)


def _reads(spec: TaskSpec, folder: str) -> bool:
    """Whether one of the made inputs lies in an artifact: a task may need another for its order only."""
    for entry in spec.inputs:
        for path in entry.made:
            absolute = os.path.normpath(os.path.join(spec.folder, path))
            if absolute == folder or absolute.startswith(folder + "/"):
                return True
    return False


def followers(specs: Mapping[str, TaskSpec], names: Iterable[str]) -> set[str]:
    """The named tasks and every task that needs one of them, directly or not."""
    needed_by: dict[str, list[str]] = {}
    for spec in specs.values():
        for dep in spec.task_deps:
            needed_by.setdefault(dep, []).append(spec.name)
    found: set[str] = set()
    stack = list(names)
    while stack:
        name = stack.pop()
        if name not in found:
            found.add(name)
            stack += needed_by.get(name, [])
    return found
