"""Artifacts as they would be: for a dry run, files below some artifact folders are taken from a listing instead of the disk."""

from __future__ import annotations

import os
from collections.abc import Mapping
from fnmatch import fnmatchcase

from tzrec_build.graph.digests import is_glob
from tzrec_build.graph.stamp import seen_from

# absolute artifact folder -> {relative file: (executable, SHA-256 in hex)}, records left out
Overlay = Mapping[str, Mapping[str, tuple[bool, str]]]


def find_made(base: str, pattern: str, made: Overlay) -> list[tuple[str, bool, str]] | None:
    """Files of a listing that one path of a pipeline names, as `digests.find` would name them.

    Args:
        base: folder that the path is relative to, absolute.
        pattern: a file, a folder or a glob.
        made: the listings.
    Returns:
        (name, executable, SHA-256) sorted by name, or None when the path leads into none of the folders.
    """
    path = os.path.normpath(os.path.join(base, pattern))
    for folder, files in made.items():
        if path == folder:
            return _folder(path, files)
        if path.startswith(folder + "/"):
            inside = path[len(folder) + 1 :]
            return sorted(_matches(inside, files) if is_glob(inside) else _below(inside, files))
    return None


def _below(inside: str, files: Mapping[str, tuple[bool, str]]) -> list[tuple[str, bool, str]]:
    if inside in files:
        return [(os.path.basename(inside), *files[inside])]
    start = inside + "/"
    return _folder(inside, {name[len(start) :]: found for name, found in files.items() if name.startswith(start)})


def _folder(path: str, files: Mapping[str, tuple[bool, str]]) -> list[tuple[str, bool, str]]:
    names = sorted(files)
    return [(seen, *files[name]) for seen, name in zip(seen_from(path, names), names, strict=True)]


def _matches(pattern: str, files: Mapping[str, tuple[bool, str]]) -> list[tuple[str, bool, str]]:
    """Files that a glob names; one that names a folder means all files in it. Named from its first marked part on."""
    parts = pattern.split("/")
    literal = next(i for i, part in enumerate(parts) if is_glob(part))
    return [
        ("/".join(name.split("/")[literal:]), *found) for name, found in files.items() if _match(parts, name.split("/"))
    ]


def _match(pattern: list[str], name: list[str]) -> bool:
    if not pattern:
        return True
    if pattern[0] == "**":
        return any(_match(pattern[1:], name[i:]) for i in range(len(name) + (len(pattern) == 1)))
    if not name or (name[0].startswith(".") and not pattern[0].startswith(".")):
        return False
    return fnmatchcase(name[0], pattern[0]) and _match(pattern[1:], name[1:])
