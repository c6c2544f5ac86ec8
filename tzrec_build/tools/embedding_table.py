"""Embedding tables: ids as Arrow, vectors streamed into one float32 matrix, every row checked; imported when a tool runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tzrec_build.data.readers import ReaderOptions, open_table
from tzrec_build.data.slices import TableSlice
from tzrec_build.errors import DataError
from tzrec_build.logs import ProgressLogger

READ_ROWS = 65536  # rows decoded at once: 16 MiB at 64 dimensions, so the matrix is the only large object


@dataclass(frozen=True, slots=True)
class EmbeddingTable:
    """Rows of an embedding table, in the order of the files.

    Attributes:
        ids: [N] string or integer, unique, without nulls.
        vectors: [N, D] float32, C-contiguous, finite.
    """

    ids: pa.ChunkedArray
    vectors: npt.NDArray[np.float32]


def read_embeddings(input_path: str, id_field: str, embedding_field: str) -> EmbeddingTable:
    """Read ids and vectors of all rows; the matrix is allocated once, from the files' row counts.

    Args:
        input_path: comma list of .parquet or .csv files, globs, folders.
        id_field: column of integers or strings.
        embedding_field: column of lists of numbers, or of text like ``0.1,0.2``.
    Returns:
        All rows in file order.
    Raises:
        DataError: a file or column is missing, damaged or without rows; an id is null, repeated or holds a line break; a vector is
            null, of another length or not finite.
    """
    reader = open_table(input_path, [id_field, embedding_field], ReaderOptions(batch_size=READ_ROWS))
    count = reader.num_rows
    chunks: list[pa.Array] = []
    matrix = np.empty((0, 0), dtype=np.float32)
    done = 0
    progress = ProgressLogger("read embeddings", "rows", count)
    for rows in reader.slices():
        vectors = to_vectors(rows, embedding_field)
        if not done:
            matrix = np.empty((count, vectors.shape[1]), dtype=np.float32)
        if vectors.shape[1] != matrix.shape[1]:
            raise DataError(
                f"{_place(rows, embedding_field, 0)}: every vector must have {matrix.shape[1]} values like those "
                f"before it, got {vectors.shape[1]}"
            )
        matrix[done : done + len(vectors)] = vectors
        chunks.append(_plain_ids(rows, id_field))
        done += len(vectors)
        progress.update(done)
    progress.close()
    pa.default_memory_pool().release_unused()  # the decoded slices: 70 MiB at 200k x 64, before FAISS takes its own
    ids = pa.chunked_array(chunks)
    check_ids(ids, f"{input_path}: column {id_field!r}")
    return EmbeddingTable(ids, matrix)


def to_vectors(rows: TableSlice, field: str) -> npt.NDArray[np.float32]:
    """Turn a column of lists (or comma text) into a float32 matrix.

    Args:
        rows: n rows of a table.
        field: column of lists of numbers, or of text.
    Returns:
        [n, D] float32.
    Raises:
        DataError: a vector is null, empty, ragged, not numeric or not finite, or is a list of lists.
    """
    column = rows.columns[field]
    if column.null_count:
        row = int(np.argmax(column.is_null().to_numpy(zero_copy_only=False)))
        raise DataError(
            f"{_place(rows, field, row)}: a vector must not be null ({column.null_count} are); drop or fill them"
        )
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        column = pc.split_pattern(column, ",")
    where = _place(rows, field, 0)
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
        raise DataError(f"{_place(rows, field, row)}: {rule}, got {int(lengths[row])}")
    vectors = _to_float32(column.flatten(), where).reshape(len(column), dim)
    finite = np.isfinite(vectors).all(axis=1)
    if not finite.all():
        row, bad = int(np.argmin(finite)), np.count_nonzero(~finite)
        raise DataError(
            f"{_place(rows, field, row)}: every value must be a finite number, got NaN or infinity ({bad} rows)"
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


def _plain_ids(rows: TableSlice, field: str) -> pa.Array:
    """Undo dictionary encoding, widen to 64 bits or string, refuse nulls and other types."""
    column = rows.columns[field]
    if column.null_count:
        row = int(np.argmax(column.is_null().to_numpy(zero_copy_only=False)))
        raise DataError(
            f"{_place(rows, field, row)}: an id must not be null ({column.null_count} are); drop those rows"
        )
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    for fits, wide in (
        (pa.types.is_unsigned_integer, pa.uint64()),
        (pa.types.is_integer, pa.int64()),
        (pa.types.is_string, pa.string()),
        (pa.types.is_large_string, pa.string()),
    ):
        if fits(column.type):
            return pc.cast(column, wide)
    raise DataError(f"{_place(rows, field, 0)}: ids must be integers or strings, got {column.type}")


def _to_float32(values: pa.Array, where: str) -> npt.NDArray[np.float32]:
    if values.null_count:
        raise DataError(f"{where}: a vector must not hold null ({values.null_count} values are); write numbers")
    try:
        if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
            values = pc.utf8_trim_whitespace(values)
        numbers: npt.NDArray[np.float32] = pc.cast(values, pa.float32()).to_numpy(zero_copy_only=False)
    except pa.ArrowException as err:
        raise DataError(f"{where}: every value must be a number: {str(err).splitlines()[0]}") from err
    return numbers


def _place(rows: TableSlice, field: str, row: int) -> str:
    file, number = rows.locate(row)
    return f"{file}: column {field!r}, row {number}"
