"""Encoded columns of one slice to a `Batch` of tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import torch
from torchrec import JaggedTensor, KeyedJaggedTensor, KeyedTensor

from tzrec_build.data.batch import Batch
from tzrec_build.data.labels import LabelRange
from tzrec_build.data.row_errors import ColumnError
from tzrec_build.features.feature import Feature
from tzrec_build.features.values import DenseValues, FeatureValues, Float32Array, SequenceDenseValues, SparseValues


class BatchBuilder:
    """Knows which columns a pipeline needs and how they become tensors.

    Args:
        features: the features to encode.
        label_fields: columns of labels; integers become int64, floats float32.
        sample_weight_fields: float columns of sample weights.
        reserved_columns: columns that travel with the batch untouched.

    Attributes:
        label_ranges: what each label may hold; any finite number where it says nothing.
    """

    def __init__(
        self,
        features: Sequence[Feature],
        label_fields: Sequence[str] = (),
        sample_weight_fields: Sequence[str] = (),
        reserved_columns: Sequence[str] = (),
    ) -> None:
        self._features = tuple(features)
        self._label_fields = tuple(label_fields)
        self._sample_weight_fields = tuple(sample_weight_fields)
        self._reserved_columns = tuple(reserved_columns)
        self.label_ranges: Mapping[str, LabelRange] = {}
        inputs = [name for feature in self._features for name in feature.inputs]
        self.columns = tuple(
            dict.fromkeys([*inputs, *self._label_fields, *self._sample_weight_fields, *self._reserved_columns])
        )

    def build(self, columns: Mapping[str, pa.Array], size: int | None = None) -> Batch:
        """Encode one slice.

        Args:
            columns: at least `self.columns`; columns with sampled negatives are longer than the others.
            size: B, rows without the sampled ones; by default the shortest column.
        Raises:
            ColumnError: a value that the config does not allow; knows column and row.
        """
        if size is None:
            size = min(len(columns[name]) for name in self.columns) if self.columns else 0
        sparse: dict[str, dict[str, SparseValues]] = {}
        dense: dict[str, dict[str, DenseValues]] = {}
        sequence_dense: dict[str, JaggedTensor] = {}
        for feature in self._features:
            encoded: FeatureValues = feature.encode(columns)
            if isinstance(encoded, SparseValues):
                sparse.setdefault(feature.data_group, {})[feature.name] = encoded
            elif isinstance(encoded, DenseValues):
                dense.setdefault(feature.data_group, {})[feature.name] = encoded
            else:
                sequence_dense[feature.name] = _jagged(encoded)
        return Batch(
            size=size,
            sparse={group: _keyed_jagged(parts) for group, parts in sparse.items()},
            dense={group: _keyed(parts) for group, parts in dense.items()},
            sequence_dense=sequence_dense,
            labels={
                name: label_tensor(name, columns[name], self.label_ranges.get(name)) for name in self._label_fields
            },
            sample_weights={name: weight_tensor(name, columns[name]) for name in self._sample_weight_fields},
            reserves=_reserves(self._reserved_columns, columns),
        )


def label_tensor(name: str, column: pa.Array, allowed: LabelRange | None = None) -> torch.Tensor:
    """A label column as int64 or float32 [B].

    Args:
        name: of the column.
        column: its values.
        allowed: what they may be; None for any finite number.
    Raises:
        ColumnError: a null, NaN or infinity, a value outside, or a type that is neither integer nor float.
    """
    _refuse_null(name, column, "a label must not be null; drop the row or fill it in the table")
    if pa.types.is_integer(column.type) or pa.types.is_boolean(column.type):
        values = column.cast(pa.int64()).to_numpy(zero_copy_only=False).copy()
    elif pa.types.is_floating(column.type):
        values = _finite_floats(name, column, "a label")
    else:
        rule = f"a label must be an integer or a float column, got {column.type}; convert it in the table"
        raise ColumnError(name, rule)
    if allowed is not None:
        allowed.check(name, values)
    return torch.from_numpy(values)


def weight_tensor(name: str, column: pa.Array) -> torch.Tensor:
    """A sample weight column as float32 [B]; raises ColumnError for nulls, NaN, infinities and other types."""
    if not pa.types.is_floating(column.type):
        raise ColumnError(name, f"a sample weight must be a float column, got {column.type}; convert it in the table")
    _refuse_null(name, column, "a sample weight must not be null; fill it in the table")
    return torch.from_numpy(_finite_floats(name, column, "a sample weight"))


def _finite_floats(name: str, column: pa.Array, what: str) -> Float32Array:
    values: Float32Array = column.cast(pa.float32(), safe=False).to_numpy().copy()
    finite = np.isfinite(values)
    if not finite.all():
        row = int(finite.argmin())
        raise ColumnError(name, f"{what} must be a finite number, got {values[row]:g}; mend the table", row)
    return values


def _refuse_null(name: str, column: pa.Array, rule: str) -> None:
    if column.null_count:
        raise ColumnError(name, rule, int(column.is_null().to_numpy(zero_copy_only=False).argmax()))


def _keyed_jagged(parts: Mapping[str, SparseValues]) -> KeyedJaggedTensor:
    weighted = any(part.weights is not None for part in parts.values())
    weights = None
    if weighted:
        ones = [
            np.ones(len(part.values), np.float32) if part.weights is None else part.weights for part in parts.values()
        ]
        weights = torch.from_numpy(np.concatenate(ones))
    return KeyedJaggedTensor(
        keys=list(parts),
        values=torch.from_numpy(np.concatenate([part.values for part in parts.values()])),
        lengths=torch.from_numpy(np.concatenate([part.lengths for part in parts.values()])),
        weights=weights,
    )


def _keyed(parts: Mapping[str, DenseValues]) -> KeyedTensor:
    return KeyedTensor(
        keys=list(parts),
        length_per_key=[part.values.shape[1] for part in parts.values()],
        values=torch.from_numpy(np.concatenate([part.values for part in parts.values()], axis=1)),
    )


def _jagged(part: SequenceDenseValues) -> JaggedTensor:
    # copies, because Arrow's buffers are read-only and torch warns about those
    return JaggedTensor(values=torch.from_numpy(part.values.copy()), lengths=torch.from_numpy(part.lengths.copy()))


def _reserves(names: Sequence[str], columns: Mapping[str, pa.Array]) -> pa.RecordBatch | None:
    if not names:
        return None
    return pa.RecordBatch.from_arrays([columns[name] for name in names], names=list(names))
