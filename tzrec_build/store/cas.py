"""Content-addressed store: a file is kept under the SHA-256 of its bytes, and every byte is checked on the way out.

Layout below the root: ``objects/ab/cdef..`` (whole objects, read-only) and ``tmp/`` (files being written). An object appears
by rename, so it is whole or not there; a mode bit or a time is never trusted.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import stat
import time
from dataclasses import dataclass
from pathlib import Path

from tzrec_build.errors import CorruptError
from tzrec_build.faults import fault_point

BUFFER_BYTES = 1 << 20
FICLONE = 0x40049409  # linux/fs.h: share the extents of another file (btrfs, xfs, bcachefs, ...)
STALE_TEMP_S = 24 * 3600.0
_NO_CLONE = {errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.ENOSYS, errno.EPERM, errno.EACCES}


@dataclass(frozen=True, slots=True)
class Blob:
    """Name and length of one object: SHA-256 in hexadecimal, bytes."""

    sha256: str
    size: int


class ObjectStore:
    """Objects below one folder; safe for any number of processes at once, and after a kill at any moment.

    Args:
        root: the folder; made when the first object is put.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def path_of(self, sha256: str) -> Path:
        """Name the place of an object, present or not."""
        return self.root / "objects" / sha256[:2] / sha256[2:]

    def has(self, blob: Blob) -> bool:
        """Say whether an object of this name and length is there; its bytes are checked by `get` only."""
        try:
            return self.path_of(blob.sha256).stat().st_size == blob.size
        except OSError:
            return False

    def put(self, source: Path) -> Blob:
        """Keep the content of a file, whatever happens to the file later.

        The digest is that of the bytes kept, so a file that changes meanwhile cannot get a wrong name. An object already
        there stays, unless its length is wrong.

        Raises:
            OSError: the source cannot be read or the disk is full; nothing is kept then.
        """
        temp = self._new_temp()
        try:
            with source.open("rb") as reader, temp.open("w+b") as writer:
                blob = copy_hashed(reader.fileno(), writer.fileno())
                if not self.has(blob):
                    os.fchmod(writer.fileno(), 0o444)
                    os.fsync(writer.fileno())
                    target = self.path_of(blob.sha256)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    fault_point("blob.before")
                    temp.replace(target)
                    fault_point("blob.after")
        finally:
            temp.unlink(missing_ok=True)
        return blob

    def get(self, blob: Blob, target: Path, mode: int) -> None:
        """Write an object to a new file and check every byte of it.

        Args:
            blob: what is wanted.
            target: must not exist; its folder must.
            mode: permission bits, less the umask.

        Raises:
            CorruptError: the object is missing or damaged. A damaged one is removed, so that the next `put` heals the store.
            OSError: the target cannot be written. The target does not exist after either error.
        """
        source = self.path_of(blob.sha256)
        try:
            reader = os.open(source, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError as err:
            raise CorruptError(f"{source}: object must be readable, got {err.strerror}") from err
        try:
            found = _write_new(reader, target, mode)
        finally:
            os.close(reader)
        if found != blob:
            target.unlink(missing_ok=True)
            source.unlink(missing_ok=True)
            expected = f"{blob.sha256} of {blob.size} bytes"
            raise CorruptError(
                f"{source}: object is damaged, expected {expected}, got {found.sha256} of {found.size} bytes"
            )

    def write_whole(self, target: Path, data: bytes) -> None:
        """Write a small file below the root by way of ``tmp/``: synced, then renamed over what was there."""
        temp = self._new_temp()
        try:
            with temp.open("wb") as writer:
                writer.write(data)
                writer.flush()
                os.fsync(writer.fileno())
            target.parent.mkdir(parents=True, exist_ok=True)
            temp.replace(target)
        finally:
            temp.unlink(missing_ok=True)

    def remove_stale_temps(self, now_s: float) -> int:
        """Remove what killed processes left in ``tmp/`` more than a day before `now_s`; return how many files."""
        removed = 0
        try:
            for entry in os.scandir(self.root / "tmp"):
                if now_s - entry.stat(follow_symlinks=False).st_mtime > STALE_TEMP_S:
                    os.unlink(entry.path)
                    removed += 1
        except FileNotFoundError:  # no store yet, or another process sweeps too
            pass
        return removed

    def _new_temp(self) -> Path:
        folder = self.root / "tmp"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{os.getpid()}-{time.time_ns()}-{os.urandom(4).hex()}"


def copy_hashed(reader: int, writer: int) -> Blob:
    """Copy one open file into another, empty one and name what was written; shares extents where the disk can.

    Args:
        reader: file descriptor, at its start.
        writer: file descriptor open for reading too, because a clone is named by what it then holds.
    """
    if _clone(reader, writer):
        return _pump(writer, -1)
    return _pump(reader, writer)


def is_executable(path: Path) -> bool:
    """Say whether the owner of a file may execute it."""
    return bool(path.stat().st_mode & stat.S_IXUSR)


def _write_new(reader: int, target: Path, mode: int) -> Blob:
    """Copy an open object into a file that did not exist; on an error the file is gone again."""
    writer = os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    try:
        return copy_hashed(reader, writer)
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    finally:
        os.close(writer)


def _clone(reader: int, writer: int) -> bool:
    """Share the extents of `reader` with `writer`; False where the file system cannot."""
    try:
        fcntl.ioctl(writer, FICLONE, reader)
    except OSError as err:
        if err.errno in _NO_CLONE:
            return False
        raise
    return True


def _pump(reader: int, writer: int) -> Blob:
    """Hash everything that `reader` still has, writing it to `writer` unless that is -1."""
    digest, size, buffer = hashlib.sha256(), 0, memoryview(bytearray(BUFFER_BYTES))
    while count := os.readv(reader, [buffer]):
        piece = buffer[:count]
        digest.update(piece)
        size += count
        while writer >= 0 and piece:
            piece = piece[os.write(writer, piece) :]
    return Blob(digest.hexdigest(), size)
