"""Arrow columns as ragged arrays (flat values + lengths); every function works on whole columns, never on single rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tzrec_build.data.row_errors import ColumnError
from tzrec_build.features.values import BoolArray, Int32Array, Int64Array


@dataclass(frozen=True, slots=True)
class Ragged:
    """Elements of all rows in one flat Arrow array.

    Attributes:
        values: the elements, row after row; may hold nulls only where a function says so.
        lengths: int32 [B], elements per row.
    """

    values: pa.Array
    lengths: Int32Array

    def row_of(self, position: int) -> int:
        """Row that owns the element at a flat position."""
        return int(np.searchsorted(np.cumsum(self.lengths), position, side="right"))

    def keep(self, mask: BoolArray) -> Ragged:
        """Drop the elements where the mask is false; rows stay, lengths shrink."""
        if mask.all():
            return self
        kept = np.concatenate(([0], np.cumsum(mask)))
        ends = np.cumsum(self.lengths)
        lengths = (kept[ends] - kept[ends - self.lengths]).astype(np.int32)
        return Ragged(self.values.filter(pa.array(mask)), lengths)

    def head(self, count: int) -> Ragged:
        """Keep the first `count` elements of each row."""
        if len(self.lengths) == 0 or int(self.lengths.max()) <= count:
            return self
        return self.keep(position_in_row(self.lengths) < count)


def position_in_row(lengths: Int32Array) -> Int64Array:
    """Index of each flat element inside its row.

    >>> position_in_row(np.array([2, 0, 3], np.int32)).tolist()
    [0, 1, 0, 1, 2]
    """
    starts = np.cumsum(lengths, dtype=np.int64) - lengths
    return np.arange(int(lengths.sum()), dtype=np.int64) - np.repeat(starts, lengths)


def is_list(kind: pa.DataType) -> bool:
    """True for the three Arrow list layouts."""
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def is_text(kind: pa.DataType) -> bool:
    """True for Arrow strings of either offset width."""
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def is_number(kind: pa.DataType) -> bool:
    """True for integers and floats."""
    return pa.types.is_integer(kind) or pa.types.is_floating(kind)


def plain(column: pa.Array) -> pa.Array:
    """Undo dictionary encoding and string views, so that the rest sees six layouts only."""
    if pa.types.is_dictionary(column.type):
        return column.dictionary_decode()
    if pa.types.is_string_view(column.type):
        return column.cast(pa.string())
    return column


def from_scalars(column: pa.Array) -> Ragged:
    """One element per valid row, none per null row."""
    if column.null_count == 0:
        return Ragged(column, np.ones(len(column), np.int32))
    valid = column.is_valid().to_numpy(zero_copy_only=False)
    return Ragged(column.drop_null(), valid.astype(np.int32))


def from_lists(column: pa.Array) -> Ragged:
    """Elements of a list column; a null row is empty, null elements stay in `values`."""
    lengths = pc.fill_null(pc.list_value_length(column), 0).cast(pa.int32())
    return Ragged(plain(column.flatten()), lengths.to_numpy(zero_copy_only=False))


def from_text(column: pa.Array, separator: str) -> Ragged:
    """Split text by a separator; a null or empty text is an empty row, empty pieces between separators are kept."""
    present = pc.fill_null(pc.greater(pc.binary_length(column), 0), False).to_numpy(zero_copy_only=False)
    texts = column if present.all() else column.filter(pa.array(present))
    if not _contains(texts, separator):
        return Ragged(texts, present.astype(np.int32))
    split = from_lists(pc.split_pattern(texts, separator))
    lengths = np.zeros(len(column), np.int32)
    lengths[present] = split.lengths
    return Ragged(split.values, lengths)


def to_ragged(name: str, column: pa.Array, separator: str) -> Ragged:
    """Elements of a column of scalars, lists or separated text.

    Args:
        name: column name, for the error.
        column: any supported layout.
        separator: splits text columns; list elements are never split.
    Raises:
        ColumnError: the type is none of numbers, text, lists of them.
    """
    column = plain(column)
    if pa.types.is_null(column.type):
        return Ragged(pa.array([], pa.string()), np.zeros(len(column), np.int32))
    if is_text(column.type):
        return from_text(column, separator)
    if is_number(column.type):
        return from_scalars(column)
    if is_list(column.type) and not is_list(column.type.value_type):
        return from_lists(column)
    raise ColumnError(name, f"must hold numbers, text or lists of them, got {column.type}; convert it in the table")


def _contains(texts: pa.Array, pattern: str) -> bool:
    """Whether the pattern may occur; a search over the raw bytes, ten times faster than one per text.

    May say yes for a pattern of several bytes that straddles two texts, which only costs a needless split.
    """
    if len(texts) == 0:
        return False
    _, offset_buffer, data_buffer = texts.buffers()
    if data_buffer is None:
        return False
    width = np.int64 if pa.types.is_large_string(texts.type) else np.int32
    offsets = np.frombuffer(offset_buffer, width)
    first, last = int(offsets[texts.offset]), int(offsets[texts.offset + len(texts)])
    return pattern.encode() in memoryview(data_buffer)[first:last].tobytes()


def drop_empty(ragged: Ragged) -> Ragged:
    """Drop null elements and, for text, empty ones."""
    mask = np.ones(len(ragged.values), np.bool_)
    if ragged.values.null_count:
        mask &= ragged.values.is_valid().to_numpy(zero_copy_only=False)
    if is_text(ragged.values.type):
        mask &= pc.fill_null(pc.greater(pc.binary_length(ragged.values), 0), False).to_numpy(zero_copy_only=False)
    return ragged.keep(mask)
