"""From doit's tasks to what a plan is made of."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from tzrec_build.graph.action import Workshop
from tzrec_build.graph.plan import Site


def workshop_of(tasks: Iterable[Any]) -> Workshop | None:
    """What all actions share; None where there is no task."""
    for task in tasks:
        if task.actions:
            shop: Workshop = task.actions[0].workshop
            return shop
    return None


def site_of(tasks: Iterable[Any]) -> Site | None:
    """The tasks of ours, their judge and their cache; None where there are none."""
    ours = {task.name: task for task in tasks if task.actions}
    shop = workshop_of(ours.values())
    if shop is None:
        return None

    def fresh(name: str) -> bool:
        verdict: bool = ours[name].uptodate[0][0](None, None)
        return verdict

    first = next(iter(ours.values()))
    inside = first.meta["folder"]  # of its pipeline, as seen from the checkout
    root = os.path.normpath(os.path.join(first.actions[0].spec.folder, os.path.relpath(".", inside)))
    specs = {name: task.actions[0].spec for name, task in ours.items()}
    return Site(specs, shop.judge, shop.cache, shop.code_root, fresh, root)
