"""Copies of the small inputs of one of our own tools, in the work folder of its task."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence

from tzrec_build.graph.digests import find, is_glob
from tzrec_build.graph.frozen import EditedError, copy_checked
from tzrec_build.graph.spec import RECORDS, Input, TaskSpec

LIMIT_BYTES = 64 << 20
Contents = Mapping[str, Sequence[Mapping[str, str]]]


def freeze_inputs(spec: TaskSpec, contents: Contents, work: str) -> dict[str, str]:
    """Copy the inputs that a tool gets on its command line, if they are small together.

    Args:
        spec: the task, of one of our own tools.
        contents: its inputs as in the snapshot that its key was taken from.
        work: its work folder, relative to the pipeline's folder.
    Returns:
        Path as the pipeline names it -> path of the copy, relative to the pipeline's folder; empty when they are not small.
    Raises:
        EditedError: a file is not what the snapshot saw.
    """
    base = os.path.join(spec.folder, work, "in")
    shutil.rmtree(base, ignore_errors=True)
    given = [
        entry
        for entry in spec.inputs
        if entry.fingerprint == "content" and any(f"{{inputs.{entry.name}}}" in word for word in spec.argv)
    ]
    plan: list[tuple[str, str, str]] = []
    paths: dict[str, str] = {}
    size_bytes = 0
    for entry in given:
        for path, content in zip(entry.paths, contents[entry.name], strict=True):
            if path in paths or not content:
                continue  # an optional input that is not there keeps its own path
            place = f"{work}/in/{len(paths)}"
            paths[path], below = _copied(path, place, os.path.isdir(os.path.join(spec.folder, path)))
            for name, file in _files(spec, entry, path):
                size_bytes += os.path.getsize(file)
                if size_bytes > LIMIT_BYTES:
                    return {}
                if name not in content:
                    raise EditedError(f"{file}: appeared while the task started; run again")
                plan.append((file, os.path.join(spec.folder, below, name), content[name]))
    for file, target, xxh in plan:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        copy_checked(file, target, xxh)
    return paths


def _files(spec: TaskSpec, entry: Input, path: str) -> list[tuple[str, str]]:
    return find(spec.folder, path, skip=RECORDS if path in entry.made else "")


def _copied(path: str, place: str, is_folder: bool) -> tuple[str, str]:  # noqa: FBT001 - both callers name nothing
    """The path to give to the tool, and the folder that the names found under `path` are relative to."""
    if is_glob(path):
        parts = path.split("/")
        literal = next(i for i, part in enumerate(parts) if is_glob(part))
        return "/".join((place, *parts[literal:])), place
    name = os.path.basename(os.path.normpath(path))
    return f"{place}/{name}", f"{place}/{name}" if is_folder else place
