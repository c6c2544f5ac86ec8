"""Columns that already hold ids or numbers (FG_NONE): only parsing, no transform."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tzrec_build.data.row_errors import ColumnError
from tzrec_build.features.elements import ElementError, as_float32, as_int64, check_range
from tzrec_build.features.ragged import Ragged, drop_empty, from_lists, from_text, is_list, is_text, plain, to_ragged
from tzrec_build.features.values import (
    BoolArray,
    DenseValues,
    Float32Array,
    Int32Array,
    Int64Array,
    SequenceDenseValues,
    SparseValues,
)

_Numbers = TypeVar("_Numbers", Int64Array, Float32Array)


@dataclass(frozen=True, slots=True)
class Encoding:
    """How the encoded column of one feature is written.

    Attributes:
        column: name of the column.
        multival_sep: separator of several values in one text (`data_config.fg_encoded_multival_sep`).
        sequence_delim: separator of sequence elements in one text; "" for a feature that is no sequence.
        weighted: elements are ``id:weight`` (or a map column).
        value_dim: columns of a dense feature.
        rows: rows of the embedding table; ids must be below. 0 for a dense feature.
        fill_ids: what an empty row of a sparse feature becomes (`fg_encoded_default_value`), or None.
        fill_numbers: the same for a dense feature.
    """

    column: str
    multival_sep: str
    sequence_delim: str
    weighted: bool
    value_dim: int
    rows: int
    fill_ids: Int64Array | None = None
    fill_numbers: Float32Array | None = None


def parse_sparse(encoding: Encoding, column: pa.Array) -> SparseValues:
    """Ids of a plain or sequence feature; a null or empty row gets the fill value or no id.

    Raises:
        ColumnError: wrong type, an element that is no integer, an id outside the table.
    """
    ragged, weights = _sparse_elements(encoding, plain(column))
    try:
        ids = check_range(as_int64(ragged.values), encoding.rows)
    except ElementError as err:
        raise column_error(encoding.column, ragged, err) from err
    fill = encoding.fill_ids
    if fill is None:
        return SparseValues(ids, ragged.lengths, weights)
    if weights is not None:
        weights = fill_rows(weights, ragged.lengths, np.ones(len(fill), np.float32))
    return SparseValues(fill_rows(ids, ragged.lengths, fill), filled_lengths(ragged.lengths, len(fill)), weights)


def parse_dense(encoding: Encoding, column: pa.Array) -> DenseValues:
    """Numbers of a dense feature, [B, value_dim].

    Raises:
        ColumnError: wrong type, text that is no number, a row with another count of values, a null without fill value.
    """
    ragged = to_ragged(encoding.column, column, encoding.multival_sep)
    try:
        floats = as_float32(ragged.values)
    except ElementError as err:
        raise column_error(encoding.column, ragged, err) from err
    return DenseValues(dense_rows(encoding.column, ragged.lengths, floats, encoding.fill_numbers, encoding.value_dim))


def parse_sequence_dense(encoding: Encoding, column: pa.Array) -> SequenceDenseValues:
    """Numbers of a dense sequence, [sum T, value_dim].

    Raises:
        ColumnError: as `parse_dense`, or values that do not divide into elements of value_dim.
    """
    ragged = _sequence_elements(encoding, plain(column))
    try:
        floats = as_float32(ragged.values)
    except ElementError as err:
        raise column_error(encoding.column, ragged, err) from err
    lengths = ragged.lengths
    fill = encoding.fill_numbers
    if fill is not None:
        floats, lengths = fill_rows(floats, lengths, fill), filled_lengths(lengths, len(fill))
    ragged_rows = lengths % encoding.value_dim != 0
    if ragged_rows.any():
        row = int(ragged_rows.argmax())
        raise ColumnError(
            encoding.column,
            f"must hold a multiple of value_dim {encoding.value_dim} numbers, got {int(lengths[row])}",
            row,
        )
    return SequenceDenseValues(floats.reshape(-1, encoding.value_dim), (lengths // encoding.value_dim).astype(np.int32))


def dense_rows(
    name: str, lengths: Int32Array, floats: Float32Array, fill: Float32Array | None, value_dim: int
) -> Float32Array:
    """Shape flat numbers into [B, value_dim]; empty rows take `fill` (one number is repeated over the columns).

    Raises:
        ColumnError: a row has another count of values than value_dim, or is empty without a fill value.
    """
    if fill is not None and len(fill) == 1:
        fill = np.repeat(fill, value_dim)
    if fill is not None:
        floats, lengths = fill_rows(floats, lengths, fill), filled_lengths(lengths, len(fill))
    bad: BoolArray = lengths != value_dim
    if bad.any():
        row = int(bad.argmax())
        if lengths[row] == 0:
            raise ColumnError(name, "must not be null or empty; fill it in the table or set a default value", row)
        raise ColumnError(name, f"must hold value_dim = {value_dim} numbers, got {int(lengths[row])}", row)
    return floats.reshape(len(lengths), value_dim)


def fill_rows(values: _Numbers, lengths: Int32Array, fill: _Numbers) -> _Numbers:
    """Insert `fill` where a row is empty."""
    empty = np.flatnonzero(lengths == 0)
    if len(empty) == 0:
        return values
    starts = np.cumsum(lengths) - lengths
    return np.insert(values, np.repeat(starts[empty], len(fill)), np.tile(fill, len(empty)))


def filled_lengths(lengths: Int32Array, count: int) -> Int32Array:
    """Lengths after `fill_rows` with `count` values."""
    return np.where(lengths == 0, np.int32(count), lengths)


def split_weights(values: pa.Array) -> tuple[pa.Array, Float32Array]:
    """Split ``key:weight`` texts at the last colon; without a colon the weight is 1.

    Raises:
        ElementError: a weight is no number.
    """
    if not is_text(values.type):
        return values, np.ones(len(values), np.float32)
    parts = pc.split_pattern(values, ":", max_splits=1, reverse=True)
    has_weight = pc.equal(pc.list_value_length(parts), 2).to_numpy(zero_copy_only=False)
    weights = np.ones(len(values), np.float32)
    if has_weight.any():
        try:
            weights[has_weight] = as_float32(pc.list_element(parts.filter(pa.array(has_weight)), 1))
        except ElementError as err:
            position = None if err.position is None else int(np.flatnonzero(has_weight)[err.position])
            raise ElementError(f"the weight after the colon {err.rule}", position) from err
    return pc.list_element(parts, 0), weights


def map_elements(name: str, column: pa.Array, *, weighted: bool) -> tuple[Ragged, Float32Array]:
    """Keys and weights of a map column.

    Raises:
        ColumnError: the feature is not weighted, or a weight is no number.
    """
    if not weighted:
        raise ColumnError(name, f"is a {column.type}, whose values are weights; set weighted: true or store a list")
    key, value = column.type.key_field, column.type.item_field
    # the list of pairs that a map is stored as; Arrow has no kernels for maps themselves
    pairs = from_lists(column.cast(pa.list_(pa.struct([key, value]))))
    keys, weights = pairs.values.flatten()
    ragged = Ragged(keys, pairs.lengths)
    try:
        return ragged, as_float32(weights)
    except ElementError as err:
        raise column_error(name, ragged, err) from err


def column_error(name: str, ragged: Ragged, err: ElementError) -> ColumnError:
    """Turn a flat position into a row."""
    return ColumnError(name, err.rule, None if err.position is None else ragged.row_of(err.position))


def _sparse_elements(encoding: Encoding, column: pa.Array) -> tuple[Ragged, Float32Array | None]:
    if encoding.sequence_delim:
        return _sequence_elements(encoding, column), None
    if pa.types.is_map(column.type):
        return map_elements(encoding.column, column, weighted=encoding.weighted)
    ragged = to_ragged(encoding.column, column, encoding.multival_sep)
    if is_text(ragged.values.type):
        ragged = drop_empty(ragged)
    if not encoding.weighted:
        return ragged, None
    try:
        keys, weights = split_weights(ragged.values)
    except ElementError as err:
        raise column_error(encoding.column, ragged, err) from err
    return Ragged(keys, ragged.lengths), weights


def _sequence_elements(encoding: Encoding, column: pa.Array) -> Ragged:
    """Numbers of a sequence: text is split by the delimiter, then by the multi value separator; nested lists are flattened."""
    if is_text(column.type):
        outer = from_text(column, encoding.sequence_delim)
        return _flatten_twice(outer, from_text(outer.values, encoding.multival_sep), encoding)
    if is_list(column.type) and is_list(column.type.value_type):
        outer = from_lists(column)
        return _flatten_twice(outer, from_lists(outer.values), encoding)
    if is_list(column.type) or pa.types.is_null(column.type):
        return to_ragged(encoding.column, column, encoding.multival_sep)
    raise ColumnError(encoding.column, f"a sequence must be text, a list or a list of lists, got {column.type}")


def _flatten_twice(outer: Ragged, inner: Ragged, encoding: Encoding) -> Ragged:
    wanted = 1 if encoding.rows else encoding.value_dim
    bad: BoolArray = inner.lengths != wanted
    if bad.any():
        position = int(bad.argmax())
        rule = (
            f"every element of the sequence must hold {wanted} value(s) (value_dim), got {int(inner.lengths[position])}"
        )
        raise ColumnError(encoding.column, rule, outer.row_of(position))
    return Ragged(inner.values, (outer.lengths * wanted).astype(np.int32))
