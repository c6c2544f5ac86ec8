"""The last lines of a build: what did not come about and why, where artifacts lie, headline numbers."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence

from tzrec_build.graph.spec import TaskSpec

MOST_LINES = 40  # of artifacts; beyond, one line per pipeline
MOST_HEADLINES = 8
MOST_NAMES = 6
SCREEN_LINES = 20


def artifacts_and_headlines(specs: Sequence[TaskSpec], made: Mapping[str, str]) -> list[str]:
    """Lines that say where the artifact of each task lies and its headline numbers, pipeline by pipeline.

    Args:
        specs: tasks whose artifacts are what they should be.
        made: tasks of this build -> how they ended; of many headlines those of built and restored tasks are shown.
    """
    folders: dict[str, list[TaskSpec]] = {}
    for spec in specs:
        if ":" in spec.name and os.path.isdir(os.path.join(spec.folder, spec.out)):
            folders.setdefault(spec.folder, []).append(spec)  # not a task of the checkout itself, and built
    whole = sum(len(several) + 2 for several in folders.values()) <= MOST_LINES
    lines = list(_artifacts(folders) if whole else _counts(folders))
    found = [spec for several in folders.values() for spec in several if spec.headline]
    found = [spec for spec in found if os.path.isfile(_headline(spec)) and os.path.getsize(_headline(spec))]
    if len(found) > MOST_HEADLINES:
        found = [spec for spec in found if made.get(spec.name) in {"built", "restored"}]
    for spec in found[:MOST_HEADLINES]:
        with open(_headline(spec), encoding="utf-8") as file:
            lines += ["", *file.read().splitlines()]
    if len(found) > MOST_HEADLINES:
        lines += [
            "",
            f"and the headline numbers of {len(found) - MOST_HEADLINES} more tasks, e.g. {_headline(found[-1])}",
        ]
    return [*lines, ""]


def _headline(spec: TaskSpec) -> str:
    return os.path.join(spec.folder, spec.out, spec.headline)


def _artifacts(folders: Mapping[str, list[TaskSpec]]) -> Iterator[str]:
    for folder, specs in folders.items():
        yield from ("", os.path.relpath(folder))
        for spec in specs:
            yield f"  {spec.out:<26}  {spec.doc}"


def _counts(folders: Mapping[str, list[TaskSpec]]) -> Iterator[str]:
    yield ""
    shown = list(folders.items())[: MOST_LINES - 2]
    width = max(len(os.path.relpath(folder)) for folder, _ in shown)
    for folder, specs in shown:
        build = os.path.commonpath([os.path.dirname(spec.out) for spec in specs])
        yield f"{os.path.relpath(folder):<{width}}  {len(specs)} artifacts in {build or '.'}/"
    if len(shown) < len(folders):
        rest = list(folders.values())[len(shown) :]
        yield f"and {sum(map(len, rest))} artifacts of {len(rest)} more pipelines"


def not_built(failed: Sequence[str], ended: Mapping[str, str], needs: Mapping[str, Sequence[str]]) -> list[str]:
    """Lines that say what did not run because a task failed.

    Args:
        failed: tasks that failed.
        ended: tasks that are over.
        needs: each chosen task, after all that it needs -> what it needs directly.
    """
    causes: dict[str, set[str]] = {task: {task} for task in failed}
    for task, several in needs.items():
        above = set().union(*(causes.get(need, ()) for need in several))
        if above and task not in ended:
            causes[task] = above
    lost: dict[tuple[str, ...], list[str]] = {}
    for task in needs:
        if task in causes and task not in ended:
            lost.setdefault(tuple(sorted(causes[task])), []).append(task)
    lines = []
    for cause, tasks in lost.items():
        because = f"a task that it needs failed ({_names(cause)})"
        if len(tasks) <= MOST_NAMES:
            lines += [f"- {task}  not built: {because}" for task in tasks]
        else:
            lines.append(f"- {_names(tasks)}  not built: {because}")
    return lines


def failures(messages: Mapping[str, str]) -> list[str]:
    """The failures of a build once more, one line each."""
    return [f"! {message.splitlines()[0].removesuffix(':')}" for message in messages.values() if message]


def out_of_sight(messages: Mapping[str, str], ended: Mapping[str, str]) -> bool:
    """Whether so much was printed since the first failure that the failures are worth a second telling.

    Args:
        messages: failed task -> what was printed of it.
        ended: tasks that are over, in that order -> how they ended.
    """
    told = [name for name, how in ended.items() if how != "up to date"]
    since = told[next((at for at, name in enumerate(told) if name in messages), len(told)) :]
    return sum(messages.get(name, "").count("\n") + 1 for name in since) > SCREEN_LINES


def _names(tasks: Sequence[str]) -> str:
    if len(tasks) <= MOST_NAMES:
        return ", ".join(tasks)
    return f"{', '.join(tasks[: MOST_NAMES - 1])} and {len(tasks) - MOST_NAMES + 1} more"
