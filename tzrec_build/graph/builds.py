"""Where pipelines build: tells whether a path leads into such a folder, however it is spelled.

The order of the tasks follows from references alone. A path that reaches the same file by another way (``./build/../build/x``, an
absolute path, a link, a glob that matches more than it should) would be read without waiting for the task that makes it.
"""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Iterable, Sequence

BUILD = "build"
_MARKS = re.compile(r"[*?\[]")


class Builds:
    """The build folders of a workspace, by their real paths.

    Args:
        folders: (name, folder) of each pipeline, without [each].
    """

    def __init__(self, folders: Iterable[tuple[str, str]]) -> None:
        self._names = {os.path.realpath(f"{folder}/{BUILD}"): name for name, folder in folders}

    def check(self, folder: str, text: str) -> None:
        """Refuse a path text that names what a task builds, other than by a reference.

        Args:
            folder: what the path is relative to, absolute.
            text: a file, folder or glob.
        Raises:
            ValueError: the message names the pipeline whose build folder it is, and the reference where one is meant.
        """
        parts = text.split("/")
        literal = next((i for i, part in enumerate(parts) if _MARKS.search(part)), len(parts))
        plain = "/".join(parts[:literal]) or ("/" if text.startswith("/") else "")
        real = os.path.realpath(os.path.join(folder, plain))
        inside = self._above(real)
        if inside:
            reference = _reference(self._names[inside], os.path.relpath(real, inside))
            raise ValueError(
                f"{text!r} lies in the build folder of {self._names[inside]!r}; write the reference {reference!r}"
            )
        pattern = parts[literal:]
        for build, name in self._names.items():
            if build.startswith(real.rstrip("/") + "/") and _meets(pattern, os.path.relpath(build, real).split("/")):
                what = "matches inside" if pattern else "holds"
                raise ValueError(
                    f"{text!r} {what} the build folder of {name!r}; name the files, or write references such as "
                    f"'{name}:ARTIFACT'"
                )

    def _above(self, real: str) -> str:
        """The build folder that is `real` or holds it, or ""."""
        while len(real) > 1:
            if real in self._names:
                return real
            real = os.path.dirname(real)
        return ""


def _reference(name: str, below: str) -> str:
    parts = [] if below == "." else below.split("/")
    label = f":{parts.pop(0)}" if parts and "=" in parts[0] else ""
    return f"{name}{label}:{'/'.join(parts) or 'ARTIFACT'}"


def _meets(pattern: Sequence[str], folder: Sequence[str]) -> bool:
    """Tell whether a glob can match a folder, one that holds it, or something inside it.

    >>> _meets(["**", "*.csv"], ["build"]), _meets(["*.csv"], ["build"]), _meets(["*", "data"], ["x", "build"])
    (True, False, False)
    """
    if not pattern or not folder:
        return True
    if pattern[0] == "**":
        return _meets(pattern[1:], folder) or _meets(pattern, folder[1:])
    return fnmatch.fnmatchcase(folder[0], pattern[0]) and _meets(pattern[1:], folder[1:])


def shared_folders(folders: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Pairs of pipelines of which one builds in the build folder of the other, because a link leads there."""
    real = sorted((os.path.realpath(f"{folder}/{BUILD}") + "/", name) for name, folder in folders)
    pairs: list[tuple[str, str]] = []
    above = ("", "")
    for path, name in real:
        if above[0] and path.startswith(above[0]):
            pairs.append((above[1], name))
        else:
            above = (path, name)
    return pairs
