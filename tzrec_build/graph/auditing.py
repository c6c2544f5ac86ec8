"""Undeclared inputs: what an action opens inside the workspace or the repository although nothing says that it reads it."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tzrec_build.graph import child, opened_files
from tzrec_build.graph.closure import PACKAGE, REGISTRIES
from tzrec_build.graph.digests import BYTECODE, find
from tzrec_build.graph.spec import RECORDS, TaskSpec

if TYPE_CHECKING:
    from tzrec_build.graph.action import Workshop

SCRATCH = ".audit"  # below the folder of the work folders, where no build looks
_GENERATED = f"{PACKAGE}/protos/"  # outside of every closure: what it says reaches an action through its config


@dataclass(frozen=True, slots=True)
class Audit:
    """What one action opened.

    Attributes:
        task: its name.
        opened: how many files inside the workspace and the repository.
        undeclared: those of them that nothing declares, absolute, sorted.
    """

    task: str
    opened: int
    undeclared: tuple[str, ...]


def audit(shop: Workshop, spec: TaskSpec, root: str, *, strace: bool) -> Audit:
    """Run the command of a task in a folder of its own, which goes afterwards, and compare what it opened with its declarations.

    Args:
        shop: what actions share.
        spec: the task; its inputs must be there.
        root: the checkout.
        strace: whether strace may be used; else only what Python opens is seen.

    Raises:
        BuildError: an input is missing, or the command failed.
    """
    from tzrec_build.graph.publish import WORK

    shop.judge.check_inputs(spec, shop.judge.snapshot(spec))
    parent = os.path.join(os.path.dirname(spec.out), WORK, SCRATCH)
    os.makedirs(os.path.join(spec.folder, parent), exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(prefix=f"{spec.artifact}-", dir=os.path.join(spec.folder, parent)) as work:
            seen = _inside(_run(shop, spec, work, strace=strace), (root, shop.code_root), os.path.realpath(work))
    finally:
        with contextlib.suppress(OSError):  # another audit may be at work in it
            os.rmdir(os.path.join(spec.folder, parent))
    known = declared(shop, spec)
    return Audit(spec.name, len(seen), tuple(sorted(path for path in seen if path not in known)))


def _run(shop: Workshop, spec: TaskSpec, work: str, *, strace: bool) -> set[str]:
    """Run the command of a task in the folder `work` (absolute) and return what it opened for reading."""
    from tzrec_build.graph.action import expand_argv

    for folder in ("out", "notes", *(f"out/{os.path.dirname(file)}" for _, file in spec.outputs)):
        os.makedirs(os.path.join(work, folder), exist_ok=True)
    argv = expand_argv(spec, os.path.relpath(f"{work}/out", spec.folder))
    env = child.environment(spec.env, spec.threads, shop.code_root)
    traced = opened_files.trace(argv, env, os.path.join(work, "notes"), strace=strace)
    command = child.Command(traced.argv, spec.folder, traced.env, os.path.join(work, "log"), spec.timeout_s)
    child.run(command, lambda line: shop.console.progress(spec.name, line))
    return traced.opened()


def declared(shop: Workshop, spec: TaskSpec) -> set[str]:
    """Every file that the key of a task holds, links followed."""
    snapshot = shop.judge.snapshot(spec)
    files = {
        file
        for entry in spec.inputs
        for path in entry.paths
        for _, file in find(spec.folder, path, skip=RECORDS if path in entry.made else "")
    }
    for base in (shop.code_root, spec.folder):
        files |= {os.path.join(base, path) for path in snapshot.code}
    return {os.path.realpath(file) for file in files}


def _inside(paths: Iterable[str], areas: Iterable[str], work: str) -> set[str]:
    """The opened files that a person or another task may change: not Python, packages, bytecode, generated code, own work."""
    inside = [os.path.realpath(area) + os.sep for area in areas]
    outside = [os.path.realpath(folder) + os.sep for folder in (sys.prefix, sys.base_prefix)]
    outside += [work + os.sep, *(area + _GENERATED for area in inside)]
    registries = {area + module.replace(".", "/") + ".py" for area in inside for module in REGISTRIES.values()}
    return {
        path
        for path in paths
        if any(path.startswith(area) for area in inside)
        and not any(path.startswith(area) for area in outside)
        and not {BYTECODE, "site-packages"} & set(path.split(os.sep))
        and path not in registries
        and not (path.endswith("/__init__.py") and not os.path.getsize(path))  # says nothing, and counts once it does
    }
