"""`combo_feature`: every combination of the values of two or more inputs, joined by ``_``, to ids."""

from __future__ import annotations

from functools import reduce
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tzrec_build.data.row_errors import ColumnError
from tzrec_build.errors import ConfigError, NotSupportedError
from tzrec_build.features.bucketizers import Bucketizer
from tzrec_build.features.id_feature import IdFeature
from tzrec_build.features.ragged import Ragged, is_text, position_in_row
from tzrec_build.features.raw_columns import plain_elements
from tzrec_build.features.scope import RAW_INPUT_MODES
from tzrec_build.features.values import FeatureValues
from tzrec_build.features.vocabulary import text_bucketizer

_LEAST_INPUTS = 2
_JOIN = "_"


class ComboFeature(IdFeature):
    """Crossed categorical feature; see `Feature` for the attributes."""

    def _expressions(self) -> list[str]:
        expressions = list(self.config.expression)
        if expressions and len(expressions) < _LEAST_INPUTS:
            raise ConfigError(f"{self.scope.where}: a combo needs at least 2 expressions, got {expressions}")
        return expressions

    def _make_bucketizer(self) -> Bucketizer:
        return text_bucketizer(self.config, self.scope, self.default_value, self._asset_file, None)

    def _find_value_dim(self) -> int:
        if self.is_sequence:
            raise NotSupportedError("combo_feature inside a sequence", self.scope.where)
        return int(self.config.value_dim)

    def _find_data_group(self) -> str:
        if self.scope.sampled_fields.intersection(self.inputs):
            raise NotSupportedError("combo_feature over a negative sampled field", self.scope.where)
        return super()._find_data_group()

    def _transform(self, columns: list[pa.Array]) -> FeatureValues:
        if self.scope.fg_mode not in RAW_INPUT_MODES:  # FG_BUCKETIZE: the column holds the joined texts
            return self._encode_bag(columns[0])
        parts = [
            _texts(name, plain_elements(name, column, self._separator))
            for name, column in zip(self.inputs, columns, strict=True)
        ]
        crossed = reduce(cross, parts)
        if self.value_dim:
            crossed = crossed.head(self.value_dim)
        return self._with_default(crossed, self._ids(crossed), None)

    def _fg_body(self) -> dict[str, Any]:
        if self.bucketizer is None:
            raise RuntimeError("bug: a combo feature without bucketizer")
        body = self._fg_head() | {
            "expression": list(self.config.expression),
            "value_type": "string",
            "need_prefix": False,
            "value_dim": int(self.config.value_dim),
        }
        return body | self._fg_separator() | self.bucketizer.fg_keys()


def cross(left: Ragged, right: Ragged) -> Ragged:
    """All pairs of each row as ``left_right``, the left one outermost; a row with an empty side is empty.

    >>> one = Ragged(pa.array(["a", "b"]), np.array([2], np.int32))
    >>> two = Ragged(pa.array(["x", "y"]), np.array([2], np.int32))
    >>> cross(one, two).values.to_pylist()
    ['a_x', 'a_y', 'b_x', 'b_y']
    """
    if (
        len(left.values) == len(right.values) == len(left.lengths)
        and (left.lengths == 1).all()
        and (right.lengths == 1).all()
    ):
        return Ragged(pc.binary_join_element_wise(left.values, right.values, _JOIN), left.lengths)
    lengths = (left.lengths * right.lengths).astype(np.int32)
    inner = position_in_row(lengths)
    right_lengths = np.repeat(right.lengths, lengths)
    left_at = np.repeat(np.cumsum(left.lengths) - left.lengths, lengths) + inner // right_lengths
    right_at = np.repeat(np.cumsum(right.lengths) - right.lengths, lengths) + inner % right_lengths
    joined = pc.binary_join_element_wise(
        left.values.take(pa.array(left_at)), right.values.take(pa.array(right_at)), _JOIN
    )
    return Ragged(joined, lengths)


def _texts(name: str, ragged: Ragged) -> Ragged:
    if is_text(ragged.values.type) or pa.types.is_integer(ragged.values.type):
        return Ragged(ragged.values.cast(pa.string()), ragged.lengths)
    raise ColumnError(name, f"must hold text or integers, got {ragged.values.type}")
