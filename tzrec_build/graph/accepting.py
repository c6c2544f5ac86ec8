"""Declares an artifact good for the present inputs, parameters, code and environment although it was made with others.

The record then holds the present parts and key, and under ``accepted`` who did it, when, why, and the key and causes of before. The
cache on this machine gets the artifact under the new key, marked in its provenance, so that another checkout restores it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Any

from tzrec_build.errors import BuildError
from tzrec_build.graph import locks, publish
from tzrec_build.graph.causes import Cause
from tzrec_build.graph.digests import walk
from tzrec_build.graph.fresh import Judge, Snapshot
from tzrec_build.graph.plan import Site, in_order
from tzrec_build.graph.plan_causes import Teller
from tzrec_build.graph.spec import RECORDS, TaskSpec


def accept(site: Site, chosen: Iterable[str], because: str) -> Iterator[tuple[str, tuple[Cause, ...]]]:
    """Accept the chosen tasks that are not up to date.

    Args:
        site: tasks, judge, cache.
        chosen: names of tasks.
        because: why they are good, in the user's words.
    Yields:
        Each task when it is accepted, with the causes that no longer count; none for a task that was up to date.
    Raises:
        BuildError: nothing was ever built, an output was changed or an input is missing, or a task that one of them needs is not
            up to date; those before it in the order are accepted.
    """
    wanted = set(chosen)
    for name in in_order(site.specs, wanted):
        if site.fresh(name):
            if name in wanted:
                yield name, ()
            continue
        if name not in wanted:
            raise BuildError(
                f"{name}: must be up to date before what needs it is accepted, got a stale one; build or accept it first"
            )
        causes = _accept(site, site.specs[name], because)
        site.judge.generation += 1  # verdicts of before no longer hold
        yield name, causes


def _accept(site: Site, spec: TaskSpec, because: str) -> tuple[Cause, ...]:
    judge = site.judge
    lock = locks.take(judge.state.folder, spec.name)
    if lock is None:
        raise BuildError(f"{spec.name}: is being built now; wait for its end")
    try:
        snapshot = judge.snapshot(spec)
        record, causes = _checked(judge, spec, snapshot)
        key = judge.key(spec, snapshot)
        note = {
            "by": _who(),
            "when": _now(),
            "because": because,
            "key_before": record.get("key"),
            "causes": [str(cause) for cause in causes],
        }
        judge.state.set_record(spec.name, {**record, **snapshot.parts(), "key": key, "accepted": note})
        _keep(site, spec, key, note)
    finally:
        lock.release()
    return causes


def _checked(judge: Judge, spec: TaskSpec, snapshot: Snapshot) -> tuple[dict[str, Any], tuple[Cause, ...]]:
    """The record of the artifact and the causes for which it is stale, when it may be accepted."""
    judge.check_inputs(spec, snapshot)
    record = judge.record(spec.name)
    if record is None or not isinstance(record.get("outputs"), dict):
        raise BuildError(
            f"{spec.name}: must have been built here to be accepted; build it, or restore it with doit {spec.name}"
        )
    if "partial" in record:
        raise BuildError(
            f"{spec.name}: must be whole to be accepted, got a training salvaged at step {record['partial']}; "
            f"doit {spec.name} goes on with it"
        )
    causes = Teller(judge, lambda path: path).causes(spec, record, snapshot, {}, every=True)
    damaged = [cause for cause in causes if cause.part == "output"]
    if damaged:
        raise BuildError(
            f"{spec.name}: outputs must be as they were made to be accepted, got {damaged[0].text}; doit {spec.name} makes them anew"
        )
    for promised in publish.lacking(spec, os.path.join(spec.folder, spec.out), record["outputs"]):
        raise BuildError(f"{spec.name}: must hold what it promises now to be accepted, got no {promised!r}; build it")
    return record, causes


def _keep(site: Site, spec: TaskSpec, key: str, note: dict[str, Any]) -> None:
    """Put the artifact into the cache under its new key, unless that has another result already, which stays."""
    if site.cache is None or spec.cache != "full" or site.cache.lookup(key) is not None:
        return
    from pathlib import Path

    folder = os.path.join(spec.folder, spec.out)
    site.cache.publish(key, Path(folder), walk(folder, skip=RECORDS), {"task": spec.name, "accepted": note})


def _who() -> str:
    import getpass
    import socket

    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # no name for this user id, as in some containers
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def _now() -> str:
    import time

    return time.strftime("%Y-%m-%d %H:%M")
