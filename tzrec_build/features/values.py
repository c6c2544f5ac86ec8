"""What a feature's `encode` returns: NumPy arrays, so that this floor works without torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Int64Array = npt.NDArray[np.int64]
Int32Array = npt.NDArray[np.int32]
Float32Array = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class SparseValues:
    """Ids of one feature.

    Attributes:
        values: int64 [sum of lengths], row after row.
        lengths: int32 [B], ids per row; of a sequence feature: elements per row.
        weights: float32 like `values`, or None for a feature without weights.
    """

    values: Int64Array
    lengths: Int32Array
    weights: Float32Array | None = None


@dataclass(frozen=True, slots=True)
class DenseValues:
    """Numbers of one feature: float32 [B, value_dim]."""

    values: Float32Array


@dataclass(frozen=True, slots=True)
class SequenceDenseValues:
    """Numbers of one sequence feature: values float32 [sum of lengths, value_dim], lengths int32 [B]."""

    values: Float32Array
    lengths: Int32Array


FeatureValues = SparseValues | DenseValues | SequenceDenseValues
