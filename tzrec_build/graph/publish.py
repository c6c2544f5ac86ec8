"""Work folder and swap: an artifact is whole or not there."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import time
from collections.abc import Iterable
from fnmatch import fnmatch
from typing import Any

from tzrec_build.errors import BuildError
from tzrec_build.faults import fault_point
from tzrec_build.graph.digests import is_glob, walk
from tzrec_build.graph.spec import RECORDS, TaskSpec

RENAME_EXCHANGE = 2
AT_FDCWD = -100
WORK = ".work"  # beside the artifacts, so that a swap is a rename on one file system
RESUME = "resume"  # complete checkpoints of a training that was cut off, in its work folder
RESUME_KEPT_S = 14 * 86400.0  # so long a training that was cut off can go on, whatever was built after it
_libc: list[Any] = []


def work_folder(spec: TaskSpec, key: str) -> str:
    """Folder in which a task with this key works, relative to the pipeline's folder; visible while it runs."""
    return f"{os.path.dirname(spec.out)}/{WORK}/{spec.artifact}/{key[:16]}"


def fresh_out(spec: TaskSpec, work: str) -> str:
    """Make the empty ``out`` folder of a work folder, with the folders of named outputs, and return its absolute path."""
    out = os.path.join(spec.folder, work, "out")
    if os.path.islink(out):
        os.unlink(out)
    shutil.rmtree(out, ignore_errors=True)
    os.makedirs(out)
    for _, file in spec.outputs:
        if not is_glob(file):
            os.makedirs(os.path.dirname(os.path.join(out, file)), exist_ok=True)
    return out


def lacking(spec: TaskSpec, out: str, files: Iterable[str]) -> list[str]:
    """Promised outputs that are not there.

    Args:
        spec: the task.
        out: the artifact's folder, wherever it lies.
        files: the files below it.
    """
    tops = {path.partition("/")[0] for path in files}
    return [
        promised
        for _, promised in spec.outputs
        if not (
            any(fnmatch(top, promised) for top in tops) if is_glob(promised) else os.path.lexists(f"{out}/{promised}")
        )
    ]


def check_promised(spec: TaskSpec, out: str) -> None:
    """Raise BuildError when the command ended well but an output is missing, or is nothing that a cache can bring back."""
    _check_links(spec, out)
    files = walk(out, skip=RECORDS)
    for promised in lacking(spec, out, files):
        raise BuildError(f"{spec.name}: the command ended well but made no {promised!r}; see {out}")
    for _, promised in spec.outputs:
        if not is_glob(promised) and os.path.isdir(f"{out}/{promised}") and not walk(f"{out}/{promised}"):
            raise BuildError(
                f"{spec.name}: output {promised!r} is a folder without files, which nothing keeps; write a file into it"
            )
    for path in files:
        if os.path.islink(f"{out}/{path}") or not os.path.isfile(f"{out}/{path}"):
            raise BuildError(
                f"{spec.name}: output {path!r} is not a regular file; write its content, a link leads outside"
            )
        if not _is_portable(path):
            raise BuildError(f"{spec.name}: output {path!r} must have a name in UTF-8 without backslashes; rename it")


def drop_empty_folders(out: str) -> None:
    """Remove folders without files: a cache keeps files, and what is built must be what is restored."""
    for folder, _, _ in os.walk(out, topdown=False):
        if folder != out and not os.listdir(folder):
            os.rmdir(folder)


def _check_links(spec: TaskSpec, out: str) -> None:
    """Refuse links to folders: what lies behind them is outside, and changes without a sign here."""
    if os.path.islink(out):
        raise BuildError(f"{spec.name}: its output folder became a link; write into the folder {out} itself")
    for folder, names, _ in os.walk(out):
        for name in names:
            if os.path.islink(f"{folder}/{name}"):
                shown = os.path.relpath(f"{folder}/{name}", out)
                raise BuildError(
                    f"{spec.name}: output {shown!r} is a link to a folder; copy the files that it leads to"
                )
    if os.path.lexists(f"{out}/{RECORDS}") and not os.path.isdir(f"{out}/{RECORDS}"):
        raise BuildError(
            f"{spec.name}: {RECORDS!r} in its output folder must be a folder, got a file; choose another name"
        )


def _is_portable(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return "\\" not in path


def aside(out: str) -> str:
    """Where the old artifact lies between the two renames of a swap."""
    return out + ".old"


def swap(spec: TaskSpec, out: str) -> None:
    """Put a finished ``out`` in the place of the artifact in one step, and drop the old one.

    Linux exchanges the two folders atomically (renameat2). Where the file system cannot, the old one is moved aside first; after
    a kill in between the next build finds both in the work folder and moves one of them in (see `intents.settle`).
    """
    target = os.path.join(spec.folder, spec.out)
    os.makedirs(os.path.dirname(target), exist_ok=True)
    old = aside(out)
    remove(old)
    fault_point("swap.before")
    if os.path.isdir(target) and _exchange(out, target):
        fault_point("swap.between")
        os.rename(out, old)
    else:
        if os.path.lexists(target):
            os.rename(target, old)
        fault_point("swap.between")
        os.rename(out, target)
    fault_point("swap.after")
    remove(old)


def _exchange(one: str, other: str) -> bool:
    """Let two paths change places; False where the file system cannot."""
    import ctypes

    if not _libc:
        _libc.append(ctypes.CDLL(None, use_errno=True))
    if os.environ.get("TZREC_NO_EXCHANGE"):  # lets a test of a whole build take the other road
        return False
    code = _libc[0].renameat2(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE)
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


def drop_work(spec: TaskSpec, work: str, *, purge: bool = False) -> None:
    """Remove what is left of a task's work, earlier failures too, after its artifact was published.

    Checkpoints of another training that was cut off stay for a while, unless `purge`. The folder above belongs to all tasks of
    the pipeline and stays: another one may be about to work in it.
    """
    mine = os.path.join(spec.folder, work)
    base = os.path.dirname(mine)
    names = os.listdir(base) if os.path.isdir(base) else []
    others = [os.path.join(base, name) for name in names if os.path.join(base, name) != mine]
    kept = [] if purge else [path for path in others if _can_go_on(path)]
    for path in (mine, *others):
        if path not in kept:
            shutil.rmtree(path, ignore_errors=True)
    if not kept:
        shutil.rmtree(base, ignore_errors=True)


def _can_go_on(work: str) -> bool:
    try:
        return (
            bool(os.listdir(f"{work}/{RESUME}")) and time.time() - os.stat(f"{work}/{RESUME}").st_mtime < RESUME_KEPT_S
        )
    except OSError:
        return False
