"""Parquet files as a stream of pieces; reads row groups one after the other, never a whole table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from tzrec_build.data.slices import Piece
from tzrec_build.errors import DataError, suggestion

# rows decoded at a time: large enough to make per-call costs vanish, small enough for wide tables
CHUNK_ROWS = 1 << 15
_READ_BUFFER_BYTES = 1 << 20
_READ_ERRORS = (pa.ArrowException, OSError)


class ParquetTable:
    """Files of one schema, read column by column.

    Args:
        files: paths.
        columns: names to read; () reads all.
    Raises:
        DataError: a file is unreadable, lacks a column, or has another type for it than the files before; or all are empty.
    """

    def __init__(self, files: Sequence[str], columns: Sequence[str]) -> None:
        self._files = tuple(files)
        self._row_counts: list[int] = []
        self.types: dict[str, pa.DataType] = {}
        self.all_columns: tuple[str, ...] = ()
        for file in self._files:
            with _open(file) as table:
                schema = table.schema_arrow
                self._row_counts.append(table.metadata.num_rows)
            self.all_columns = self.all_columns or tuple(schema.names)
            merge_types(self.types, file, schema, columns or self.all_columns)
        self.num_rows = sum(self._row_counts)
        if self.num_rows == 0:
            raise DataError(f"{', '.join(self._files)}: the table has no rows")

    def pieces(self, start: int, end: int, batch_size: int) -> Iterator[Piece]:
        """Rows [start, end) of the concatenation of all files; row groups outside are not read."""
        chunk_rows = batch_size * max(1, CHUNK_ROWS // batch_size)
        first = 0
        for file, count in zip(self._files, self._row_counts, strict=True):
            if first < end and start < first + count:
                yield from self._file_pieces(file, max(start - first, 0), min(end - first, count), chunk_rows)
            first += count

    def _file_pieces(self, file: str, start: int, end: int, chunk_rows: int) -> Iterator[Piece]:
        try:
            with _open(file) as table:
                groups, row = _groups_of(table.metadata, start, end)
                for batch in table.iter_batches(
                    batch_size=chunk_rows, row_groups=groups, columns=list(self.types), use_threads=False
                ):
                    piece = Piece(file, row, in_types(batch, self.types))
                    low, high = max(start - row, 0), min(end - row, batch.num_rows)
                    row += batch.num_rows
                    if low < high:
                        yield piece.cut(low, high - low)
        except _READ_ERRORS as err:
            raise DataError(f"{file}: damaged Parquet file ({_first_line(err)}); make the table again") from err


def merge_types(types: dict[str, pa.DataType], file: str, schema: pa.Schema, columns: Sequence[str]) -> None:
    """Add a file's column types; an all-null column takes the type that another file has.

    Raises:
        DataError: a column is missing or of another type than before.
    """
    for name in columns:
        at = schema.get_field_index(name)
        if at < 0:
            raise DataError(f"{file}: column {name!r} is missing{suggestion(name, schema.names)}")
        kind = schema.field(at).type
        known = types.get(name, pa.null())
        if pa.types.is_null(known):
            types[name] = kind
        elif not pa.types.is_null(kind) and kind != known:
            raise DataError(
                f"{file}: column {name!r} must be {known} as in the files before it, got {kind}; convert one of them"
            )


def in_types(batch: pa.RecordBatch, types: dict[str, pa.DataType]) -> pa.RecordBatch:
    """Columns in the order and types of the table."""
    arrays = []
    for name, kind in types.items():
        array = batch.column(name)
        arrays.append(array if array.type == kind else array.cast(kind))
    return pa.RecordBatch.from_arrays(arrays, names=list(types))


def _open(file: str) -> pq.ParquetFile:
    try:
        # Arrow's default pre_buffer holds the bytes of every row group that is asked for: the whole file
        return pq.ParquetFile(file, buffer_size=_READ_BUFFER_BYTES, pre_buffer=False)
    except _READ_ERRORS as err:
        raise DataError(f"{file}: not a readable Parquet file ({_first_line(err)}); make the table again") from err


def _groups_of(metadata: pq.FileMetaData, start: int, end: int) -> tuple[list[int], int]:
    """Row groups that meet [start, end), and the first row of the first of them."""
    groups: list[int] = []
    first = row = 0
    for group in range(metadata.num_row_groups):
        count = metadata.row_group(group).num_rows
        if row < end and start < row + count:
            first = row if not groups else first
            groups.append(group)
        row += count
    return groups, first


def _first_line(err: BaseException) -> str:
    return str(err).strip().splitlines()[0] if str(err).strip() else type(err).__name__
