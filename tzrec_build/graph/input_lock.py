"""``workspace/inputs.lock``: size and SHA-256 of the user's own input files, committed beside the configs.

``{"version": 1, "files": {PATH: {"size": bytes, "sha256": hex}}}``; PATH is relative to the checkout with forward slashes, or absolute
for a file outside of it. A machine without the data computes the same keys from it, and restores what others have built.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping

from tzrec_build.errors import ConfigError
from tzrec_build.graph.digests import Digests, find
from tzrec_build.graph.overlay import find_made
from tzrec_build.graph.spec import TaskSpec

VERSION = 1
_SHA256 = re.compile(r"[0-9a-f]{64}")
Locked = dict[str, tuple[int, str]]  # path as in the lock -> size, SHA-256 in hex


def lock_path(root: str) -> str:
    """The lock of a checkout."""
    return os.path.join(root, "workspace", "inputs.lock")


def lock_name(root: str, path: str) -> str:
    """How the lock calls a file, given by its absolute path."""
    return path[len(root) + 1 :] if path.startswith(root + "/") else path


def read_lock(root: str) -> Locked:
    """The files of the lock; none when there is no lock.

    Raises:
        ConfigError: it is no such file.
    """
    path = lock_path(root)
    try:
        with open(path, "rb") as file:
            body = json.loads(file.read())
        if body["version"] != VERSION:
            raise ConfigError(
                f"{path}: version must be {VERSION}, got {body['version']!r}; write it anew with doit lock"
            )
        return {name: _entry(entry) for name, entry in body["files"].items()}
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError, AttributeError) as err:
        raise ConfigError(
            f"{path}: must be what doit lock writes, got {type(err).__name__}: {err}; write it anew"
        ) from err


def _entry(entry: Mapping[str, object]) -> tuple[int, str]:
    size, sha256 = entry["size"], entry["sha256"]
    if not isinstance(size, int) or not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
        raise ValueError(f"entry {entry!r}")
    return size, sha256


def write_lock(root: str, files: Locked) -> None:
    """Replace the lock; sorted, so that a change of one file is a change of one line."""
    from tzrec_build.files import write_text

    entries = ",\n".join(
        f"    {json.dumps(name, ensure_ascii=not _is_utf8(name))}: {json.dumps({'size': size, 'sha256': sha256})}"
        for name, (size, sha256) in sorted(files.items())
    )
    write_text(lock_path(root), f'{{\n  "version": {VERSION},\n  "files": {{\n{entries}\n  }}\n}}\n')


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def user_files(specs: Iterable[TaskSpec]) -> Iterator[tuple[TaskSpec, str, list[str]]]:
    """Every path that these tasks read and no task makes: the task, the path as it is written, absolute paths of its files."""
    seen = set()
    for spec in specs:
        for entry in spec.inputs:
            for path in entry.paths:
                if path not in entry.made and (spec.folder, path) not in seen:
                    seen.add((spec.folder, path))
                    yield spec, path, [file for _, file in find(spec.folder, path)]


def locked_files(root: str, locked: Locked, spec: TaskSpec, path: str) -> list[tuple[str, str]]:
    """What the lock has of one path of a task: (name as `digests.find` gives it, name in the lock)."""
    inside = {name: (False, name) for name in locked if not os.path.isabs(name)}
    outside = {name[1:]: (False, name) for name in locked if os.path.isabs(name)}
    found = find_made(spec.folder, path, {root: inside}) or find_made(spec.folder, path, {"": outside}) or []
    return [(name, full) for name, _, full in found]


def measure(root: str, digests: Digests, specs: Iterable[TaskSpec], locked: Locked) -> tuple[Locked, Locked]:
    """The lock's entries of what these tasks read: of the files that are here, and of paths of which nothing is here."""
    here: Locked = {}
    absent: Locked = {}
    for spec, path, files in user_files(specs):
        here.update({lock_name(root, file): (os.path.getsize(file), digests.sha256(file)) for file in files})
        if not files:
            absent.update({name: locked[name] for _, name in locked_files(root, locked, spec, path)})
    return here, absent
