"""Slices of a table: record batches of any size in, batches of one size out, with the place of every row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Piece:
    """Consecutive rows of one file.

    Attributes:
        file: path as the user wrote it.
        first_row: 0-based row of the file.
        rows: the columns.
    """

    file: str
    first_row: int
    rows: pa.RecordBatch

    def cut(self, start: int, length: int) -> Piece:
        """A zero-copy part of the piece."""
        return Piece(self.file, self.first_row + start, self.rows.slice(start, length))


@dataclass(frozen=True, slots=True)
class TableSlice:
    """The rows of one batch.

    Attributes:
        columns: name -> Arrow array, all of the same length.
        origins: (file, first row in the file, count) of each run of rows.
    """

    columns: Mapping[str, pa.Array]
    origins: tuple[tuple[str, int, int], ...]

    @property
    def row_count(self) -> int:
        """Rows of the slice."""
        return sum(count for _, _, count in self.origins)

    def locate(self, row: int) -> tuple[str, int]:
        """File and row in it of one row of the slice (rows beyond the end belong to the last file)."""
        for file, first_row, count in self.origins:
            if row < count:
                return file, first_row + row
            row -= count
        file, first_row, count = self.origins[-1]
        return file, first_row + count - 1


def rebatch(pieces: Iterable[Piece], batch_size: int, *, drop_remainder: bool) -> Iterator[TableSlice]:
    """Cut pieces into slices of exactly `batch_size` rows; the last one may be shorter, or is dropped."""
    pending: list[Piece] = []
    pending_rows = 0
    for piece in pieces:
        start = 0
        while pending_rows + piece.rows.num_rows - start >= batch_size:
            wanted = batch_size - pending_rows
            yield _join([*pending, piece.cut(start, wanted)])
            start += wanted
            pending, pending_rows = [], 0
        if start < piece.rows.num_rows:
            rest = piece.cut(start, piece.rows.num_rows - start)
            pending.append(rest)
            pending_rows += rest.rows.num_rows
    if pending and not drop_remainder:
        yield _join(pending)


def shuffled(slices: Iterable[TableSlice], buffer_size: int, seed: Sequence[int]) -> Iterator[TableSlice]:
    """Yield whole slices in a random order that depends on the seed only; holds `buffer_size` slices."""
    rng = np.random.default_rng(list(seed))
    held: list[TableSlice] = []
    for item in slices:
        held.append(item)
        if len(held) >= buffer_size:
            position = int(rng.integers(len(held)))
            held[position], held[-1] = held[-1], held[position]
            yield held.pop()
    for position in rng.permutation(len(held)):
        yield held[position]


def _join(pieces: Sequence[Piece]) -> TableSlice:
    origins = tuple((piece.file, piece.first_row, piece.rows.num_rows) for piece in pieces)
    names = pieces[0].rows.schema.names
    if len(pieces) == 1:
        return TableSlice(dict(zip(names, pieces[0].rows.columns, strict=True)), origins)
    columns = {name: pa.concat_arrays([piece.rows.column(at) for piece in pieces]) for at, name in enumerate(names)}
    return TableSlice(columns, origins)
