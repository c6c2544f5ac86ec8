"""How long a build will still take, from the recorded time of each task."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

RESTORE_S = 1.0  # taken for a restore: copying is quick beside what it spares


@dataclass(frozen=True, slots=True)
class Outlook:
    """What is known of a build when its first task starts.

    Attributes:
        needs: each chosen task -> the chosen tasks that it needs directly; what a task needs comes before it.
        costs_s: task -> seconds of its last build, where there was one.
        workers: how many tasks run at once.
        expected: task -> "build", "restore" or "maybe" when a plan was taken, else empty.
    """

    needs: Mapping[str, tuple[str, ...]]
    costs_s: Mapping[str, float]
    workers: int
    expected: Mapping[str, str] = field(default_factory=dict)

    def cost_s(self, task: str) -> float | None:
        """Seconds that one task will take, or None when nobody knows."""
        return RESTORE_S if self.expected.get(task) == "restore" else self.costs_s.get(task)

    def left_s(self, ended: Mapping[str, str], running: Mapping[str, float]) -> tuple[float, bool]:
        """Seconds to the end of the build, and whether every task in that sum has a recorded time.

        Args:
            ended: tasks that are over -> how.
            running: running tasks -> seconds since their start.
        """
        chain: dict[
            str, float
        ] = {}  # seconds to the end of a task that is still to come, all that it waits for included
        total_s, known = 0.0, True
        made = {task for task, how in ended.items() if how in {"built", "restored"}}
        for task, needs in self.needs.items():
            if task in ended or not self._will_run(task, needs, chain, made, running):
                continue
            cost = self.cost_s(task)
            known = known and cost is not None
            own_s = max((cost or 0.0) - running.get(task, 0.0), 0.0)
            total_s += own_s
            chain[task] = own_s + max((chain.get(need, 0.0) for need in needs), default=0.0)
        longest_s = max(chain.values(), default=0.0)
        return max(longest_s, total_s / max(self.workers, 1)), known

    def _will_run(
        self,
        task: str,
        needs: tuple[str, ...],
        chain: Mapping[str, float],
        made: set[str],
        running: Mapping[str, float],
    ) -> bool:
        """By the plan, or, without one, everything below what has run is taken to run too."""
        if task in running or self.expected:
            return task in running or task in self.expected
        return any(need in chain or need in made for need in needs)


def ordered(needs: Mapping[str, Iterable[str]]) -> dict[str, tuple[str, ...]]:
    """The same tasks, each after all that it needs; needs that are not among them are left out.

    >>> ordered({"b": ["a", "x"], "a": []})
    {'a': (), 'b': ('a',)}
    """
    known = {task: tuple(need for need in several if need in needs) for task, several in needs.items()}
    placed: dict[str, tuple[str, ...]] = {}
    for first in known:
        stack = [first]  # no recursion: a chain may be longer than Python's stack
        while stack:
            task = stack[-1]
            waiting = [need for need in known[task] if need not in placed]
            if waiting and task not in placed:
                stack += waiting
                continue
            stack.pop()
            placed.setdefault(task, known[task])
    return placed
