"""Runs the programs of a set-up: output to the log, progress on stderr, one lock, and no child that outlives its purpose."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TextIO

TAIL_LINES = 12
TICK_S = 1.0
ANSWER_S = 30.0  # nvidia-smi needs seconds on a machine with many devices, and hangs where the driver is broken
PR_SET_PDEATHSIG = 1
STRAGGLER_S = 10.0
GROUP_WIDTH = 20
NOT_PASSED = {"PYTHONHOME", "PYTHONPATH", "PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_DRY_RUN"}


class SetupError(Exception):
    """The set-up cannot go on; the text says where, what and what to do."""


class Runner:
    """Runs programs one after the other and tells what is going on.

    Args:
        log_path: file that gets every program's output, appended.
        lock: descriptor of the held lock; programs inherit it, so that a killed parent's pip still counts as working.
        stream: where progress lines go; stderr, because stdout belongs to doit.
        clock: seconds, monotonic.
    """

    def __init__(
        self, log_path: str, lock: int, stream: TextIO = sys.stderr, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._log_path = log_path
        self._lock = lock
        self._stream = stream
        self._clock = clock
        self._start_s = clock()
        self._line = ""

    def say(self, text: str) -> None:
        """Print one line."""
        print(text, file=self._stream, flush=True)

    def elapsed_s(self) -> float:
        """Return the time since the set-up began."""
        return self._clock() - self._start_s

    @contextmanager
    def timed(self, step: str, title: str) -> Iterator[None]:
        """Show a step while it runs, and the time it took."""
        start_s, self._line = self._clock(), f"  {step:<9} {title:<40}"
        self._stream.write(self._line)
        self._stream.flush()
        try:
            yield
        except BaseException:
            self._stream.write("  failed\n")
            raise
        else:
            self._stream.write(f"{self._back()}{self._clock() - start_s:6.1f} s\n")
        finally:
            self._stream.flush()

    def run(self, command: Sequence[str], remedy: str) -> None:
        """Run a program to its end.

        Args:
            command: program and arguments.
            remedy: what a person can do when it fails.

        Raises:
            SetupError: it cannot be started or does not exit with 0; carries the last lines of its output.
        """
        start_s = self._clock()
        with open(self._log_path, "ab") as log:
            log.write(f"\n$ {' '.join(command)}\n".encode())
            log.flush()
            begin = log.tell()
            try:
                child = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env={name: value for name, value in os.environ.items() if name not in NOT_PASSED},
                    pass_fds=[self._lock],
                    start_new_session=True,
                    preexec_fn=self._before_exec,  # noqa: PLW1509 - one thread, nothing but system calls
                )
            except OSError as err:
                raise SetupError(f"{command[0]}: must be a program, got {err.strerror}; {remedy}") from err
            status = self._wait(child, start_s)
        if status != 0:
            name = " ".join([os.path.basename(command[0]), *command[1:4]])
            took = f"after {self._clock() - start_s:.0f} s"
            raise SetupError(
                f"`{name} ..` exited with {status} {took}:\n{self._tail(begin)}\n{remedy}; whole log: {self._log_path}"
            )

    def succeeds(self, command: Sequence[str]) -> bool:
        """Say whether a small program exits with 0 within half a minute; its output is of no interest."""
        try:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=ANSWER_S, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return False
        return done.returncode == 0

    def _wait(self, child: subprocess.Popen[bytes], start_s: float) -> int:
        """Wait for a program; a terminal sees the seconds go by. An interrupt ends the program first."""
        try:
            while True:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    return child.wait(timeout=TICK_S)
                if self._stream.isatty():
                    self._stream.write(f"{self._back()}{self._clock() - start_s:6.0f} s")
                    self._stream.flush()
        except BaseException:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            raise

    def _before_exec(self) -> None:
        """In the new process: leave the group's number beside the lock, and ask to die when the parent is killed."""
        os.pwrite(self._lock, f"{os.getpid():<{GROUP_WIDTH}}".encode(), 0)
        with contextlib.suppress(AttributeError, OSError):  # not Linux: the inherited lock has to do
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)

    def _back(self) -> str:
        return f"\r{self._line}" if self._stream.isatty() else ""

    def _tail(self, begin: int) -> str:
        with open(self._log_path, "rb") as log:
            log.seek(begin)
            lines = log.read().decode(errors="replace").splitlines()
        return "\n".join(f"  | {line}" for line in lines[-TAIL_LINES:]) or "  | (it said nothing)"


@contextmanager
def locked(path: str, stream: TextIO = sys.stderr) -> Iterator[int]:
    """Hold the set-up's lock; says so when it has to wait. The kernel frees it when the last holder ends, however it ends.

    The file holds the process group of the program that was started last. What is left of it (`python -m venv` and pip start
    further programs, which survive them) is ended, so that nothing writes into .venv behind our back.
    """
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("set-up: another call is at work on .venv, waiting for it", file=stream, flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        group = os.pread(lock, GROUP_WIDTH, 0).strip()
        if group.isdigit():
            _end_stragglers(int(group), os.path.dirname(path))
        yield lock
    finally:
        os.close(lock)


def _end_stragglers(group: int, venv: str) -> None:
    """Kill the processes of a group that run in or on .venv, and wait until they are gone; numbers are used again, hence both.

    Raises:
        SetupError: one of them does not end.
    """
    start_s = time.monotonic()
    while alive := _members(group, venv):
        if time.monotonic() - start_s > STRAGGLER_S:
            raise SetupError(f"process {alive[0]}: is left over from an earlier set-up and does not end; kill it")
        for pid in alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)


def _members(group: int, venv: str) -> list[int]:
    """List the processes of a group that name .venv on their command line; none on systems without /proc."""
    found = []
    for name in os.listdir("/proc") if os.path.isdir("/proc") else []:
        with contextlib.suppress(OSError):  # ended meanwhile, or somebody else's
            if name.isdigit() and os.getpgid(int(name)) == group:
                with open(f"/proc/{name}/cmdline", "rb") as stream:
                    if venv.encode() in stream.read():
                        found.append(int(name))
    return found
