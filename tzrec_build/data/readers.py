"""Tables on disk as a stream of equal slices of columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa

from tzrec_build.data.csv_table import CsvTable
from tzrec_build.data.intervals import row_interval
from tzrec_build.data.options import CsvOptions, ReaderOptions
from tzrec_build.data.parquet_table import ParquetTable
from tzrec_build.data.paths import find_files, table_kind
from tzrec_build.data.slices import TableSlice, rebatch, shuffled

__all__ = ["CsvOptions", "ReaderOptions", "TableReader", "open_table"]

_WHOLE = 1 << 62


class TableReader:
    """Iterates a table in slices; every iteration starts anew.

    Args:
        table: the open files.
        options: batch size, order, share of the rows.
    """

    def __init__(self, table: ParquetTable | CsvTable, options: ReaderOptions) -> None:
        self._table = table
        self._options = options

    @property
    def num_rows(self) -> int:
        """Rows that this reader yields, before `drop_remainder` (reads a CSV table once to count)."""
        start, end = row_interval(self._table.num_rows, self._options.rank, self._options.world_size)
        return end - start

    @property
    def types(self) -> Mapping[str, pa.DataType]:
        """Columns that are read and their types (of a CSV column as found in the first block)."""
        return self._table.types

    def __iter__(self) -> Iterator[dict[str, pa.Array]]:
        for item in self.slices():
            yield dict(item.columns)

    def slices(self, epoch: int = 0) -> Iterator[TableSlice]:
        """Like iterating, with the place of every row.

        Args:
            epoch: chooses the order under `shuffle`; each epoch has its own.
        Raises:
            DataError: a file turns out to be damaged.
        """
        options = self._options
        start, end = 0, _WHOLE
        if options.world_size > 1:
            start, end = row_interval(self._table.num_rows, options.rank, options.world_size)
        pieces = self._table.pieces(start, end, options.batch_size)
        slices = rebatch(pieces, options.batch_size, drop_remainder=options.drop_remainder)
        if not options.shuffle:
            return slices
        return shuffled(slices, options.shuffle_buffer_size, (options.seed, epoch, options.rank))


def open_table(input_path: str, columns: Sequence[str] = (), options: ReaderOptions | None = None) -> TableReader:
    """Open a table for reading.

    Args:
        input_path: comma separated files, globs and folders of .parquet or of .csv files.
        columns: names to read; () reads all.
        options: see `ReaderOptions`.
    Raises:
        DataError: no such file, a missing column (names the nearest), a damaged file, an empty table, mixed formats or types.
    """
    options = options or ReaderOptions()
    files = find_files(input_path)
    if table_kind(files) == "csv":
        return TableReader(CsvTable(files, columns, options.csv), options)
    return TableReader(ParquetTable(files, columns), options)
