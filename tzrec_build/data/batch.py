"""One batch of model input: ids, dense values, labels, sample weights, and the columns that only travel along."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import pyarrow as pa
import torch
from torchrec import JaggedTensor, KeyedJaggedTensor, KeyedTensor
from torchrec.streamable import Pipelineable

from tzrec_build.data.groups import BASE_DATA_GROUP, CROSS_NEG_DATA_GROUP, NEG_DATA_GROUP

__all__ = ["BASE_DATA_GROUP", "CROSS_NEG_DATA_GROUP", "NEG_DATA_GROUP", "Batch"]

_Part = TypeVar("_Part", KeyedJaggedTensor, KeyedTensor, JaggedTensor, torch.Tensor)


@dataclass(slots=True)
class Batch(Pipelineable):
    """Input of one training, evaluation or prediction step.

    Attributes:
        size: B, rows of the table in this batch; the rows of ``__NEG__`` are these B and then the sampled ones.
        sparse: data group -> ids of every sparse feature (sequences included), key = feature name,
            values int64, lengths int32 [F * rows]; weights float32 when a feature of the group is weighted (others: 1).
        dense: data group -> float32 [rows, sum of value_dim], keys = feature names.
        sequence_dense: feature name -> values float32 [sum T, value_dim], lengths int32 [rows].
        labels: field -> [B], int64 or float32.
        sample_weights: field -> [B], float32.
        reserves: columns handed through untouched (never moved to a device), or None.
    """

    size: int
    sparse: Mapping[str, KeyedJaggedTensor] = field(default_factory=dict)
    dense: Mapping[str, KeyedTensor] = field(default_factory=dict)
    sequence_dense: Mapping[str, JaggedTensor] = field(default_factory=dict)
    labels: Mapping[str, torch.Tensor] = field(default_factory=dict)
    sample_weights: Mapping[str, torch.Tensor] = field(default_factory=dict)
    reserves: pa.RecordBatch | None = None

    def to(self, device: torch.device, non_blocking: bool = False) -> Batch:  # noqa: FBT001, FBT002 - torchrec's signature
        """Copy every tensor to a device; `reserves` stays where it is."""

        def moved(parts: Mapping[str, _Part]) -> dict[str, _Part]:
            return {name: part.to(device=device, non_blocking=non_blocking) for name, part in parts.items()}

        return Batch(
            size=self.size,
            sparse=moved(self.sparse),
            dense=moved(self.dense),
            sequence_dense=moved(self.sequence_dense),
            labels=moved(self.labels),
            sample_weights=moved(self.sample_weights),
            reserves=self.reserves,
        )

    def pin_memory(self) -> Batch:
        """Copy to page-locked memory, so that a later `to(non_blocking=True)` overlaps with compute."""
        return Batch(
            size=self.size,
            sparse={name: part.pin_memory() for name, part in self.sparse.items()},
            dense={name: _pinned_keyed(part) for name, part in self.dense.items()},
            sequence_dense={name: _pinned_jagged(part) for name, part in self.sequence_dense.items()},
            labels={name: part.pin_memory() for name, part in self.labels.items()},
            sample_weights={name: part.pin_memory() for name, part in self.sample_weights.items()},
            reserves=self.reserves,
        )

    def record_stream(self, stream: torch.Stream) -> None:
        """Keep the memory of every tensor until the work queued on `stream` is done."""
        for parts in (self.sparse, self.dense, self.sequence_dense, self.labels, self.sample_weights):
            for part in parts.values():
                part.record_stream(stream)


def _pinned_keyed(part: KeyedTensor) -> KeyedTensor:
    return KeyedTensor(keys=part.keys(), length_per_key=part.length_per_key(), values=part.values().pin_memory())


def _pinned_jagged(part: JaggedTensor) -> JaggedTensor:
    return JaggedTensor(values=part.values().pin_memory(), lengths=part.lengths().pin_memory())
