"""`id_feature` and `sequence_id_feature`: text or integers, one or many, plain or weighted, to ids."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from tzrec_build.data.row_errors import ColumnError
from tzrec_build.errors import ConfigError, NotSupportedError
from tzrec_build.features.bucketizers import Bucketizer, NumberBucketizer
from tzrec_build.features.elements import ElementError, as_int64
from tzrec_build.features.encoded import column_error, fill_rows, filled_lengths, map_elements, split_weights
from tzrec_build.features.feature import Feature
from tzrec_build.features.ragged import Ragged, plain, position_in_row
from tzrec_build.features.raw_columns import first_of_each, plain_elements, present_mask, sequence_elements
from tzrec_build.features.scope import FeatureScope
from tzrec_build.features.values import FeatureValues, Float32Array, Int64Array, SparseValues
from tzrec_build.features.vocabulary import text_bucketizer

# fg_value_type -> whether values are read as integers before their id is found
_VALUE_TYPES: Mapping[str, bool] = {"string": False, "int32": True, "int64": True}


class IdFeature(Feature):
    """A categorical feature; see `Feature` for the attributes."""

    def __init__(self, config: Any, scope: FeatureScope) -> None:
        value_type = getattr(config, "fg_value_type", "").lower() or "string"
        if value_type not in _VALUE_TYPES:
            raise NotSupportedError(f"fg_value_type {value_type!r} (only {', '.join(_VALUE_TYPES)})", scope.where)
        self._as_integers = _VALUE_TYPES[value_type]
        super().__init__(config, scope)

    def _expressions(self) -> list[str]:
        return [self.config.expression] if self.config.expression else []

    def _make_bucketizer(self) -> Bucketizer:
        number = NumberBucketizer(int(self.config.num_buckets)) if self.config.HasField("num_buckets") else None
        return text_bucketizer(self.config, self.scope, self.default_value, self._asset_file, number)

    def _find_value_dim(self) -> int:
        if self.is_sequence and self.config.weighted:
            raise NotSupportedError("weighted ids inside a sequence", self.scope.where)
        if not self.config.HasField("value_dim"):
            return 1 if self.is_sequence else 0
        value_dim = int(self.config.value_dim)
        if self.is_sequence and value_dim != 1:
            raise NotSupportedError(f"value_dim {value_dim} inside a sequence (only 1)", self.scope.where)
        return value_dim

    def _transform(self, columns: list[pa.Array]) -> FeatureValues:
        if self.scope.sequence is not None:
            elements = sequence_elements(self.inputs[0], columns[0], self.scope.sequence)
            return self._encode_sequence(first_of_each(self.inputs[0], elements, self._separator))
        return self._encode_bag(columns[0])

    def _encode_bag(self, column: pa.Array) -> SparseValues:
        name = self.inputs[0]
        column = plain(column)
        weights: Float32Array | None = None
        if pa.types.is_map(column.type):
            ragged, weights = map_elements(name, column, weighted=self.is_weighted)
            if self.value_dim:
                weights = weights[position_in_row(ragged.lengths) < self.value_dim]
                ragged = ragged.head(self.value_dim)
        else:
            ragged = plain_elements(name, column, self._separator)
            if self.value_dim:
                ragged = ragged.head(self.value_dim)
            if self.is_weighted:
                ragged, weights = _split(name, ragged)
        return self._with_default(ragged, self._ids(ragged), weights)

    def _with_default(self, ragged: Ragged, ids: Int64Array, weights: Float32Array | None) -> SparseValues:
        if not self.default_value or bool((ragged.lengths > 0).all()):
            return SparseValues(ids, ragged.lengths, weights)
        fill = self._default_ids()
        if weights is not None:
            weights = fill_rows(weights, ragged.lengths, np.ones(len(fill), np.float32))
        return SparseValues(fill_rows(ids, ragged.lengths, fill), filled_lengths(ragged.lengths, len(fill)), weights)

    def _encode_sequence(self, ragged: Ragged) -> SparseValues:
        present = present_mask(ragged.values)
        if present.all():
            return SparseValues(self._ids(ragged), ragged.lengths)
        ids = np.full(len(present), self._default_ids()[0], np.int64)
        try:
            ids[present] = self._bucketize(ragged.values.filter(pa.array(present)))
        except ElementError as err:
            position = None if err.position is None else int(np.flatnonzero(present)[err.position])
            raise column_error(self.inputs[0], ragged, ElementError(err.rule, position)) from err
        return SparseValues(ids, ragged.lengths)

    def _ids(self, ragged: Ragged) -> Int64Array:
        try:
            return self._bucketize(ragged.values)
        except ElementError as err:
            raise column_error(self.inputs[0], ragged, err) from err

    def _bucketize(self, values: pa.Array) -> Int64Array:
        if self.bucketizer is None:
            raise RuntimeError("bug: an id feature without bucketizer")
        if self._as_integers:  # so that the texts "7" and "007" are one value
            values = pa.array(as_int64(values))
        return self.bucketizer.ids(values)

    def _default_ids(self) -> Int64Array:
        parts = self.default_value.split(self._separator)
        try:
            return self._bucketize(pa.array(parts, pa.string()))
        except ElementError as err:
            raise ConfigError(f"{self.scope.where}: default_value {self.default_value!r}: {err.rule}") from err

    def _fg_body(self) -> dict[str, Any]:
        if self.bucketizer is None:
            raise RuntimeError("bug: an id feature without bucketizer")
        body = self._fg_head() | {
            "expression": self.config.expression,
            "value_type": self.config.fg_value_type or "string",
            "need_prefix": False,
        }
        body |= self._fg_separator() | self.bucketizer.fg_keys()
        if self.is_weighted:
            body["weighted"] = True
        return body | {"value_dim": self.value_dim}


def _split(name: str, ragged: Ragged) -> tuple[Ragged, Float32Array]:
    try:
        keys, weights = split_weights(ragged.values)
    except ElementError as err:
        raise column_error(name, ragged, err) from err
    if len(keys) and not present_mask(keys).all():
        position = int((~present_mask(keys)).argmax())
        raise ColumnError(name, "must be id:weight, got no id before the colon", ragged.row_of(position))
    return Ragged(keys, ragged.lengths), weights
