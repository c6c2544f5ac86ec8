"""What stands for an input: its content, its size and time, or what ``inputs.lock`` says of it ([data] fingerprint)."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from tzrec_build.errors import DataError
from tzrec_build.graph.digests import Digests, find
from tzrec_build.graph.overlay import Overlay, find_made
from tzrec_build.graph.spec import RECORDS, Input, TaskSpec

SHA = "sha256:"  # contents that begin so name themselves in a key
STAT = "stat "


class Fingerprints:
    """Contents of inputs, as they count for staleness and in keys.

    Args:
        digests: the digest table.
        root: the checkout, for the names in its ``inputs.lock``.
    """

    def __init__(self, digests: Digests, root: str) -> None:
        self._digests, self._root = digests, root
        self._lock: tuple[bytes | None, dict[str, tuple[int, str]]] = (None, {})
        self._kinds: Mapping[str, Callable[[TaskSpec, Input, str], dict[str, str]]] = {
            "content": self._of_content,
            "stat": self._of_stat,
            "lock": self._of_lock,
        }

    def contents(self, spec: TaskSpec, entry: Input, path: str, made: Overlay | None) -> dict[str, str]:
        """Name of each file that a path names -> what counts of it; empty when nothing is there."""
        listed = find_made(spec.folder, path, made) if made else None
        if listed is not None:
            return {name: ("x" if executable else "") + SHA + sha for name, executable, sha in listed}
        if path in entry.made:
            return self._of_content(spec, entry, path)
        return self._kinds[entry.fingerprint](spec, entry, path)

    def named(
        self, spec: TaskSpec, entry: Input, path: str, contents: Mapping[str, str]
    ) -> list[tuple[str, bool, str]]:
        """The same for a key: (name, executable, SHA-256 or what stands for it)."""
        places: dict[str, str] = {}
        found = []
        for name, content in contents.items():
            mark, _, sha = content.partition(SHA)
            if not sha and not content.startswith(STAT):
                places = places or dict(_files(spec, entry, path))
                if name not in places:
                    raise DataError(f"{spec.name}: input {entry.name}: {name} was there a moment ago; run again")
                sha = self._digests.sha256(places[name])
            found.append((_portable(name), mark[:1] == "x", sha or content))
        return sorted(found)

    def check_present(self, spec: TaskSpec) -> None:
        """Raise DataError for an input that the lock knows but that is not here: a key can be taken, a command cannot run."""
        for entry in spec.inputs:
            for path in entry.paths:
                here = dict(_files(spec, entry, path))
                if path in entry.made or (here and entry.fingerprint != "lock"):
                    continue
                absent = [name for name in self._locked(spec, path) if name not in here]
                if absent:
                    shown = path if absent[0] == path else f"{absent[0]} of {path}"
                    raise DataError(
                        f"{spec.name}: input {entry.name}: {shown} is in inputs.lock but not here, and no cache "
                        "has what would be built from it; get the data, or share the cache of a machine that has it"
                    )

    def _of_content(self, spec: TaskSpec, entry: Input, path: str) -> dict[str, str]:
        contents = {name: self._digests.content(file) for name, file in _files(spec, entry, path)}
        if not contents and path not in entry.made:  # on a machine without the data the lock tells what it would be
            return {name: SHA + sha for name, (_, sha) in sorted(self._locked(spec, path).items())}
        return {name: content for name, content in contents.items() if content is not None}

    def _of_stat(self, spec: TaskSpec, entry: Input, path: str) -> dict[str, str]:
        """Size and time only: for network mounts whose inodes and change times are not stable."""
        found = {}
        for name, file in _files(spec, entry, path):
            st = os.stat(file)
            found[name] = f"{STAT}{st.st_size} {st.st_mtime_ns}"
        return found

    def _of_lock(self, spec: TaskSpec, entry: Input, path: str) -> dict[str, str]:
        locked = self._locked(spec, path)
        for name, file in _files(spec, entry, path):
            where = f"{spec.name}: input {entry.name}: {os.path.relpath(file, self._root)}"
            if name not in locked:
                raise DataError(f"{where}: must be in inputs.lock, which does not know it; run doit lock")
            size, sha = locked[name]
            if os.path.getsize(file) != size or self._digests.sha256(file) != sha:
                raise DataError(
                    f"{where}: must be as inputs.lock says, got other content; run doit lock, or restore the file"
                )
        return {name: SHA + sha for name, (_, sha) in sorted(locked.items())}

    def _locked(self, spec: TaskSpec, path: str) -> dict[str, tuple[int, str]]:
        """What the lock has of one path: name -> size, SHA-256."""
        from tzrec_build.graph.input_lock import lock_path, locked_files, read_lock

        xxh = self._digests.xxh(lock_path(self._root)) or b""
        if self._lock[0] != xxh:
            self._lock = (xxh, read_lock(self._root))
        lock = self._lock[1]
        return {name: lock[full] for name, full in locked_files(self._root, lock, spec, path)}


def _files(spec: TaskSpec, entry: Input, path: str) -> list[tuple[str, str]]:
    return find(spec.folder, path, skip=RECORDS if path in entry.made else "")


def _portable(name: str) -> str:
    """A file name as UTF-8 has it, whatever the locale of this process makes of its bytes."""
    return name if name.isascii() else os.fsencode(name).decode("utf-8", "surrogateescape")
