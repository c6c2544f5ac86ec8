"""From doit's tasks to what a plan is made of."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from doit.exceptions import InvalidCommand

from tzrec_build.errors import BuildError
from tzrec_build.graph.action import Workshop
from tzrec_build.graph.doit_task import Make
from tzrec_build.graph.plan import Site
from tzrec_build.graph.spec import TaskSpec


def workshop_of(tasks: Iterable[Any]) -> Workshop | None:
    """What all actions share; None where there is no task."""
    for task in tasks:
        if is_ours(task):
            try:
                shop: Workshop = task.actions[0].workshop
            except BuildError as err:
                raise InvalidCommand(str(err)) from err
            return shop
    return None


def is_ours(task: Any) -> bool:
    """Whether the task makes an artifact; a group does not, nor a task that a user's dodo.py adds."""
    return bool(task.actions) and isinstance(task.actions[0], Make)


def site_of(tasks: Iterable[Any]) -> Site | None:
    """The tasks of ours, their judge and their cache; None where there are none."""
    ours = {task.name: task for task in tasks if is_ours(task)}
    shop = workshop_of(ours.values())
    if shop is None:
        return None

    def fresh(name: str) -> bool:
        verdict: bool = ours[name].uptodate[0][0](None, None)
        return verdict

    specs: dict[str, TaskSpec] = {}
    broken: dict[str, str] = {}
    for name, task in ours.items():
        if task.actions[0].error:  # stands for a pipeline that is wrong
            broken[name] = task.actions[0].error
        else:
            specs[name] = task.actions[0].spec
    roots = (_root(task.actions[0].spec, task.meta["folder"]) for name, task in ours.items() if name in specs)
    return Site(specs, shop.judge, shop.cache, shop.code_root, fresh, next(roots, os.getcwd()), broken)


def _root(spec: TaskSpec, inside: str) -> str:
    """The checkout, from a pipeline's folder and how the checkout calls it."""
    return os.path.normpath(os.path.join(spec.folder, os.path.relpath(".", inside)))
