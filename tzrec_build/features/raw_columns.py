"""Raw input columns (before the feature generator) as flat elements: the splitting and default rules of FG_NORMAL and FG_DAG."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tzrec_build.data.row_errors import ColumnError
from tzrec_build.features.ragged import (
    Ragged,
    drop_empty,
    from_lists,
    from_text,
    is_list,
    is_text,
    plain,
    position_in_row,
    to_ragged,
)
from tzrec_build.features.scope import SequenceScope
from tzrec_build.features.values import BoolArray


def plain_elements(name: str, column: pa.Array, separator: str) -> Ragged:
    """Elements of a plain feature's column, without null and empty ones."""
    return drop_empty(to_ragged(name, column, separator))


def sequence_elements(name: str, column: pa.Array, sequence: SequenceScope) -> Ragged:
    """Elements of a sequence column, at most `sequence.length` of each row; a missing one is a null (or empty text).

    A null or empty row becomes one missing element, as TorchEasyRec does. Elements may still be lists or hold separators.

    Raises:
        ColumnError: the column is neither text nor a list.
    """
    column = plain(column)
    if pa.types.is_null(column.type):
        return Ragged(pa.nulls(len(column), pa.string()), np.ones(len(column), np.int32))
    if is_text(column.type):
        ragged = from_text(column, sequence.delim)
    elif is_list(column.type):
        ragged = from_lists(column)
    else:
        raise ColumnError(
            name, f"a sequence must be text split by {sequence.delim!r}, a list or a list of lists, got {column.type}"
        )
    return _one_for_empty_rows(ragged.head(sequence.length))


def first_of_each(name: str, ragged: Ragged, separator: str) -> Ragged:
    """Reduce elements that hold several values (lists, separated text) to their first one; missing stays missing."""
    values = ragged.values
    if is_list(values.type):
        if is_list(values.type.value_type):
            raise ColumnError(name, f"a sequence must be a list or a list of lists, got elements of {values.type}")
        inner = from_lists(values)
        first = inner.values.filter(pa.array(position_in_row(inner.lengths) == 0))
        return Ragged(_spread(first, inner.lengths > 0), ragged.lengths)
    if is_text(values.type) and bool(pc.any(pc.match_substring(values, separator)).as_py()):
        inner = from_text(values, separator)
        first = inner.values.filter(pa.array(position_in_row(inner.lengths) == 0))
        return Ragged(_spread(first, inner.lengths > 0), ragged.lengths)
    return ragged


def present_mask(values: pa.Array) -> BoolArray:
    """False for null elements and empty texts."""
    mask: BoolArray = values.is_valid().to_numpy(zero_copy_only=False)
    if is_text(values.type):
        mask = mask & pc.fill_null(pc.greater(pc.binary_length(values), 0), False).to_numpy(zero_copy_only=False)
    return mask


def _one_for_empty_rows(ragged: Ragged) -> Ragged:
    empty = ragged.lengths == 0
    if not empty.any():
        return ragged
    lengths = np.where(empty, np.int32(1), ragged.lengths)
    return Ragged(_spread(ragged.values, ~np.repeat(empty, lengths)), lengths)


def _spread(values: pa.Array, taken: BoolArray) -> pa.Array:
    """Put the values, in order, where `taken` is true; null elsewhere."""
    positions = np.cumsum(taken) - 1
    return values.take(pa.array(positions, pa.int64(), mask=~taken))
