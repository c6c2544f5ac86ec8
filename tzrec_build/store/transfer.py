"""Moves the bytes of one file and names them on the way: shared extents where the file system can, else a copy that hashes.

A copy of a large file runs on two threads: one reads and writes, the other takes the SHA-256 of the same buffers, so that a byte
is read once and the slower of the two decides the time.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import hashlib
import os
import stat
import threading
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

BUFFER_BYTES = 1 << 20
BUFFERS = 4  # of a copy on two threads; more only leave the processor's cache
LARGE_BYTES = 4 << 20  # from here on a second thread costs less than it saves
FICLONE = 0x40049409  # linux/fs.h: share the extents of another file (btrfs, xfs, bcachefs, ...)
KEEP_SIZE = 1  # linux/falloc.h; with the size set at once, a power cut could leave a file of zeros that looks complete
_NO_CLONE = {errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.ENOSYS, errno.EPERM, errno.EACCES}
_NO_LINK = {errno.EOPNOTSUPP, errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOSYS}
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Blob:
    """Name and length of one object: SHA-256 in hexadecimal, bytes."""

    sha256: str
    size: int


class ReadError(OSError):
    """The file that is copied cannot be read (the one that is written has nothing to do with it)."""


def copy_hashed(reader: int, writer: int, *, share: bool = True) -> Blob:
    """Copy one open file into another, empty one and name what was written.

    Args:
        reader: file descriptor, at its start.
        writer: file descriptor open for reading too, because a clone is named by what it then holds.
        share: whether extents may be shared where the file system can.

    Raises:
        ReadError: the file at `reader` cannot be read.
        OSError: the other one cannot be written.
    """
    if share and _clone(reader, writer):
        return hash_open(writer)
    size = os.fstat(reader).st_size
    if size < LARGE_BYTES:
        return _pump(reader, writer)
    _reserve(writer, size)
    return _pump_on_two_threads(reader, writer)


def hash_open(reader: int) -> Blob:
    """Name what an open file holds from its present position on."""
    return _pump(reader, -1)


def hash_file(path: str | os.PathLike[str]) -> Blob:
    """Name what a file holds; a link is refused with OSError."""
    reader = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        return hash_open(reader)
    finally:
        os.close(reader)


def link_file(source: str, target: str) -> bool:
    """Make `target` a second name of `source`; False where the file system cannot."""
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError as err:
        if err.errno in _NO_LINK:
            return False
        raise
    return True


def is_executable(path: Path) -> bool:
    """Say whether the owner of a file may execute it."""
    return bool(path.stat().st_mode & stat.S_IXUSR)


def _clone(reader: int, writer: int) -> bool:
    """Share the extents of `reader` with `writer`; False where the file system cannot."""
    try:
        fcntl.ioctl(writer, FICLONE, reader)
    except OSError as err:
        if err.errno in _NO_CLONE:
            return False
        raise
    return True


def _reserve(writer: int, size: int) -> None:
    """Take the space at once, so that a full disk says so before anything is copied; where it cannot, writing will tell."""
    code = _libc.fallocate(writer, KEEP_SIZE, ctypes.c_longlong(0), ctypes.c_longlong(size))
    if code and ctypes.get_errno() == errno.ENOSPC:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _pump(reader: int, writer: int) -> Blob:
    """Hash everything that `reader` still has, writing it to `writer` unless that is -1."""
    room = min(os.fstat(reader).st_size + 1, BUFFER_BYTES)  # to clear 1 MB takes longer than to hash a small file
    digest, size, buffer = hashlib.sha256(), 0, memoryview(bytearray(room))
    while count := _read(reader, buffer):
        digest.update(buffer[:count])
        size += count
        if writer >= 0:
            _write(writer, buffer[:count])
    return Blob(digest.hexdigest(), size)


def _pump_on_two_threads(reader: int, writer: int) -> Blob:
    """The same as `_pump`, the digest taken on a thread of its own."""
    free: SimpleQueue[memoryview] = SimpleQueue()
    full: SimpleQueue[tuple[memoryview, int] | None] = SimpleQueue()
    for _ in range(BUFFERS):
        free.put(memoryview(bytearray(BUFFER_BYTES)))
    digest, size = hashlib.sha256(), 0
    hasher = threading.Thread(target=_hash_all, args=(full, free, digest), daemon=True)
    hasher.start()
    try:
        while True:
            buffer = free.get()
            count = _read(reader, buffer)
            if not count:
                break
            size += count
            full.put((buffer, count))  # may be free again before it is written; only this thread fills it again
            _write(writer, buffer[:count])
    finally:
        full.put(None)
        hasher.join()
    return Blob(digest.hexdigest(), size)


def _hash_all(
    full: SimpleQueue[tuple[memoryview, int] | None], free: SimpleQueue[memoryview], digest: hashlib._Hash
) -> None:
    while (item := full.get()) is not None:
        buffer, count = item
        digest.update(buffer[:count])
        free.put(buffer)


def _read(reader: int, buffer: memoryview) -> int:
    try:
        return os.readv(reader, [buffer])
    except OSError as err:
        raise ReadError(err.errno, err.strerror) from err


def _write(writer: int, piece: memoryview) -> None:
    while piece:
        piece = piece[os.write(writer, piece) :]
