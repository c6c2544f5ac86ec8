"""Outlives a killed build for a moment, to end what it left running. Started as a script, with the standard library alone.

The kernel ends only the direct children of a process that dies (PR_SET_PDEATHSIG); their own children would stay. Each command
of a build has a marker in its environment, which everything that it starts inherits. The guard holds the reading end of a pipe:
when the build is gone, however that came, the pipe ends, and every process with the build's marker is killed.
"""

from __future__ import annotations

import os
import signal
import sys
import time

MARK = "TZREC_RUN"
PASS_S = 0.01
_QUIET_PASSES = 2  # a process may be forked between the listing of /proc and the kill of its parent
_MAX_PASSES = 300


def marked(mark: str) -> list[int]:
    """Ids of the processes of this user whose environment has `MARK` with a value that starts with `mark`; zombies have none."""
    wanted = f"{MARK}={mark}".encode()
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/environ", "rb") as file:
                    text = file.read()
            except OSError:
                continue  # ended meanwhile, or another user's
            if text.startswith(wanted) or b"\0" + wanted in text:
                found.append(int(name))
    return found


def end_marked(mark: str) -> None:
    """Kill every process with the mark, until none is left; those that are children of ours are reaped."""
    quiet = passes = 0
    while quiet < _QUIET_PASSES and passes < _MAX_PASSES:
        passes += 1
        found = [pid for pid in marked(mark) if pid != os.getpid()]
        quiet = 0 if found else quiet + 1
        for pid in found:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        if found:
            time.sleep(PASS_S)
            for pid in found:
                _reap(pid)


def _reap(pid: int) -> None:
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return  # its own parent takes it


def start(mark: str) -> int:
    """Start a guard for this process and return its id; it ends by itself soon after this process."""
    reading, writing = os.pipe()
    null = os.open(os.devnull, os.O_RDWR)
    try:
        return os.posix_spawn(
            sys.executable,
            [sys.executable, "-I", "-S", os.path.abspath(__file__), mark],
            {},  # without a mark: of an outer build it must outlive the end too
            file_actions=[
                (os.POSIX_SPAWN_DUP2, reading, 0),
                (os.POSIX_SPAWN_DUP2, null, 1),
                (os.POSIX_SPAWN_DUP2, null, 2),
            ],
            setsid=True,
        )
    finally:
        os.close(reading)
        os.close(null)
        _kept.append(writing)  # open until this process ends


_kept: list[int] = []

if __name__ == "__main__":
    os.chdir("/")  # keeps no folder in use
    while os.read(0, 1):
        pass
    end_marked(sys.argv[1])
