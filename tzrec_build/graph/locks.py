"""One lock per task: two builds never make the same artifact at once, and whoever waits knows for whom.

The kernel's lock on the file (flock) is what excludes; it is gone with its holder, a kill included. The text in the file says who
holds it. Where the file lies on a network file system flock may not reach the other machine: there the text counts too, and a
holder on another host is waited for until it ends or ``doit unlock`` removes its lock.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tzrec_build.errors import BuildError
from tzrec_build.faults import fault_point
from tzrec_build.graph import child
from tzrec_build.graph.state_folder import is_remote

POLL_S = 0.1
_NAME_CHARS = 180  # file names end at 255 bytes


@dataclass(frozen=True, slots=True)
class Holder:
    """Who makes a task now, or was killed while doing so.

    Attributes:
        task: the task.
        host: name of the machine.
        boot: its boot id and process name space: a process id means nothing in another one.
        pid: process id of doit.
        start: start time of that process in clock ticks since boot, so that a reused id is not taken for it.
    """

    task: str
    host: str
    boot: str
    pid: int
    start: int

    @property
    def here(self) -> bool:
        """Whether it runs, or ran, on this host."""
        return self.host == os.uname().nodename

    @property
    def alive(self) -> bool:
        """Whether it still runs; a holder that cannot be looked at from here counts as alive."""
        if not self.here or (self.boot != _boot() and self.boot.partition("/")[0] == _boot().partition("/")[0]):
            return True
        return self.boot == _boot() and _start_time(self.pid) == self.start

    def __str__(self) -> str:
        return f"process {self.pid}" + ("" if self.here else f" on {self.host}")


class Lock:
    """A lock that is held."""

    def __init__(self, path: str, fd: int) -> None:
        self._path, self._fd = path, fd

    def check(self) -> None:
        """Raise BuildError when somebody removed the lock by force: another build may work in the same folder now."""
        if not _is_file_at(self._fd, self._path):
            raise BuildError("its lock was removed by doit unlock --force; nothing was published, run again")

    def release(self) -> None:
        """Let the next one in."""
        if _is_file_at(self._fd, self._path):
            os.ftruncate(self._fd, 0)
        os.close(self._fd)


def lock_path(state_folder: str, task: str) -> str:
    """The lock file of a task."""
    name = task.replace("%", "%25").replace("/", "%2F")
    if len(os.fsencode(name)) > _NAME_CHARS:
        import hashlib

        digest = hashlib.sha256(name.encode()).hexdigest()[:16]
        name = f"{os.fsencode(name)[:_NAME_CHARS].decode(errors='ignore')}%{digest}"
    return os.path.join(state_folder, "locks", name)


def holder(state_folder: str, task: str) -> Holder | None:
    """Who holds the lock of a task, or was killed holding it; None when nobody does. Takes no lock itself."""
    try:
        with open(lock_path(state_folder, task), encoding="utf-8") as file:
            return _parsed(file.read())
    except OSError:
        return None


@contextlib.contextmanager
def held(state_folder: str, task: str, on_wait: Callable[[str], None]) -> Iterator[Lock]:
    """Hold the lock of one task; waits while another build makes it.

    Args:
        state_folder: where locks lie, below ``locks/``.
        task: its name.
        on_wait: told once, with the holder, when there is something to wait for.
    Raises:
        BuildError: the build was stopped while it waited, or the file system has no locks.
    """
    fault_point("lock.before")
    lock, told = take(state_folder, task), False
    while lock is None:
        if not told:
            who = holder(state_folder, task)
            on_wait(f"another build makes this artifact now{f' ({who})' if who else ''}; waiting for it")
            told = True
        if child.pause(POLL_S):
            raise BuildError("stopped while it waited for another build")
        lock = take(state_folder, task)
    fault_point("lock.after")
    try:
        yield lock
    finally:
        lock.release()


def take(state_folder: str, task: str) -> Lock | None:
    """Take the lock of a task if nobody holds it; None when somebody does."""
    path = lock_path(state_folder, task)
    while True:
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            continue
        try:
            if not _try_flock(fd, path) or _held_elsewhere(fd, path):
                os.close(fd)
                return None
        except BaseException:
            os.close(fd)
            raise
        if _is_file_at(fd, path):  # else it was unlocked by force between open and flock
            break
        os.close(fd)
    me = Holder(task, os.uname().nodename, _boot(), os.getpid(), _start_time(os.getpid()))
    os.ftruncate(fd, 0)
    os.pwrite(fd, f"{me.host}\n{me.boot}\n{me.pid}\n{me.start}\n{me.task}\n".encode(), 0)
    return Lock(path, fd)


def remove(state_folder: str, task: str, *, force: bool) -> str:
    """Remove the lock of a task, and say what was done.

    Raises:
        BuildError: its holder is alive, or cannot be looked at from here, and `force` is not set.
    """
    found = holder(state_folder, task)
    if found is None:
        return f"{task}: not locked"
    if found.alive and not force:
        where = "runs" if found.here else "cannot be looked at from here"
        raise BuildError(
            f"{task}: held by {found}, which {where}; end it first, or --force if you know that it is gone"
        )
    with contextlib.suppress(FileNotFoundError):
        os.unlink(lock_path(state_folder, task))
    return f"{task}: lock of {found} removed"


def _try_flock(fd: int, path: str) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as err:
        raise BuildError(
            f"{path}: cannot be locked ({err.strerror}); set XDG_STATE_HOME to a folder on a local disk"
        ) from err
    return True


def _held_elsewhere(fd: int, path: str) -> bool:
    """Whether the text in a file that we could lock names another machine that may not have seen our lock."""
    text = os.pread(fd, 4096, 0)
    found = _parsed(text.decode(errors="replace")) if text else None
    return found is not None and not found.here and is_remote(os.path.dirname(path))


def _is_file_at(fd: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path))
    except FileNotFoundError:
        return False


def _parsed(text: str) -> Holder | None:
    lines = text.split("\n")
    if len(lines) < 6 or not (lines[2].isdigit() and lines[3].isdigit()):
        return None  # empty: released; anything else: killed while it wrote
    return Holder(lines[4], lines[0], lines[1], int(lines[2]), int(lines[3]))


_boots: list[str] = []


def _boot() -> str:
    if not _boots:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            _boots.append(f"{file.read().strip()}/{os.readlink('/proc/self/ns/pid')}")
    return _boots[0]


def _start_time(pid: int) -> int:
    """Start of a process in clock ticks since boot; 0 when there is none."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return 0
    return 0 if fields[0] in b"ZX" else int(fields[19])  # a zombie makes nothing any more
