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
        try:
            st = os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        row = self._state.files.get(path)
        if (
            row is not None
            and row[3] == st.st_mtime_ns
            and row[4] == st.st_ctime_ns
            and row[2] == st.st_size
            and row[1] == st.st_ino
            and row[0] == st.st_dev
        ):
            return row[5]
        return self._read(path, with_sha=False)[0]

    def sha256(self, path: str) -> str:
        """SHA-256 (hex) of a file's content, from the table when it is known for the present content."""
        if self.xxh(path) is None:
            raise DataError(f"{path}: no such file; it was there a moment ago, run again")
        row = self._state.files.get(path)
        if row is not None and row[6] is not None:
            return row[6]
        return self._read(path, with_sha=True)[1]

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
        found: dict[str, str] = {}
        for path in walk(folder, skip):
            digest = self.xxh(os.path.join(folder, path))
            if digest is not None:
                found[path] = _mode_mark(os.path.join(folder, path)) + digest.hex()
        return found


def _stamp(st: os.stat_result) -> tuple[int, int, int, int, int]:
    return st.st_dev, st.st_ino, st.st_size, st.st_mtime_ns, st.st_ctime_ns


def _mode_mark(path: str) -> str:
    return "x" if os.stat(path).st_mode & stat.S_IXUSR else ""


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


def expand(base: str, pattern: str, skip: str = "") -> list[str]:
    """Files that one path of a pipeline names: a file, a folder (everything in it but `skip`) or a glob; absolute, sorted.

    An empty list means that nothing is there.
    """
    path = os.path.join(base, pattern)
    hits = sorted(glob.glob(path if is_glob(pattern) else glob.escape(path), recursive=True))
    files: list[str] = []
    for hit in hits:
        files += [os.path.join(hit, name) for name in walk(hit, skip)] if os.path.isdir(hit) else [hit]
    return [os.path.normpath(file) for file in files]
