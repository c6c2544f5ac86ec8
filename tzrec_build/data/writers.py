"""Tables written part by part into a temporary file, which takes its name when it is complete."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Protocol, Self

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from tzrec_build.errors import DataError, suggestion


class _Sink(Protocol):
    def write_batch(self, batch: pa.RecordBatch) -> None: ...
    def close(self) -> None: ...


def _parquet_sink(file: IO[bytes], schema: pa.Schema) -> _Sink:
    return pq.ParquetWriter(file, schema)


def _csv_sink(file: IO[bytes], schema: pa.Schema) -> _Sink:
    nested = [field.name for field in schema if pa.types.is_nested(field.type)]
    if nested:
        raise DataError(f"column {nested[0]!r} is {schema.field(nested[0]).type}: CSV cannot hold lists; write Parquet")
    return pa_csv.CSVWriter(file, schema)


_SINKS = {"parquet": _parquet_sink, "csv": _csv_sink}


class TableWriter:
    """Writes ``part-<rank>.<kind>``; use as a context manager, an error inside leaves no file.

    Args:
        folder: made when absent.
        kind: ``parquet`` or ``csv``.
        rank: number of the part.
        schema: types of the columns; by default those of the first write.
    """

    def __init__(self, folder: str | Path, kind: str, rank: int, schema: pa.Schema | None) -> None:
        self.path = Path(folder) / f"part-{rank}.{kind}"
        self._kind = kind
        self._schema = schema
        self._sink: _Sink | None = None
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}.tmp")
        self._file: IO[bytes] | None = self._temporary.open("wb")
        self.row_count = 0

    def write(self, columns: Mapping[str, pa.Array]) -> None:
        """Append rows; column names and types must be those of the first write.

        Raises:
            DataError: other columns or types, or a list column in CSV.
        """
        batch = pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))
        schema = self._schema or batch.schema
        if not batch.schema.equals(schema):
            raise DataError(
                f"{self.path}: every part must have the columns {_shown(schema)}, got {_shown(batch.schema)}"
            )
        self._open_sink(schema).write_batch(batch)
        self.row_count += batch.num_rows

    def close(self) -> None:
        """Finish the file and give it its name.

        Raises:
            DataError: nothing was written and no schema is known.
        """
        if self._file is None:
            return
        try:
            if self._schema is None:
                raise DataError(f"{self.path}: there is nothing to write, the input has no rows")
            self._open_sink(self._schema).close()
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._temporary.replace(self.path)
        except BaseException:
            self.abort()
            raise
        self._file = None

    def abort(self) -> None:
        """Forget everything that was written."""
        if self._file is None:
            return
        if self._sink is not None:
            # Arrow's writer would write its footer when it is collected, into the file that is closed by then
            with contextlib.suppress(pa.ArrowException, OSError, ValueError):
                self._sink.close()
        self._file.close()
        self._file = None
        self._temporary.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    def _open_sink(self, schema: pa.Schema) -> _Sink:
        if self._file is None:
            raise RuntimeError("bug: a closed writer was written to")
        if self._sink is None:
            self._sink = _SINKS[self._kind](self._file, schema)
            self._schema = schema
        return self._sink


def open_writer(
    folder: str | Path, kind: str = "parquet", *, rank: int = 0, schema: pa.Schema | None = None
) -> TableWriter:
    """Start a table in a folder.

    Args:
        folder: of the table; made when absent.
        kind: ``parquet`` or ``csv``.
        rank: number of this part, 0 for a single writer.
        schema: column types, needed only when there may be no rows at all.
    Raises:
        DataError: unknown kind, or the folder holds parts of another run, which would mix with ours.
    """
    if kind not in _SINKS:
        raise DataError(f"unknown table kind {kind!r}{suggestion(kind, _SINKS)}")
    if rank == 0 and Path(folder).is_dir():
        stale = sorted(path.name for path in Path(folder).glob("part-*") if path.name != f"part-0.{kind}")
        if stale:
            raise DataError(
                f"{folder}: holds {stale[0]} of another run, which would mix with the new table; empty the folder"
            )
    return TableWriter(folder, kind, rank, schema)


def _shown(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name} {field.type}" for field in schema)
