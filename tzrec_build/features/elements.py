"""Flat Arrow elements to int64 or float32 NumPy arrays, with the first offending element named."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tzrec_build.features.ragged import is_number, is_text
from tzrec_build.features.values import Float32Array, Int64Array

_INTEGER_TEXT = r"^\s*[+-]?[0-9]{1,19}\s*$"
_FLOAT_TEXT = r"(?i)^\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?\s*$|^\s*[+-]?(inf|infinity|nan)\s*$"


class ElementError(Exception):
    """An element breaks a rule; callers turn its flat position into a row (`ColumnError`).

    Args:
        rule: what was expected and what was found.
        position: flat position, or None when the whole column is of the wrong type.
    """

    def __init__(self, rule: str, position: int | None = None) -> None:
        super().__init__(rule)
        self.rule = rule
        self.position = position


def as_int64(values: pa.Array) -> Int64Array:
    """Integers, whole floats or decimal text as int64 [n].

    Raises:
        ElementError: a null, a fraction, text that is no integer, a number outside int64, another type.
    """
    _refuse_nulls(values)
    if pa.types.is_int64(values.type):
        return values.to_numpy()
    if not (is_number(values.type) or is_text(values.type) or pa.types.is_boolean(values.type)):
        raise ElementError(f"must hold integers, got {values.type}")
    try:
        return values.cast(pa.int64()).to_numpy()
    except pa.ArrowInvalid:
        pass
    if is_text(values.type):
        _refuse_where(values, pc.invert(pc.match_substring_regex(values, _INTEGER_TEXT)), "must be an integer")
        stripped = pc.utf8_trim_whitespace(values)
        try:
            return pc.replace_substring_regex(stripped, r"^\+", "").cast(pa.int64()).to_numpy()
        except pa.ArrowInvalid as err:
            raise ElementError(f"must be an integer that fits 64 bits, {err}") from err
    if pa.types.is_floating(values.type):
        whole = pc.equal(values, pc.trunc(values))
        _refuse_where(values, pc.invert(whole), "must be a whole number")
    raise ElementError("must hold integers that fit 64 signed bits")


def as_float32(values: pa.Array) -> Float32Array:
    """Numbers or their text as float32 [n].

    Raises:
        ElementError: a null, a NaN, text that is no number, another type.
    """
    _refuse_nulls(values)
    if is_text(values.type):
        try:
            floats = values.cast(pa.float32())
        except pa.ArrowInvalid:
            _refuse_where(values, pc.invert(pc.match_substring_regex(values, _FLOAT_TEXT)), "must be a number")
            stripped = pc.replace_substring_regex(pc.utf8_trim_whitespace(values), r"^\+", "")
            floats = stripped.cast(pa.float64()).cast(pa.float32(), safe=False)
    elif is_number(values.type):
        floats = values.cast(pa.float32(), safe=False)
    else:
        raise ElementError(f"must hold numbers, got {values.type}")
    result = floats.to_numpy()
    missing = np.isnan(result)
    if missing.any():
        raise ElementError("must be a number, got NaN; store null for a missing value", int(missing.argmax()))
    return result


def check_range(ids: Int64Array, rows: int) -> Int64Array:
    """Return `ids` when all are in [0, rows).

    Raises:
        ElementError: names the first id outside.
    """
    # one unsigned comparison finds both ends: negative ids become huge
    outside = ids.view(np.uint64) >= np.uint64(rows)
    if outside.any():
        position = int(outside.argmax())
        raise ElementError(f"ids must be in [0, {rows}), the rows of its table, got {int(ids[position])}", position)
    return ids


def _refuse_nulls(values: pa.Array) -> None:
    if values.null_count:
        position = int(values.is_null().to_numpy(zero_copy_only=False).argmax())
        raise ElementError("must hold no null inside a list; drop it in the table or store an id for it", position)


def _refuse_where(values: pa.Array, bad: pa.Array, rule: str) -> None:
    mask = bad.to_numpy(zero_copy_only=False)
    if mask.any():
        position = int(mask.argmax())
        raise ElementError(f"{rule}, got {values[position].as_py()!r}", position)
