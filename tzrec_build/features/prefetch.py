"""Produce items ahead of their use in one background thread."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

Item = TypeVar("Item")


class _Channel(Generic[Item]):
    """A bounded queue whose two ends can both be closed."""

    def __init__(self, depth: int) -> None:
        self._depth = depth
        self._items: deque[Item] = deque()
        self._changed = threading.Condition()
        self._stopped = False
        self._finished = False
        self._error: BaseException | None = None

    def put(self, item: Item) -> bool:
        """Wait for room; False when nobody will take the item."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or len(self._items) < self._depth)
            if self._stopped:
                return False
            self._items.append(item)
            self._changed.notify_all()
            return True

    def finish(self, error: BaseException | None) -> None:
        with self._changed:
            self._finished, self._error = True, error
            self._changed.notify_all()

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._items.clear()
            self._changed.notify_all()

    def items(self) -> Iterator[Item]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._items or self._finished)
                if not self._items:
                    if self._error is not None:
                        raise self._error
                    return
                item = self._items.popleft()
                self._changed.notify_all()
            yield item


def prefetched(make: Callable[[], Iterator[Item]], depth: int) -> Iterator[Item]:
    """Iterate `make()` in a background thread, at most `depth` items ahead.

    An error of the thread is raised here, after the items before it. Leaving the loop early ends the thread.

    Args:
        make: called in the thread; makes the iterator.
        depth: items kept ready, at least 1.
    """
    channel: _Channel[Item] = _Channel(depth)

    def run() -> None:
        error: BaseException | None = None
        try:
            for item in make():
                if not channel.put(item):
                    return
        except BaseException as err:  # noqa: BLE001 - handed to the consumer, which raises it
            error = err
        finally:
            channel.finish(error)

    thread = threading.Thread(target=run, name="tzrec-prefetch", daemon=True)
    thread.start()
    try:
        yield from channel.items()
    finally:
        channel.stop()
        thread.join()
