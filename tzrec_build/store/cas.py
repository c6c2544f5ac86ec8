"""Content-addressed store: a file is kept under the SHA-256 of its bytes, and every byte is checked on the way out.

Layout below the root: ``objects/ab/cdef..`` (whole objects, read-only) and ``tmp/`` (files being written). An object appears
by rename, so it is whole or not there; a mode bit or a time is never trusted.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

from tzrec_build.errors import CorruptError
from tzrec_build.faults import fault_point
from tzrec_build.store.transfer import Blob, ReadError, copy_hashed, hash_file, link_file

STALE_TEMP_S = 24 * 3600.0


class ObjectStore:
    """Objects below one folder; safe for any number of processes at once, and after a kill at any moment.

    Args:
        root: the folder; made when the first object is put.
        share: whether extents may be shared with the files that are put and restored.
    """

    def __init__(self, root: Path, *, share: bool = True) -> None:
        self.root = root
        self._share = share

    def path_of(self, sha256: str) -> Path:
        """Name the place of an object, present or not."""
        return self.root / "objects" / sha256[:2] / sha256[2:]

    def _place(self, sha256: str) -> str:
        return f"{self.root}/objects/{sha256[:2]}/{sha256[2:]}"

    def has(self, blob: Blob) -> bool:
        """Say whether an object of this name and length is there; its bytes are checked by `get` only."""
        try:
            return os.stat(self._place(blob.sha256)).st_size == blob.size
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
            with source.open("rb", buffering=0) as reader, temp.open("w+b", buffering=0) as writer:
                blob = copy_hashed(reader.fileno(), writer.fileno(), share=self._share)
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
        source = self._place(blob.sha256)
        try:
            reader = os.open(source, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError as err:
            raise CorruptError(f"{source}: object must be readable, got {err.strerror}") from err
        try:
            found = self._write_new(reader, str(target), mode)
        except ReadError as err:
            raise CorruptError(f"{source}: object must be readable, got {err.strerror}") from err
        finally:
            os.close(reader)
        self._check(blob, found, target)

    def link(self, blob: Blob, target: Path, mode: int) -> None:
        """Make `target` one file with the object, every byte of it checked; a copy where that cannot be, or must not.

        An executable output is copied: the object's mode is that of all its names. So is everything for root, who writes
        through a read-only mode.

        Raises:
            CorruptError, OSError: as `get`.
        """
        source = self._place(blob.sha256)
        try:
            linked = not mode & 0o111 and os.geteuid() != 0 and link_file(source, str(target))
        except FileNotFoundError as err:
            raise CorruptError(f"{source}: object must be readable, got {err.strerror}") from err
        if not linked:
            self.get(blob, target, mode)
            return
        try:
            found = hash_file(target)
        except OSError as err:
            target.unlink()
            raise CorruptError(f"{source}: object must be readable, got {err.strerror}") from err
        self._check(blob, found, target)

    def _check(self, blob: Blob, found: Blob, target: Path) -> None:
        """Refuse a restored file that is not what its name says; the object goes too."""
        if found == blob:
            return
        source = self.path_of(blob.sha256)
        target.unlink(missing_ok=True)
        source.unlink(missing_ok=True)
        expected = f"{blob.sha256} of {blob.size} bytes"
        raise CorruptError(
            f"{source}: object is damaged, expected {expected}, got {found.sha256} of {found.size} bytes"
        )

    def _write_new(self, reader: int, target: str, mode: int) -> Blob:
        """Copy an open object into a file that did not exist; on an error the file is gone again, and named by the error."""
        writer = os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
        try:
            return copy_hashed(reader, writer, share=self._share)
        except BaseException as err:
            os.unlink(target)
            if isinstance(err, OSError) and err.filename is None and not isinstance(err, ReadError):
                err.filename = target
            raise
        finally:
            os.close(writer)

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

    def objects(self) -> Iterator[tuple[str, int]]:
        """List what is there, unchecked: name and length of each object, sorted by name."""
        for folder in _names(f"{self.root}/objects"):
            for name in _names(f"{self.root}/objects/{folder}"):
                try:
                    yield folder + name, os.lstat(f"{self.root}/objects/{folder}/{name}").st_size
                except FileNotFoundError:  # another process just took it
                    continue

    def _new_temp(self) -> Path:
        folder = self.root / "tmp"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{os.getpid()}-{time.time_ns()}-{os.urandom(4).hex()}"


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return []
