"""Slots of a workspace ([resources]): how many commands may use a GPU, a licence or much memory at once.

Slot number ``i`` of a resource is a lock on the file ``slots/RESOURCE.i``: builds in several processes share them, and a kill frees
them. A task takes all that it asks for in one go or none, so two tasks never wait for each other.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
from collections.abc import Callable, Iterator, Mapping

from tzrec_build.errors import BuildError
from tzrec_build.graph import child

POLL_S = 0.05
Wanted = tuple[tuple[str, int], ...]


class Slots:
    """The slots of one workspace, as one process sees them.

    Args:
        folder: where their files lie.
        totals: slot name -> how many there are.
    """

    def __init__(self, folder: str, totals: Mapping[str, int]) -> None:
        self._folder, self._totals = folder, totals
        self._turn = threading.Lock()
        self._queue: list[set[str]] = []  # what each task here asks for, in the order of asking

    @contextlib.contextmanager
    def held(self, wanted: Wanted, on_wait: Callable[[str], None]) -> Iterator[None]:
        """Hold slots; waits until all are free. Within a process whoever asked first comes first.

        Args:
            wanted: (slot name, count) pairs.
            on_wait: told once when there is something to wait for.
        Raises:
            BuildError: there are not that many in all, or the build was stopped meanwhile.
        """
        needed = {name: count for name, count in wanted if count}
        for name, count in needed.items():
            if count > self._totals.get(name, 0):
                raise BuildError(
                    f"needs {count} of the resource {name!r}, [resources] in workspace.toml has {self._totals.get(name, 0)}; "
                    "raise it there, or ask for less"
                )
        files = self._wait(needed, on_wait) if needed else []
        try:
            yield
        finally:
            for file in files:
                os.close(file)

    def _wait(self, needed: Mapping[str, int], on_wait: Callable[[str], None]) -> list[int]:
        mine, told = set(needed), False
        with self._turn:
            self._queue.append(mine)
        try:
            while True:
                with self._turn:
                    files = [] if self._is_behind(mine) else self._take(needed)
                if files:
                    return files
                if not told:
                    on_wait("waits for " + ", ".join(f"{count} of {name}" for name, count in needed.items()))
                    told = True
                if child.pause(POLL_S):
                    raise BuildError("stopped while it waited for " + ", ".join(needed))
        finally:
            with self._turn:
                self._queue = [other for other in self._queue if other is not mine]

    def _is_behind(self, mine: set[str]) -> bool:
        """Whether a task that asked earlier waits for one of these too."""
        for other in self._queue:
            if other is mine:
                return False
            if other & mine:
                return True
        raise RuntimeError("bug: waits without a place in the queue")

    def _take(self, needed: Mapping[str, int]) -> list[int]:
        """All of them, as open files, or none."""
        taken: list[int] = []
        for name, count in needed.items():
            got = 0
            for i in range(self._totals[name]):
                if got == count:
                    break
                file = self._try(f"{name}.{i}")
                if file is not None:
                    taken.append(file)
                    got += 1
            if got < count:
                for file in taken:
                    os.close(file)
                return []
        return taken

    def _try(self, name: str) -> int | None:
        os.makedirs(self._folder, exist_ok=True)
        file = os.open(os.path.join(self._folder, name), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(file)
            return None
        return file
