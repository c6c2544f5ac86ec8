"""Child processes of the build: own process group, dies with its parent, log to a file, progress lines to the console.

Nothing that a command started outlives it, not even in a session of its own: the build is the "subreaper" of its children, so an
orphan becomes its child, and a marker in the environment says of which command it was (see guard.py for a build that is killed).
"""

from __future__ import annotations

import fcntl
import itertools
import os
import select
import signal
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

from tzrec_build.errors import BuildError
from tzrec_build.graph import guard

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
GRACE_S = 3.0  # between SIGTERM and SIGKILL; all in all a build ends within 5 s of Ctrl-C
POLL_S = 0.02
LINGER_S = (
    0.5  # for what a command's helpers still print after it has ended (`exec > >(tee ..)`); then they are ended too
)
CHUNK_BYTES = 1 << 16
TAIL_LINES = 20
# What a command may see of the caller's environment, besides the variables that its rule declares: where programs and
# certificates lie, how to print, how pip reaches its index, which accelerator is meant. None of it may change an output.
PASSED = (
    *(
        "PATH",
        "HOME",
        "USER",
        "LANG",
        "LC_ALL",
        "LC_CTYPE",
        "TERM",
        "TMPDIR",
        "LD_LIBRARY_PATH",
        "CUDA_VISIBLE_DEVICES",
    ),
    *(
        "PIP_INDEX_URL",
        "PIP_EXTRA_INDEX_URL",
        "PIP_FIND_LINKS",
        "PIP_CONFIG_FILE",
        "PIP_CACHE_DIR",
        "PIP_CERT",
        "PIP_NO_INDEX",
        "PIP_PROXY",
        "PIP_RETRIES",
        "PIP_TIMEOUT",
        "PIP_TRUSTED_HOST",
    ),
    *(
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "NO_PROXY",
        "http_proxy",
        "https_proxy",
        "no_proxy",
        "ALL_PROXY",
        "all_proxy",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
    ),
    *("REQUESTS_CA_BUNDLE", "XDG_CACHE_HOME"),
)

_running: set[subprocess.Popen[bytes]] = set()
_lock = threading.Lock()
_stopping = threading.Event()
_counter = itertools.count()
_build: list[Any] = []  # once the first command ran: libc, the marker of this build, the guard's process id


class CommandError(BuildError):
    """A command did not end well.

    Args:
        text: what a person reads.
        code: its exit code, negative for a signal; None when it was stopped with the build, which is no reason to try again.
    """

    def __init__(self, text: str, code: int | None) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True, slots=True)
class Command:
    """What to run.

    Attributes:
        argv: program and arguments.
        cwd: working folder.
        env: the whole environment of the child.
        log_path: file that gets stdout and stderr, in the order written.
        timeout_s: seconds after which the group is ended; 0 for none.
        heading: line in front of what it prints; the log is then continued, not begun.
    """

    argv: tuple[str, ...]
    cwd: str
    env: Mapping[str, str]
    log_path: str
    timeout_s: float = 0.0
    heading: str = ""


def environment(declared: tuple[str, ...], threads: int, root: str) -> dict[str, str]:
    """Environment of a command: the fixed pass-through list, the declared variables, thread counts, a fixed hash seed."""
    env = {name: os.environ[name] for name in (*PASSED, *declared) if name in os.environ}
    env.update(dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads)))
    env.update(PYTHONHASHSEED="0", PYTHONUNBUFFERED="1", PYTHONPATH=root, OMP_WAIT_POLICY="PASSIVE", MPLBACKEND="Agg")
    return env


def _ignore(_pid: int) -> None:
    """Nobody wants to know."""


def run(command: Command, on_line: Callable[[str], None], on_start: Callable[[int], None] = _ignore) -> None:
    """Run a command to its end, line by line into its log; what it left in the background ends with it.

    Args:
        command: what to run.
        on_line: called with each line as it is printed.
        on_start: called with its process id.
    Raises:
        CommandError: it failed, ran past its time limit or was stopped; the text holds the tail of its log.
        BuildError: it cannot be started.
    """
    if _stopping.is_set():
        raise CommandError("stopped before it started", None)
    os.makedirs(os.path.dirname(command.log_path), exist_ok=True)
    mark = f"{_own_build()}.{next(_counter)}."
    with open(command.log_path, "ab" if command.heading else "wb") as log:
        if command.heading:
            log.write(f"{command.heading}\n".encode())
        printed = _Printed(log, on_line)
        process = _start(command, mark)
        with _lock:
            _running.add(process)
        on_start(process.pid)
        timed_out = threading.Event()
        timer = threading.Timer(command.timeout_s, _time_out, (process, timed_out)) if command.timeout_s else None
        if timer:
            timer.daemon = True
            timer.start()
        try:
            _follow(process, printed)
        finally:
            if timer:
                timer.cancel()
            code = process.wait()
            with _lock:
                _running.discard(process)
            _end_strays(mark, process.pid)
    if code:
        raise _failure(command, code, printed.tail, timed_out=timed_out.is_set())


def _failure(command: Command, code: int, tail: list[str], *, timed_out: bool) -> CommandError:
    if _stopping.is_set():
        return CommandError("stopped", None)
    cause = f"ran longer than {command.timeout_s:.0f} s" if timed_out else _cause(code)
    lines = "\n".join(f"    {line}" for line in tail)
    return CommandError(f"{cause}; the end of its log ({command.log_path}):\n{lines}", code)


def _own_build() -> str:
    """Marker of this build; the first call prepares the process for having children."""
    with _lock:
        if not _build:
            import ctypes  # a no-op needs none

            libc = ctypes.CDLL(None, use_errno=True)
            libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
            mark = f"{os.getpid()}-{time.time_ns()}"
            _build[:] = [libc, mark, guard.start(mark)]
    return str(_build[1])


def _start(command: Command, mark: str) -> subprocess.Popen[bytes]:
    parent, prctl = os.getpid(), _build[0].prctl

    def die_with_parent() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it was killed before the line above
            os._exit(1)

    try:
        return subprocess.Popen(
            command.argv,
            cwd=command.cwd,
            env={**command.env, guard.MARK: mark},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=die_with_parent,  # noqa: PLW1509 - one system call through a library loaded beforehand
        )
    except OSError as err:
        raise BuildError(
            f"{command.argv[0]}: cannot be started ({err.strerror}); is it installed and executable?"
        ) from err


def _end_strays(mark: str, group: int) -> None:
    """End what a command left running outside of its group, and reap all of it: orphans have become children of this process."""
    deadline_s = time.monotonic() + LINGER_S
    while _reap(-group) and time.monotonic() < deadline_s:  # they were killed, which may take the kernel a moment
        time.sleep(POLL_S / 10)
    try:
        with open(f"/proc/self/task/{os.getpid()}/children", "rb") as file:
            children = {int(pid) for pid in file.read().split()}
    except OSError:
        guard.end_marked(mark)  # a kernel that does not list children
        return
    with _lock:
        strays = children - {process.pid for process in _running} - {_build[2]}
    if strays:
        guard.end_marked(mark)
    for pid in strays:
        if _group_of(pid) not in {os.getpgrp(), 0}:  # what others here start is in our own group, and theirs to reap
            _reap(pid)


def _reap(pid: int) -> bool:
    """Reap a dead child (of a group, when negative); whether there may be more."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return False
    return True


def _group_of(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return 0


class _Printed:
    """What a command prints: at once into the log, line by line to the caller, the last lines kept."""

    def __init__(self, log: BinaryIO, on_line: Callable[[str], None]) -> None:
        self._log = log
        self._on_line = on_line
        self._rest = b""
        self.tail: list[str] = []

    def take(self, chunk: bytes) -> None:
        """Take the next bytes; a line that has no end yet waits for it."""
        self._log.write(chunk)
        self._log.flush()
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            self._show(line)

    def end(self) -> None:
        """Nothing follows: show a last line without an end."""
        self._show(self._rest)

    def _show(self, raw: bytes) -> None:
        line = raw.decode(errors="replace").rsplit("\r", 1)[-1]
        if line:
            self.tail = [*self.tail[-(TAIL_LINES - 1) :], line]
            self._on_line(line)


def _follow(process: subprocess.Popen[bytes], printed: _Printed) -> None:
    """Pass on what a command prints until it has ended, then end what it left of its group.

    The end of the pipe is no sign of that: a background process may hold it for ever.
    """
    if process.stdout is None:
        raise RuntimeError("bug: the child has no pipe")
    ended, end = os.pipe()
    watcher = threading.Thread(target=_watch, args=(process, end), daemon=True)
    watcher.start()
    with process.stdout as pipe:
        try:
            _pass_on(pipe.fileno(), ended, printed)
        finally:
            _kill_group(process, signal.SIGKILL)  # the leader is not reaped yet, so the number is still ours
            watcher.join()
            os.close(ended)
        left = int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder)
        if left:
            printed.take(os.read(pipe.fileno(), left))
        printed.end()


def _pass_on(pipe: int, ended: int, printed: _Printed) -> None:
    """Read `pipe` until `ended` is closed, and then until the pipe is closed too or `LINGER_S` are over."""
    poll = select.poll()
    poll.register(pipe, select.POLLIN)
    poll.register(ended, select.POLLIN)
    waiting, deadline_s = {pipe, ended}, float("inf")
    while waiting and (left_s := deadline_s - time.monotonic()) > 0:
        for source, _ in poll.poll(None if ended in waiting else left_s * 1000):
            chunk = os.read(source, CHUNK_BYTES)
            if chunk:
                printed.take(chunk)
                continue
            poll.unregister(source)
            waiting.discard(source)
            if source == ended:
                deadline_s = time.monotonic() + LINGER_S


def _watch(process: subprocess.Popen[bytes], end: int) -> None:
    """Wait for a command itself, which stays to be reaped, and close `end`."""
    try:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    finally:
        os.close(end)


def _cause(code: int) -> str:
    return f"ended by signal {signal.Signals(-code).name}" if code < 0 else f"failed with exit code {code}"


def _kill_group(process: subprocess.Popen[bytes], signum: int) -> None:
    try:
        os.killpg(process.pid, signum)
    except (ProcessLookupError, PermissionError):
        return


def _end(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM, and SIGKILL when the child is still there after the grace period; reaping is left to its own thread."""
    _kill_group(process, signal.SIGTERM)
    deadline_s = time.monotonic() + GRACE_S
    while not _has_ended(process) and time.monotonic() < deadline_s:
        time.sleep(POLL_S)
    if not _has_ended(process):
        _kill_group(process, signal.SIGKILL)


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    try:
        return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None
    except ChildProcessError:
        return True


def _time_out(process: subprocess.Popen[bytes], timed_out: threading.Event) -> None:
    timed_out.set()
    _end(process)


def end_all() -> None:
    """End every running command: SIGTERM to its group, SIGKILL after the grace period. No new one starts afterwards."""
    _stopping.set()
    with _lock:
        processes = list(_running)
    enders = [threading.Thread(target=_end, args=(process,)) for process in processes]
    for ender in enders:
        ender.start()
    for ender in enders:
        ender.join()


def pause(seconds: float) -> bool:
    """Wait, and return early with True when the build is being stopped."""
    return _stopping.wait(seconds)
