"""Work folder, swap and locks: an artifact is whole or not there, and two builds never make the same one at once."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from fnmatch import fnmatch

from tzrec_build.errors import BuildError
from tzrec_build.graph.digests import is_glob, walk
from tzrec_build.graph.spec import RECORDS, TaskSpec

RENAME_EXCHANGE = 2
AT_FDCWD = -100
WORK = ".work"  # beside the artifacts, so that a swap is a rename on one file system
_libc = ctypes.CDLL(None, use_errno=True)


def work_folder(spec: TaskSpec, key: str) -> str:
    """Folder in which a task with this key works, relative to the pipeline's folder; visible while it runs."""
    return f"{os.path.dirname(spec.out)}/{WORK}/{spec.artifact}/{key[:16]}"


def fresh_out(spec: TaskSpec, work: str) -> str:
    """Make the empty ``out`` folder of a work folder, with the folders of named outputs, and return its absolute path."""
    out = os.path.join(spec.folder, work, "out")
    shutil.rmtree(out, ignore_errors=True)
    os.makedirs(out)
    for _, file in spec.outputs:
        if not is_glob(file):
            os.makedirs(os.path.dirname(os.path.join(out, file)), exist_ok=True)
    return out


def check_promised(spec: TaskSpec, out: str) -> None:
    """Raise BuildError when the command ended well but an output is missing, or is no regular file."""
    files = walk(out, skip=RECORDS)
    tops = {path.partition("/")[0] for path in files}
    for _, promised in spec.outputs:
        there = (
            any(fnmatch(top, promised) for top in tops) if is_glob(promised) else os.path.lexists(f"{out}/{promised}")
        )
        if not there:
            raise BuildError(f"{spec.name}: the command ended well but made no {promised!r}; see {out}")
    for path in files:
        if os.path.islink(f"{out}/{path}") or not os.path.isfile(f"{out}/{path}"):
            raise BuildError(
                f"{spec.name}: output {path!r} is not a regular file; write its content, a link leads outside"
            )


def swap(spec: TaskSpec, out: str) -> None:
    """Put a finished ``out`` in the place of the artifact in one step, and drop the old one.

    Linux exchanges the two folders atomically (renameat2); where the file system cannot, the old one is moved aside first,
    so that a kill in between leaves no artifact, never half of one.
    """
    target = os.path.join(spec.folder, spec.out)
    os.makedirs(os.path.dirname(target), exist_ok=True)
    old = out + ".old"
    shutil.rmtree(old, ignore_errors=True)
    if os.path.isdir(target) and _exchange(out, target):
        os.rename(out, old)
    else:
        if os.path.lexists(target):
            os.rename(target, old)
        os.rename(out, target)
    remove(old)


def _exchange(one: str, other: str) -> bool:
    code = _libc.renameat2(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE)
    if code == 0:
        return True
    if ctypes.get_errno() in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
        return False
    raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), other)


def remove(path: str) -> None:
    """Remove a file or folder if it is there."""
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def drop_work(spec: TaskSpec, work: str) -> None:
    """Remove what is left of a task's work, earlier failures too, after its artifact was published.

    The folder above belongs to all tasks of the pipeline and stays: another one may be about to work in it.
    """
    shutil.rmtree(os.path.dirname(os.path.join(spec.folder, work)), ignore_errors=True)


@contextlib.contextmanager
def task_lock(state_folder: str, task: str, on_wait: object = None) -> Iterator[None]:
    """Hold the lock of one task; waits while another build of this workspace makes it (the kernel drops it with its holder)."""
    folder = os.path.join(state_folder, "locks")
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, task.replace("/", "_")), "w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if callable(on_wait):
                    on_wait("another build makes this artifact now; waiting for it")
                    on_wait = None
                time.sleep(0.1)
        yield
