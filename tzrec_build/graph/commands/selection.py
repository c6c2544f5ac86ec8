"""Which tasks a command means: names of tasks or of pipelines."""

from __future__ import annotations

from doit.exceptions import InvalidCommand

from tzrec_build.errors import suggestion


def chosen_tasks(names: list[str], chosen: list[str]) -> set[str]:
    """Names of the chosen tasks, and of all tasks of the chosen pipelines; everything when nothing is chosen."""
    if not chosen:
        return set(names)
    pipelines = {name.split(":")[1] for name in names if ":" in name}
    wanted: set[str] = set()
    for choice in chosen:
        if choice not in names and choice not in pipelines:
            raise InvalidCommand(
                f"{choice!r} is neither a task nor a pipeline{suggestion(choice, [*names, *pipelines])}"
            )
        wanted |= {name for name in names if name == choice or name.split(":")[1:2] == [choice]}
    return wanted
