"""`raw_feature` and `sequence_raw_feature`: numbers, kept dense or cut into buckets by boundaries."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pyarrow as pa

from tzrec_build.data.row_errors import ColumnError
from tzrec_build.errors import ConfigError, NotSupportedError
from tzrec_build.features.bucketizers import BoundaryBucketizer, Bucketizer
from tzrec_build.features.elements import ElementError, as_float32
from tzrec_build.features.encoded import column_error, dense_rows, fill_rows, filled_lengths
from tzrec_build.features.feature import Feature
from tzrec_build.features.normalizers import parse_normalizer
from tzrec_build.features.ragged import Ragged, from_lists, from_text, is_list, is_text
from tzrec_build.features.raw_columns import plain_elements, present_mask, sequence_elements
from tzrec_build.features.scope import FeatureScope, SequenceScope
from tzrec_build.features.values import DenseValues, FeatureValues, Float32Array, SequenceDenseValues, SparseValues


class RawFeature(Feature):
    """A numeric feature; see `Feature` for the attributes."""

    def __init__(self, config: Any, scope: FeatureScope) -> None:
        super().__init__(config, scope)
        dense_emb = config.WhichOneof("dense_emb")
        if dense_emb:
            raise NotSupportedError(f"raw_feature.{dense_emb}", scope.where)
        self._normalizer = parse_normalizer(config.normalizer, scope.where) if config.normalizer else None
        self._default = self._default_numbers()

    def _expressions(self) -> list[str]:
        return [self.config.expression] if self.config.expression else []

    def _make_bucketizer(self) -> Bucketizer | None:
        boundaries = tuple(self.config.boundaries)
        if not boundaries:
            return None
        if any(left >= right for left, right in itertools.pairwise(boundaries)):
            raise ConfigError(f"{self.scope.where}: boundaries must increase, got {list(boundaries)}")
        return BoundaryBucketizer(boundaries)

    def _find_value_dim(self) -> int:
        value_dim = int(self.config.value_dim)
        if value_dim == 0 and not self.is_sparse:
            raise ConfigError(
                f"{self.scope.where}: value_dim must be at least 1 for a feature without boundaries, got 0"
            )
        if self.is_sparse and self.is_sequence and value_dim != 1:
            raise NotSupportedError(
                f"boundaries with value_dim {value_dim} inside a sequence (only 1)", self.scope.where
            )
        return value_dim

    def _transform(self, columns: list[pa.Array]) -> FeatureValues:
        if self.scope.sequence is not None:
            return self._encode_sequence(columns[0], self.scope.sequence)
        name = self.inputs[0]
        ragged = plain_elements(name, columns[0], self._separator)
        floats = self._floats(ragged)
        if not isinstance(self.bucketizer, BoundaryBucketizer):
            return DenseValues(dense_rows(name, ragged.lengths, floats, self._default, self.value_dim))
        if self.value_dim:
            floats = dense_rows(name, ragged.lengths, floats, self._default, self.value_dim)
            lengths = np.full(len(floats), self.value_dim, np.int32)
            return SparseValues(self.bucketizer.ids_of_floats(floats.reshape(-1)), lengths)
        lengths = ragged.lengths
        if self._default is not None:
            floats, lengths = fill_rows(floats, lengths, self._default), filled_lengths(lengths, len(self._default))
        return SparseValues(self.bucketizer.ids_of_floats(floats), lengths)

    def _encode_sequence(self, column: pa.Array, sequence: SequenceScope) -> FeatureValues:
        name = self.inputs[0]
        outer = sequence_elements(name, column, sequence)
        inner = self._inner(name, outer)
        try:
            floats = self._normalized(as_float32(inner.values))
        except ElementError as err:
            row = None if err.position is None else outer.row_of(inner.row_of(err.position))
            raise ColumnError(name, err.rule, row) from err
        bad = (inner.lengths != 0) & (inner.lengths != self.value_dim)
        if bad.any():
            position = int(bad.argmax())
            rule = f"every element must hold value_dim = {self.value_dim} numbers, got {int(inner.lengths[position])}"
            raise ColumnError(name, rule, outer.row_of(position))
        elements = dense_rows(name, inner.lengths, floats, self._default, self.value_dim)
        if isinstance(self.bucketizer, BoundaryBucketizer):
            return SparseValues(self.bucketizer.ids_of_floats(elements.reshape(-1)), outer.lengths)
        return SequenceDenseValues(elements, outer.lengths)

    def _inner(self, name: str, outer: Ragged) -> Ragged:
        """Numbers of each sequence element; a missing element has none."""
        if is_list(outer.values.type):
            return from_lists(outer.values)
        if is_text(outer.values.type):
            return from_text(outer.values, self._separator)
        if self.value_dim != 1:
            raise ColumnError(
                name, f"must be a list of lists with value_dim = {self.value_dim} numbers each, got a flat list"
            )
        present = present_mask(outer.values)
        return Ragged(outer.values.drop_null(), present.astype(np.int32))

    def _floats(self, ragged: Ragged) -> Float32Array:
        try:
            return self._normalized(as_float32(ragged.values))
        except ElementError as err:
            raise column_error(self.inputs[0], ragged, err) from err

    def _normalized(self, values: Float32Array) -> Float32Array:
        if self._normalizer is None or not self._normalizes():
            return values
        return self._normalizer(values)

    def _default_numbers(self) -> Float32Array | None:
        """The default is never normalized."""
        if not self.default_value:
            return None
        try:
            return as_float32(pa.array(self.default_value.split(self._separator), pa.string()))
        except ElementError as err:
            raise ConfigError(f"{self.scope.where}: default_value {self.default_value!r}: {err.rule}") from err

    def _fg_body(self) -> dict[str, Any]:
        body = self._fg_head() | {"expression": self.config.expression, "value_type": "float"}
        if self.value_dim > 1:
            body |= self._fg_separator() | {"value_dim": self.value_dim}
        if self.config.normalizer:
            body["normalizer"] = self.config.normalizer
        if self.bucketizer is not None:
            body |= self.bucketizer.fg_keys()
        return body
