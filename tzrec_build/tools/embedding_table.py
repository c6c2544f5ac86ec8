"""Embedding tables: ids as Arrow, vectors streamed into one float32 matrix, every row checked; tools import it when they run."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from tzrec_build.errors import DataError, suggestion
from tzrec_build.logs import ProgressLogger

READ_ROWS = 65536  # rows decoded at once: 16 MiB at 64 dimensions, so the matrix is the only large object
SUFFIXES = (".parquet", ".csv")


@dataclass(frozen=True, slots=True)
class EmbeddingTable:
    """Rows of an embedding table, in the order of the files.

    Attributes:
        ids: [N] string or integer, unique, without nulls.
        vectors: [N, D] float32, C-contiguous, finite.
    """

    ids: pa.ChunkedArray
    vectors: npt.NDArray[np.float32]


def table_files(input_path: str) -> list[Path]:
    """Expand a comma list of files, globs and folders; each part's files are sorted by name.

    Raises:
        DataError: a part names nothing, or a file is neither Parquet nor CSV.
    """
    files: list[Path] = []
    for part in filter(None, (piece.strip() for piece in input_path.split(","))):
        path = Path(part)
        if path.is_dir():
            found = sorted(child for child in path.iterdir() if child.suffix in SUFFIXES)
        else:
            found = [path] if path.is_file() else sorted(Path(name) for name in glob.glob(part))
        if not found:
            raise DataError(f"{part}: no such table, folder or glob match; give .parquet or .csv files")
        files.extend(found)
    for path in files:
        if path.suffix not in SUFFIXES:
            raise DataError(f"{path}: a table ends with .parquet or .csv, got {path.suffix!r}; convert or rename it")
    if not files:
        raise DataError(f"{input_path!r}: no table named; give .parquet or .csv files")
    return files


def read_embeddings(input_path: str, id_field: str, embedding_field: str) -> EmbeddingTable:
    """Read ids and vectors of all rows; the matrix is allocated once, from the files' row counts.

    Args:
        input_path: comma list of .parquet or .csv files, globs, folders.
        id_field: column of integers or strings.
        embedding_field: column of lists of numbers, or of text like ``0.1,0.2``.
    Returns:
        All rows in file order.
    Raises:
        DataError: a file or column is missing or damaged; an id is null, repeated or holds a line break; a vector is
            null, of another length or not finite; there are no rows.
    """
    files = table_files(input_path)
    rows = sum(_count_rows(path, id_field) for path in files)
    if rows == 0:
        raise DataError(f"{input_path}: the embedding table has no rows; check the step that wrote it")
    chunks: list[pa.Array] = []
    matrix: npt.NDArray[np.float32] | None = None
    done = 0
    progress = ProgressLogger("read embeddings", "rows", rows)
    for path in files:
        first = 0
        for batch in read_batches(path, [id_field, embedding_field]):
            where = f"{path}: column {embedding_field!r}"
            vectors = to_vectors(batch.column(embedding_field), where, first)
            if matrix is None:
                matrix = np.empty((rows, vectors.shape[1]), dtype=np.float32)
            if vectors.shape[1] != matrix.shape[1]:
                raise DataError(
                    f"{where}, row {first}: every vector must have {matrix.shape[1]} values like those before it, "
                    f"got {vectors.shape[1]}"
                )
            matrix[done : done + len(vectors)] = vectors
            chunks.append(_plain_ids(batch.column(id_field), f"{path}: column {id_field!r}", first))
            first += batch.num_rows
            done += batch.num_rows
            progress.update(done)
    progress.close()
    if matrix is None or done != rows:
        raise DataError(f"{input_path}: {rows} rows announced but {done} read; the table changed while it was read")
    if len({chunk.type for chunk in chunks}) > 1:
        raise DataError(f"{input_path}: column {id_field!r} is text in one file and numbers in another; write one type")
    ids = pa.chunked_array(chunks)
    check_ids(ids, f"{input_path}: column {id_field!r}")
    return EmbeddingTable(ids, matrix)


def read_batches(path: Path, columns: list[str]) -> Iterator[pa.RecordBatch]:
    """Read some columns of one Parquet or CSV file in slices; a bad file or column is a `DataError`."""
    try:
        if path.suffix == ".csv":
            reader = pa.csv.open_csv(path)
            _need_columns(path, columns, reader.schema.names)
            for batch in reader:
                if batch.num_rows:
                    yield batch.select(columns)
            return
        with pa.parquet.ParquetFile(path) as file:
            _need_columns(path, columns, file.schema_arrow.names)
            yield from file.iter_batches(batch_size=READ_ROWS, columns=columns)
    except (pa.ArrowException, OSError) as err:
        raise DataError(f"{path}: cannot be read as {path.suffix[1:]}: {_first_line(err)}; write it again") from err


def to_vectors(column: pa.Array, where: str, first_row: int) -> npt.NDArray[np.float32]:
    """Turn a column of lists (or comma text) into a float32 matrix.

    Args:
        column: [n] list, large_list or fixed_size_list of numbers, or string.
        where: file and column for messages.
        first_row: row number of column[0] in the file, for messages.
    Returns:
        [n, D] float32.
    Raises:
        DataError: a vector is null, empty, ragged, not numeric or not finite, or is a list of lists.
    """
    if column.null_count:
        row = first_row + int(np.argmax(column.is_null().to_numpy(zero_copy_only=False)))
        raise DataError(f"{where}, row {row}: a vector must not be null ({column.null_count} are); drop or fill them")
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        column = pc.split_pattern(column, ",")
    if not isinstance(column, (pa.ListArray, pa.LargeListArray, pa.FixedSizeListArray)):
        raise DataError(f"{where}: must hold lists of numbers or comma text, got {column.type}")
    if pa.types.is_nested(column.type.value_type):
        raise DataError(f"{where}: not supported yet: several vectors in one row ({column.type}); write one row each")
    lengths = pc.list_value_length(column).to_numpy(zero_copy_only=False)
    dim = int(lengths[0])
    ragged = lengths != (dim or -1)
    if ragged.any():
        row = int(np.argmax(ragged))
        rule = f"every vector must have {dim} values like the first" if dim else "a vector must not be empty"
        raise DataError(f"{where}, row {first_row + row}: {rule}, got {int(lengths[row])}")
    vectors = _to_float32(column.flatten(), where).reshape(len(column), dim)
    finite = np.isfinite(vectors).all(axis=1)
    if not finite.all():
        row = int(np.argmin(finite))
        bad = np.count_nonzero(~finite)
        raise DataError(
            f"{where}, row {first_row + row}: every value must be a finite number, got NaN or infinity ({bad} rows)"
        )
    return vectors


def check_ids(ids: pa.ChunkedArray, where: str) -> None:
    """Refuse what `id_mapping` cannot hold: repeated ids and ids with a line break; nulls were refused while reading."""
    if not pa.types.is_integer(ids.type):
        broken = pc.match_substring_regex(ids, r"[\r\n]")
        if pc.any(broken).as_py():
            bad = ids.filter(broken)[0].as_py()
            raise DataError(f"{where}: an id must not hold a line break, got {bad!r}; id_mapping has one id per line")
    if pc.count_distinct(ids).as_py() < len(ids):
        counts = pc.value_counts(ids)
        repeated = counts.filter(pc.greater(counts.field("counts"), 1))
        value, times = repeated.field("values")[0].as_py(), repeated.field("counts")[0].as_py()
        raise DataError(
            f"{where}: ids must be unique, got {value!r} {times} times and {len(repeated)} repeated ids in all; "
            "keep one row for each id"
        )


def id_lines(ids: pa.ChunkedArray) -> Iterator[memoryview]:
    r"""Yield the bytes of one id per line; Arrow joins them, so no row passes through Python.

    >>> import pyarrow as pa
    >>> [bytes(part) for part in id_lines(pa.chunked_array([[7, 8], [9]]))]
    [b'7\n8\n', b'9\n']
    """
    for chunk in ids.chunks:
        lines = pc.binary_join_element_wise(pc.cast(chunk, pa.string()), "", "\n")
        _, offsets, data = lines.buffers()
        if len(lines):
            ends = np.frombuffer(offsets, dtype=np.int32)[lines.offset : lines.offset + len(lines) + 1]
            yield memoryview(data)[int(ends[0]) : int(ends[-1])]


def _count_rows(path: Path, id_field: str) -> int:

    if path.suffix == ".csv":
        return sum(batch.num_rows for batch in read_batches(path, [id_field]))
    try:
        return int(pa.parquet.read_metadata(path).num_rows)
    except (pa.ArrowException, OSError) as err:
        raise DataError(f"{path}: cannot be read as parquet: {_first_line(err)}; write it again") from err


def _need_columns(path: Path, wanted: Iterable[str], known: list[str]) -> None:
    for name in wanted:
        if name not in known:
            raise DataError(f"{path}: no column {name!r}{suggestion(name, known)}; columns: {', '.join(known)}")


def _plain_ids(column: pa.Array, where: str, first_row: int) -> pa.Array:
    """Undo dictionary encoding, widen to int64 or string, refuse nulls and other types."""
    if column.null_count:
        row = first_row + int(np.argmax(column.is_null().to_numpy(zero_copy_only=False)))
        raise DataError(f"{where}, row {row}: an id must not be null ({column.null_count} are); drop those rows")
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_unsigned_integer(column.type):
        return pc.cast(column, pa.uint64())
    if pa.types.is_integer(column.type):
        return pc.cast(column, pa.int64())
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return pc.cast(column, pa.string())
    raise DataError(f"{where}: ids must be integers or strings, got {column.type}")


def _to_float32(values: pa.Array, where: str) -> npt.NDArray[np.float32]:

    if values.null_count:
        raise DataError(f"{where}: a vector must not hold null ({values.null_count} values are); write numbers")
    try:
        if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
            values = pc.utf8_trim_whitespace(values)
        numbers: npt.NDArray[np.float32] = pc.cast(values, pa.float32()).to_numpy(zero_copy_only=False)
    except pa.ArrowException as err:
        raise DataError(f"{where}: every value must be a number: {_first_line(err)}") from err
    return numbers


def _first_line(err: Exception) -> str:
    return (str(err) or type(err).__name__).splitlines()[0]
