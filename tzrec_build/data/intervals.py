"""Which rows of a table one reader of several gets."""

from __future__ import annotations


def row_interval(row_count: int, worker: int, worker_count: int) -> tuple[int, int]:
    """Start and end of a worker's contiguous rows; sizes differ by at most one, the first workers get the longer ones.

    >>> [row_interval(10, worker, 3) for worker in range(3)]
    [(0, 4), (4, 7), (7, 10)]
    """
    size, extra = divmod(row_count, worker_count)
    start = worker * size + min(worker, extra)
    return start, start + size + (1 if worker < extra else 0)
