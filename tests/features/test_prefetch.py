from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from tzrec_build.features.prefetch import prefetched


def test_order_and_end() -> None:
    assert list(prefetched(lambda: iter(range(100)), 3)) == list(range(100))
    assert list(prefetched(lambda: iter(()), 1)) == []


def test_error_of_the_thread_comes_after_the_items_before_it() -> None:
    def items() -> Iterator[int]:
        yield 1
        yield 2
        raise ValueError("from the thread")

    ahead = prefetched(items, 1)
    assert [next(ahead), next(ahead)] == [1, 2]
    with pytest.raises(ValueError, match="from the thread"):
        next(ahead)


def test_error_before_the_first_item() -> None:
    def broken() -> Iterator[int]:
        raise ValueError("at once")

    with pytest.raises(ValueError, match="at once"):
        next(prefetched(broken, 2))


def test_leaving_early_ends_the_thread() -> None:
    before = threading.active_count()
    endless = prefetched(lambda: iter(int, 1), 2)
    assert next(endless) == 0
    assert threading.active_count() == before + 1
    endless.close()
    assert threading.active_count() == before


def test_at_most_depth_items_ahead() -> None:
    made = []

    def items() -> Iterator[int]:
        for number in range(50):
            made.append(number)
            yield number

    for taken in prefetched(items, 3):
        assert len(made) <= taken + 1 + 3 + 1  # taken, three ready, one waiting for room
