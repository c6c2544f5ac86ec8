"""Small features, batches and model configs for tests of the modules and models floors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from google.protobuf import text_format
from torchrec import JaggedTensor, KeyedJaggedTensor, KeyedTensor

from tzrec_build.data.batch import BASE_DATA_GROUP, Batch
from tzrec_build.protos.tzrec import model_pb2, pipeline_pb2


@dataclass(frozen=True, slots=True)
class FakeFeature:
    """A feature as the embedding stage sees it: sparse by default, dense with `is_sparse=False`."""

    name: str
    embedding_dim: int = 4
    num_embeddings: int = 10
    is_sparse: bool = True
    is_sequence: bool = False
    is_weighted: bool = False
    data_group: str = BASE_DATA_GROUP
    embedding_name: str = ""
    output_dim: int = 0
    pooling: str = "SUM"
    init_fn: str = ""
    trainable: bool = True
    data_type: str = "FP32"


def sparse(name: str, **changes) -> FakeFeature:
    made = FakeFeature(name, **{"embedding_name": f"{name}_emb", **changes})
    return FakeFeature(**{**_fields(made), "output_dim": made.embedding_dim})


def dense(name: str, output_dim: int = 1, **changes) -> FakeFeature:
    return FakeFeature(name, is_sparse=False, output_dim=output_dim, embedding_dim=0, num_embeddings=0, **changes)


def _fields(feature: FakeFeature) -> dict[str, object]:
    return {name: getattr(feature, name) for name in feature.__slots__}


def groups(text: str) -> Sequence[model_pb2.FeatureGroupConfig]:
    """Feature groups from text format."""
    return list(text_format.Parse(text, model_pb2.ModelConfig()).feature_groups)


def pipeline(model_config: str, data_config: str = 'label_fields: "clk"') -> pipeline_pb2.EasyRecConfig:
    """A pipeline config of a model part and a data part."""
    text = f"model_config {{ {model_config} }} data_config {{ {data_config} }}"
    return text_format.Parse(text, pipeline_pb2.EasyRecConfig())


@dataclass(slots=True)
class Rows:
    """Values for a batch: ids per row, weights per id, numbers, sequences of numbers, labels."""

    ids: Mapping[str, Sequence[Sequence[int]]] = field(default_factory=dict)
    weights: Mapping[str, Sequence[Sequence[float]]] = field(default_factory=dict)
    numbers: Mapping[str, Sequence[Sequence[float]]] = field(default_factory=dict)
    sequences: Mapping[str, Sequence[Sequence[Sequence[float]]]] = field(default_factory=dict)
    labels: Mapping[str, Sequence[float]] = field(default_factory=dict)
    sample_weights: Mapping[str, Sequence[float]] = field(default_factory=dict)


def batch_of(rows: Rows, data_group: str = BASE_DATA_GROUP, size: int = 0) -> Batch:
    """A batch of one data group."""
    keyed = {data_group: _keyed_jagged(rows)} if rows.ids else {}
    numbers = {data_group: _keyed(rows.numbers)} if rows.numbers else {}
    return Batch(
        size=size,
        sparse=keyed,
        dense=numbers,
        sequence_dense={name: _jagged(values) for name, values in rows.sequences.items()},
        labels={name: torch.tensor(values) for name, values in rows.labels.items()},
        sample_weights={name: torch.tensor(values) for name, values in rows.sample_weights.items()},
    )


def _keyed_jagged(rows: Rows) -> KeyedJaggedTensor:
    per_key = list(rows.ids.items())
    values = [value for _, bags in per_key for bag in bags for value in bag]
    lengths = [len(bag) for _, bags in per_key for bag in bags]
    weights = None
    if rows.weights:
        plain = {name: [[1.0] * len(bag) for bag in bags] for name, bags in per_key}
        chosen = {**plain, **rows.weights}
        weights = torch.tensor([w for name, _ in per_key for bag in chosen[name] for w in bag], dtype=torch.float32)
    return KeyedJaggedTensor(
        keys=[name for name, _ in per_key],
        values=torch.tensor(values, dtype=torch.int64),
        lengths=torch.tensor(lengths, dtype=torch.int32),
        weights=weights,
    )


def _keyed(numbers: Mapping[str, Sequence[Sequence[float]]]) -> KeyedTensor:
    tensors = [torch.tensor(values, dtype=torch.float32) for values in numbers.values()]
    return KeyedTensor(
        keys=list(numbers), length_per_key=[t.size(1) for t in tensors], values=torch.cat(tensors, dim=1)
    )


def _jagged(values: Sequence[Sequence[Sequence[float]]]) -> JaggedTensor:
    width = next(len(step) for row in values for step in row)
    flat = [step for row in values for step in row]
    return JaggedTensor(
        values=torch.tensor(flat, dtype=torch.float32).reshape(-1, width),
        lengths=torch.tensor([len(row) for row in values], dtype=torch.int32),
    )
