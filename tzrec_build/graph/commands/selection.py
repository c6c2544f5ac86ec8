"""Which tasks a command means: names of tasks or of pipelines; and what to say of a name that is neither."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from doit.exceptions import InvalidCommand

BROKEN = "pipeline:"  # first part of the name of a task that stands for a wrong pipeline


def chosen_tasks(tasks: Mapping[str, Any], chosen: list[str]) -> set[str]:
    """Names of the chosen tasks, and of all tasks of the chosen pipelines; everything when nothing is chosen.

    Args:
        tasks: doit's tasks by name.
        chosen: names of tasks or pipelines.
    Raises:
        InvalidCommand: a name is neither.
    """
    if not chosen:
        return set(tasks)
    pipelines = pipelines_of(tasks)
    wanted: set[str] = set()
    for choice in chosen:
        if choice not in tasks and choice not in pipelines:
            raise InvalidCommand(unknown(choice, tasks.values(), "pipeline", pipelines))
        wanted |= {name for name in tasks if name == choice or name.split(":")[1:2] == [choice]}
    return wanted


def right_tasks(tasks: Mapping[str, Any], chosen: list[str]) -> set[str]:
    """The chosen tasks, for a command that can do nothing with a wrong pipeline.

    Raises:
        InvalidCommand: a name is neither task nor pipeline, or a chosen pipeline is wrong.
    """
    wanted = chosen_tasks(tasks, chosen)
    wrong = [f"! {error}" for name, error in wrong_pipelines(tasks.values()).items() if BROKEN + name in wanted]
    if wrong:
        also = "" if chosen else ", or name the others"
        raise InvalidCommand("\n".join([f"a pipeline is wrong; mend it first{also}", *wrong]))
    return wanted


def named_tasks(tasks: Iterable[Any], names: Iterable[str]) -> dict[str, Any]:
    """Doit's tasks by name.

    Raises:
        InvalidCommand: one of the names is no task.
    """
    found = {task.name: task for task in tasks}
    for name in names:
        if name not in found:
            raise InvalidCommand(unknown(name, found.values()))
    return found


def pipelines_of(names: Iterable[str]) -> set[str]:
    """Pipelines that the names of tasks tell of."""
    return {name.split(":")[1] for name in names if ":" in name}


def wrong_pipelines(tasks: Iterable[Any]) -> dict[str, str]:
    """Pipelines that are wrong -> what is wrong with them.

    Args:
        tasks: doit's tasks.
    """
    broken = (task for task in tasks if task.name.startswith(BROKEN))
    return {task.name.removeprefix(BROKEN): task.actions[0].error for task in broken}


def unknown(name: str, tasks: Iterable[Any], kind: str = "", also: Iterable[str] = ()) -> str:
    """What to say of a name that is no task: what was probably meant, and which pipelines are wrong, and why.

    Args:
        name: as it was typed.
        tasks: doit's tasks.
        kind: what else may stand there, "pipeline" or "command".
        also: their names.
    """
    tasks = list(tasks)
    names = [task.name for task in tasks]
    wrong = wrong_pipelines(tasks)
    if name.startswith("-"):
        first = f"{name}: options come before the names"
    elif set(name.split(":")) & set(wrong):
        first = f"{name!r} is not known, because its pipeline is wrong; mend it first"
    elif name in pipelines_of(names):
        first = f"{name!r} is a pipeline, and this takes tasks{_meant(f'train:{name}', names)}"
    else:
        what = f"neither a task nor a {kind}" if kind else "no task"
        first = f"{name!r} is {what}{_meant(name, [*names, *also])}"
    return "\n".join([first, *(f"! {error}" for error in wrong.values())])


def _meant(name: str, known: Iterable[str]) -> str:
    import difflib  # 2 ms that only an error is worth

    near = difflib.get_close_matches(name, sorted(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else "; `doit list --all` shows them"
