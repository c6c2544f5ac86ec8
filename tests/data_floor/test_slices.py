from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tzrec_build.data.slices import Piece, rebatch, shuffled

PIECES = st.lists(st.integers(0, 9), max_size=8)


def pieces(sizes: list[int]) -> list[Piece]:
    made, first = [], 0
    for number, size in enumerate(sizes):
        rows = pa.RecordBatch.from_pydict({"x": pa.array(range(first, first + size), pa.int64())})
        made.append(Piece(f"file{number}", 100, rows))
        first += size
    return made


@given(PIECES, st.integers(1, 7), st.booleans())
def test_slices_have_one_size_and_keep_the_rows(sizes: list[int], batch_size: int, drop: bool) -> None:  # noqa: FBT001
    slices = list(rebatch(pieces(sizes), batch_size, drop_remainder=drop))
    counts = [len(item.columns["x"]) for item in slices]
    total = sum(sizes)
    expected = [batch_size] * (total // batch_size) + ([total % batch_size] if total % batch_size and not drop else [])
    assert counts == expected
    assert [row for item in slices for row in item.columns["x"].to_pylist()] == list(range(sum(expected)))
    assert [item.row_count for item in slices] == counts


@given(PIECES, st.integers(1, 7))
def test_every_row_knows_its_file(sizes: list[int], batch_size: int) -> None:
    places = [(f"file{number}", 100 + row) for number, size in enumerate(sizes) for row in range(size)]
    slices = rebatch(pieces(sizes), batch_size, drop_remainder=False)
    assert [item.locate(row) for item in slices for row in range(item.row_count)] == places


@pytest.mark.parametrize("buffer_size", [1, 3, 100])
def test_shuffling_keeps_every_slice(buffer_size: int) -> None:
    def order(seed: int) -> list[int]:
        cut = rebatch(pieces([20]), 2, drop_remainder=False)
        return [item.columns["x"][0].as_py() for item in shuffled(cut, buffer_size, (seed,))]

    assert sorted(order(1)) == list(range(0, 20, 2))
    assert order(1) == order(1)
    assert (order(1) == list(range(0, 20, 2))) == (buffer_size == 1)
