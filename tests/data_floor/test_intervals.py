from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tzrec_build.data.intervals import row_interval


@given(st.integers(0, 10_000), st.integers(1, 50))
def test_intervals_cover_all_rows_once_and_differ_by_one(rows: int, workers: int) -> None:
    parts = [row_interval(rows, worker, workers) for worker in range(workers)]
    assert [row for start, end in parts for row in range(start, end)] == list(range(rows))
    sizes = [end - start for start, end in parts]
    assert max(sizes) - min(sizes) <= 1
    assert sizes == sorted(sizes, reverse=True)


@given(st.integers(0, 10_000), st.integers(1, 50), st.data())
def test_start_is_the_published_formula(rows: int, workers: int, data: st.DataObject) -> None:
    worker = data.draw(st.integers(0, workers - 1))
    size, extra = divmod(rows, workers)
    start = worker * (size + 1) if worker < extra else extra * (size + 1) + (worker - extra) * size
    assert row_interval(rows, worker, workers)[0] == start
