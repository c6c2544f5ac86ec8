"""Digests of files and folders, each file read once however many tasks use it.

A row of the digest table is good while path, device, inode, size, mtime_ns and ctime_ns are unchanged. A file that is as new as
its reading (within `RACY_NS`) may change again without a new stamp, so its row is not trusted the next time ("racily clean").
"""

from __future__ import annotations

import glob
import hashlib
import os
import stat
import time

from tzrec_build.errors import DataError
from tzrec_build.graph.state import State

RACY_NS = 20_000_000  # coarser than the time stamps of ext4, xfs and tmpfs at 250 Hz (4 ms)
CHUNK_BYTES = 1 << 20
BYTECODE = "__pycache__"  # made by whoever imports a module; never content
_GLOB_MARKS = frozenset("*?[")


class Digests:
    """Digest table of one process over the committed one.

    xxh3-128 answers "did it change here"; SHA-256 names content in action keys and in the store.
    """

    def __init__(self, state: State) -> None:
        self._state = state

    def xxh(self, path: str) -> bytes | None:
        """xxh3-128 of a file's content, from the table when its stat values are unchanged; None when it is not there."""
        return self._look(path)[1]

    def content(self, path: str) -> str | None:
        """What counts of a file: ``x`` when it is executable, then its xxh3-128 in hex; None when it is not there."""
        mode, xxh = self._look(path)
        return None if xxh is None else ("x" if mode & stat.S_IXUSR else "") + xxh.hex()

    def _look(self, path: str) -> tuple[int, bytes | None]:
        try:
            st = os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            return 0, None
        row = self._state.files.get(path)
        if (
            row is not None
            and row[3] == st.st_mtime_ns
            and row[4] == st.st_ctime_ns
            and row[2] == st.st_size
            and row[1] == st.st_ino
            and row[0] == st.st_dev
        ):
            return st.st_mode, row[5]
        return st.st_mode, self._read(path, with_sha=False)[0]

    def sha256(self, path: str) -> str:
        """SHA-256 (hex) of a file's content, from the table when it is known for the present content."""
        if self.xxh(path) is None:
            raise DataError(f"{path}: no such file; it was there a moment ago, run again")
        row = self._state.files.get(path)
        if row is not None and row[6] is not None:
            return row[6]
        return self._read(path, with_sha=True)[1]

    def known_sha256(self, path: str) -> str:
        """SHA-256 of a file's present content if the table has it, else ""; nothing is read."""
        row = self._state.files.get(path)
        try:
            return row[6] or "" if row is not None and row[:5] == _stamp(os.stat(path)) else ""
        except OSError:
            return ""

    def note_sha256(self, path: str, sha256: str) -> None:
        """Keep the SHA-256 of a file that was just read for another purpose, if its row is that of its present content."""
        row = self._state.files.get(path)
        if row is not None and row[6] is None and row[:5] == _stamp(os.stat(path)):
            self._state.set_file(path, (*row[:6], sha256))

    def _read(self, path: str, *, with_sha: bool) -> tuple[bytes, str]:
        import xxhash

        fast, slow = xxhash.xxh3_128(), hashlib.sha256()
        try:
            with open(path, "rb", buffering=0) as file:
                before = os.fstat(file.fileno())
                buffer = memoryview(bytearray(CHUNK_BYTES))
                while count := file.readinto(buffer):
                    fast.update(buffer[:count])
                    if with_sha:
                        slow.update(buffer[:count])
                after = os.fstat(file.fileno())
        except OSError as err:
            raise DataError(f"{path}: cannot be read ({err.strerror}); check its permissions") from err
        xxh, sha = fast.digest(), slow.hexdigest()
        still = _stamp(before) == _stamp(after)
        racy = time.time_ns() - max(after.st_mtime_ns, after.st_ctime_ns) < RACY_NS
        if still and not racy:
            self._state.set_file(path, (*_stamp(after), xxh, sha if with_sha else None))
        else:
            self._state.files.pop(path, None)
        return xxh, sha

    def tree(self, folder: str, skip: str = "") -> dict[str, str]:
        """Content of a folder: relative path -> mode bit and xxh3-128 in hex, sorted; empty when the folder is not there.

        Args:
            folder: an absolute path.
            skip: a first-level folder that does not count (the records of an artifact).
        """
        contents = {path: self.content(f"{folder}/{path}") for path in walk(folder, skip)}
        return {path: content for path, content in contents.items() if content is not None}

    def moved(self, old: str, new: str) -> None:
        """Keep the row of a file whose folder was renamed: its inode and stamps are the same, only its path is another."""
        self._state.move_file(old, new)


def _stamp(st: os.stat_result) -> tuple[int, int, int, int, int]:
    return st.st_dev, st.st_ino, st.st_size, st.st_mtime_ns, st.st_ctime_ns


def walk(folder: str, skip: str = "") -> list[str]:
    """Relative paths of every file below a folder, sorted, slashes forward; without bytecode and without `skip`, a first-level folder."""
    found: list[str] = []
    stack = [""]
    while stack:
        inside = stack.pop()
        try:
            entries = list(os.scandir(os.path.join(folder, inside)))
        except (FileNotFoundError, NotADirectoryError):
            continue
        for entry in entries:
            path = inside + entry.name
            if entry.is_dir():
                if path != skip and entry.name != BYTECODE:
                    stack.append(path + "/")
            else:
                found.append(path)
    found.sort()
    return found


def is_glob(path: str) -> bool:
    """Whether a path is a pattern."""
    return not _GLOB_MARKS.isdisjoint(path)


def find(base: str, pattern: str, skip: str = "") -> list[tuple[str, str]]:
    """Files that one path of a pipeline names, sorted.

    Args:
        base: folder that the path is relative to, absolute.
        pattern: a file, a folder (everything in it but `skip`) or a glob.
        skip: a first-level folder of a named folder that does not count.
    Returns:
        Pairs of (name of the file as seen from what the path names: its base name, or its path below the folder or below
        the part of the glob without marks; absolute path). Empty when nothing is there.
    """
    if not is_glob(pattern):
        path = os.path.normpath(os.path.join(base, pattern))
        if os.path.isdir(path):
            return [(name, f"{path}/{name}") for name in walk(path, skip)]
        return [(os.path.basename(path), path)] if os.path.exists(path) else []
    parts = pattern.split("/")
    literal = next(i for i, part in enumerate(parts) if is_glob(part))
    root = os.path.normpath(os.path.join(base, "/".join(parts[:literal]) or ("/" if pattern.startswith("/") else "")))
    found: list[tuple[str, str]] = []
    for hit in sorted(glob.glob("/".join(parts[literal:]), root_dir=root, recursive=True)):
        path = f"{root}/{hit}"
        names = [f"{hit}/{name}" for name in walk(path, skip)] if os.path.isdir(path) else [hit]
        found += [(name, f"{root}/{name}") for name in names]
    return found
