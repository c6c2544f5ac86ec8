"""CSV files as a stream of pieces; Arrow's incremental reader, block by block."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv

from tzrec_build.data.options import CsvOptions
from tzrec_build.data.parquet_table import in_types, merge_types
from tzrec_build.data.slices import Piece
from tzrec_build.errors import DataError, suggestion

_BLOCK_BYTES = 4 << 20


class CsvTable:
    """Files of one layout.

    Args:
        files: paths.
        columns: names to read; () reads all.
        options: delimiter, header, declared types.
    Raises:
        DataError: a file is unreadable, empty, or lacks a column.
    """

    def __init__(self, files: Sequence[str], columns: Sequence[str], options: CsvOptions) -> None:
        self._files = tuple(files)
        self._options = options
        self._row_counts: list[int] | None = None
        self.types: dict[str, pa.DataType] = {}
        self.all_columns: tuple[str, ...] = ()
        for file in self._files:
            names = self._header(file)
            self.all_columns = self.all_columns or tuple(names)
            for name in columns:
                if name not in names:
                    raise DataError(f"{file}: column {name!r} is missing{suggestion(name, names)}")
        self._columns = tuple(columns) or self.all_columns
        for file in self._files:
            with self._open(file, self._columns) as reader:
                merge_types(self.types, file, reader.schema, self._columns)

    @property
    def num_rows(self) -> int:
        """Rows of all files; the first call reads them once, because CSV does not say."""
        return sum(self._counts())

    def pieces(self, start: int, end: int, batch_size: int) -> Iterator[Piece]:  # noqa: ARG002 - same call as ParquetTable
        """Rows [start, end) of the concatenation of all files; earlier rows are read and skipped."""
        row = 0
        for file in self._files:
            if row >= end:
                return
            for piece in self._file_pieces(file):
                low, high = max(start - row, 0), min(end - row, piece.rows.num_rows)
                row += piece.rows.num_rows
                if low < high:
                    yield piece.cut(low, high - low)
        if row == 0:
            raise DataError(f"{', '.join(self._files)}: the table has no rows")

    def _file_pieces(self, file: str) -> Iterator[Piece]:
        row = 0
        with self._open(file, self._columns) as reader:
            try:
                for batch in reader:
                    yield Piece(file, row, in_types(batch, self.types))
                    row += batch.num_rows
            except pa.ArrowInvalid as err:
                raise _unreadable(file, err) from err

    def _counts(self) -> list[int]:
        if self._row_counts is None:
            self._row_counts = []
            for file in self._files:
                with self._open(file, self._columns[:1]) as reader:
                    try:
                        self._row_counts.append(sum(batch.num_rows for batch in reader))
                    except pa.ArrowInvalid as err:
                        raise _unreadable(file, err) from err
        return self._row_counts

    def _open(self, file: str, columns: Sequence[str]) -> pa_csv.CSVStreamingReader:
        declared = {name: kind for name, kind in self._options.fields if kind is not None}
        known = {name: kind for name, kind in self.types.items() if not pa.types.is_null(kind)}
        try:
            return pa_csv.open_csv(
                file,
                read_options=pa_csv.ReadOptions(
                    use_threads=False,
                    block_size=_BLOCK_BYTES,
                    column_names=None if self._options.with_header else [name for name, _ in self._options.fields],
                ),
                parse_options=pa_csv.ParseOptions(delimiter=self._options.delimiter),
                convert_options=pa_csv.ConvertOptions(column_types=known | declared, include_columns=list(columns)),
            )
        except (pa.ArrowInvalid, OSError) as err:
            raise _unreadable(file, err) from err

    def _header(self, file: str) -> list[str]:
        if not self._options.with_header:
            return [name for name, _ in self._options.fields]
        try:
            with Path(file).open(encoding="utf-8", newline="") as lines:
                header = next(csv.reader(lines, delimiter=self._options.delimiter), None)
        except (OSError, UnicodeDecodeError) as err:
            raise _unreadable(file, err) from err
        if not header:
            raise DataError(f"{file}: the file is empty; its first line must name the columns")
        return header


def _unreadable(file: str, err: BaseException) -> DataError:
    detail = str(err).strip().splitlines()[0] if str(err).strip() else type(err).__name__
    return DataError(
        f"{file}: not readable as CSV ({detail}); check the delimiter and the types in data_config.input_fields"
    )
