"""The embedding stage: a batch of ids and numbers becomes one tensor per feature group.

Plain TorchRec collections under fixed names, so that a checkpoint of TorchEasyRec loads and a sharder finds them:
`emb_impls.<data group>.ebc` for pooled features, `seq_emb_impls.<data group>.ec_dict.<dim>` for sequences.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import nn
from torchrec import (
    EmbeddingBagCollection,
    EmbeddingBagConfig,
    EmbeddingCollection,
    EmbeddingConfig,
    JaggedTensor,
    KeyedJaggedTensor,
    PoolingType,
)
from torchrec.modules.embedding_configs import DataType

from tzrec_build.data.batch import Batch
from tzrec_build.errors import ConfigError, suggestion
from tzrec_build.modules import jagged as jagged_ops  # through the module: FX replaces its functions while tracing
from tzrec_build.modules.embedding_plan import (
    WIDE_EMBEDDING_DIM,
    Column,
    FlatGroup,
    SequenceGroup,
    plan_embeddings,
)
from tzrec_build.modules.embedding_tables import EmbeddedFeature, Table
from tzrec_build.modules.init import build_init_fn
from tzrec_build.modules.sequence_encoders import SequenceDims, SequenceEncoder, build_encoder
from tzrec_build.protos.tzrec import model_pb2

_DATA_TYPES = {"FP32": DataType.FP32, "FP16": DataType.FP16}
_POOLINGS = {"SUM": PoolingType.SUM, "MEAN": PoolingType.MEAN}


class PooledTables(nn.Module):
    """Bags of one data group.

    Args:
        tables: the tables; features of several tables are looked up in each.
    """

    def __init__(self, tables: Sequence[Table]) -> None:
        super().__init__()
        weighted = any(table.weighted for table in tables)
        means = [name for table in tables if table.pooling == "MEAN" for name in table.features]
        self._mean_features = means if weighted else []
        configs = [
            EmbeddingBagConfig(
                pooling=PoolingType.SUM if weighted else _POOLINGS[table.pooling], **_common_fields(table)
            )
            for table in tables
        ]
        self.ebc = EmbeddingBagCollection(configs, is_weighted=weighted)
        _freeze(self.ebc.embedding_bags, tables)

    def forward(self, features: KeyedJaggedTensor) -> dict[str, torch.Tensor]:
        """Look up; returns output key -> [B, embedding_dim] float32."""
        if self._mean_features:
            features = jagged_ops.scale_mean_weights(features, self._mean_features)
        return self.ebc(features).to_dict()


class SequenceTables(nn.Module):
    """Sequence tables of one data group, one collection for each dim.

    Args:
        tables_by_dim: dim -> tables.
    """

    def __init__(self, tables_by_dim: dict[int, Sequence[Table]]) -> None:
        super().__init__()
        self.ec_dict = nn.ModuleDict()
        for dim, tables in tables_by_dim.items():
            configs = [EmbeddingConfig(**_common_fields(table)) for table in tables]
            collection = EmbeddingCollection(configs)
            _freeze(collection.embeddings, tables)
            self.ec_dict[str(dim)] = collection

    def forward(self, features: KeyedJaggedTensor) -> dict[str, dict[str, JaggedTensor]]:
        """Look up; returns dim -> output key -> values [sum T, dim] with their lengths."""
        return {dim: collection(features) for dim, collection in self.ec_dict.items()}


class EmbeddingGroup(nn.Module):
    """Feature groups as tensors.

    Args:
        features: all features of the config; the groups pick theirs by name.
        feature_groups: the groups of this stage.
        wide_embedding_dim: dim of the tables of WIDE groups; None for 4.
        wide_init_fn: initialiser text of those tables; None keeps each feature's own.

    Raises:
        ConfigError: a group names an unknown feature or is inconsistent.

    Outputs of forward: `<group>` [B, dim] of a DEEP or WIDE group (features in order, then encoders);
    `<group>.query` [B, Q], `<group>.sequence` [B, T, D], `<group>.sequence_length` [B] of a sequence group.
    """

    def __init__(
        self,
        features: Sequence[EmbeddedFeature],
        feature_groups: Sequence[model_pb2.FeatureGroupConfig],
        wide_embedding_dim: int | None = None,
        wide_init_fn: str | None = None,
    ) -> None:
        super().__init__()
        plan = plan_embeddings(features, feature_groups, wide_embedding_dim or WIDE_EMBEDDING_DIM, wide_init_fn or "")
        self._flat_groups = {group.name: group for group in plan.flat_groups}
        self._sequence_groups = {group.name: group for group in plan.sequence_groups}
        self.emb_impls = nn.ModuleDict({name: PooledTables(tables) for name, tables in plan.pooled.items()})
        by_group: dict[str, dict[int, Sequence[Table]]] = {}
        for (data_group, dim), tables in plan.sequences.items():
            by_group.setdefault(data_group, {})[dim] = tables
        self.seq_emb_impls = nn.ModuleDict({name: SequenceTables(tables) for name, tables in by_group.items()})
        self._pooled_keys = {name: _output_keys(tables) for name, tables in plan.pooled.items()}
        self._sequence_keys = {place: _output_keys(tables) for place, tables in plan.sequences.items()}
        encoders = {group.name: self._build_encoders(group) for group in plan.flat_groups if group.encoders}
        self._encoder_dims = {name: [encoder.output_dim for encoder in parts] for name, parts in encoders.items()}
        self._group_name_to_seq_encoders = nn.ModuleDict(
            {name: nn.ModuleList(parts) for name, parts in encoders.items()}
        )

    def _build_encoders(self, group: FlatGroup) -> list[SequenceEncoder]:
        encoders = []
        for index, (config, source) in enumerate(group.encoders):
            sequence = self._sequence_groups[source]
            where = f"{group.where}.sequence_encoders[{index}]"
            encoders.append(build_encoder(config, SequenceDims(sequence.query_dim, sequence.sequence_dim, where)))
        return encoders

    def forward(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Look up and concatenate; see the class for the keys."""
        pooled = {name: tables(batch.sparse[name]) for name, tables in self.emb_impls.items()}
        jagged = {name: tables(batch.sparse[name]) for name, tables in self.seq_emb_impls.items()}
        outputs: dict[str, torch.Tensor] = {}
        for sequence in self._sequence_groups.values():
            outputs.update(self._sequence_outputs(sequence, batch, jagged.get(sequence.data_group, {})))
        for group in self._flat_groups.values():
            parts = [
                pooled[group.data_group][self._pooled_keys[group.data_group][column.feature, column.table]]
                if column.table
                else batch.dense[group.data_group][column.feature]
                for column in group.columns
            ]
            parts.extend(self._encoded(group, outputs))
            outputs[group.name] = torch.cat(parts, dim=1)
        return outputs

    def _encoded(self, group: FlatGroup, outputs: dict[str, torch.Tensor]) -> list[torch.Tensor]:
        """Outputs of the group's sequence encoders."""
        if not group.encoders:
            return []
        encoders = cast("nn.ModuleList", self._group_name_to_seq_encoders[group.name])
        return [
            encoder(outputs[f"{source}.query"], outputs[f"{source}.sequence"], outputs[f"{source}.sequence_length"])
            for encoder, (_, source) in zip(encoders, group.encoders, strict=True)
        ]

    def _sequence_outputs(
        self, group: SequenceGroup, batch: Batch, jagged: dict[str, dict[str, JaggedTensor]]
    ) -> dict[str, torch.Tensor]:
        """Query, padded sequence and lengths of one sequence group."""
        found = [self._jagged(column, group, batch, jagged) for column in group.sequence]
        lengths = found[0].lengths()
        max_length = jagged_ops.longest(lengths)
        sequence = torch.cat([jagged_ops.pad_sequence(jt.values(), jt.lengths(), max_length) for jt in found], dim=2)
        query = [self._query(column, group, batch, jagged) for column in group.query]
        return {
            f"{group.name}.query": torch.cat(query, dim=1) if query else sequence[:, 0, :0],
            f"{group.name}.sequence": sequence,
            f"{group.name}.sequence_length": lengths,
        }

    def _query(
        self, column: Column, group: SequenceGroup, batch: Batch, jagged: dict[str, dict[str, JaggedTensor]]
    ) -> torch.Tensor:
        """One query column [B, dim]; of several ids the first counts, a row without ids gives zeros."""
        if not column.table:
            return batch.dense[group.data_group][column.feature]
        found = self._jagged(column, group, batch, jagged)
        return jagged_ops.pad_sequence(found.values(), found.lengths(), 1).squeeze(1)

    def _jagged(
        self, column: Column, group: SequenceGroup, batch: Batch, jagged: dict[str, dict[str, JaggedTensor]]
    ) -> JaggedTensor:
        """Values and lengths of one sequence column, or of a sparse query column."""
        if not column.table:
            return batch.sequence_dense[column.feature]
        key = self._sequence_keys[group.data_group, column.dim][column.feature, column.table]
        return jagged[str(column.dim)][key]

    def has_group(self, name: str) -> bool:
        """Whether a group of this name exists."""
        return name in self._flat_groups or name in self._sequence_groups

    def feature_dims(self, name: str) -> dict[str, int]:
        """Ordered {feature: width} of a group; the entries of encoders are `<group>_seq_encoder_<i>`."""
        if name in self._flat_groups:
            group = self._flat_groups[name]
            dims = {column.feature: column.dim for column in group.columns}
            encoder_dims = self._encoder_dims.get(name, [])
            return {**dims, **{f"{name}_seq_encoder_{i}": dim for i, dim in enumerate(encoder_dims)}}
        sequence = self._sequence_groups[self._known(name)]
        return {column.feature: column.dim for column in (*sequence.query, *sequence.sequence)}

    def group_dims(self, name: str) -> list[int]:
        """Widths of the entries of a group, or of `<group>.query` and `<group>.sequence`."""
        base, _, part = name.rpartition(".")
        if base in self._sequence_groups and part in {"query", "sequence"}:
            return [column.dim for column in getattr(self._sequence_groups[base], part)]
        return list(self.feature_dims(name).values())

    def group_total_dim(self, name: str) -> int:
        """Width of a group, or of `<group>.query` and `<group>.sequence`."""
        return sum(self.group_dims(name))

    def _known(self, name: str) -> str:
        if not self.has_group(name):
            known = [*self._flat_groups, *self._sequence_groups]
            raise ConfigError(f"model_config.feature_groups: no group is named {name!r}{suggestion(name, known)}")
        return name


def _common_fields(table: Table) -> dict[str, Any]:
    """Fields that configs of bags and of sequences share."""
    where = f"embedding {table.name!r}"
    if table.data_type not in _DATA_TYPES:
        hint = suggestion(table.data_type, _DATA_TYPES)
        raise ConfigError(f"{where}: data_type must be FP32 or FP16, got {table.data_type!r}{hint}")
    fields: dict[str, Any] = {
        "name": table.name,
        "num_embeddings": table.num_embeddings,
        "embedding_dim": table.embedding_dim,
        "feature_names": list(table.features),
        "data_type": _DATA_TYPES[table.data_type],
    }
    if table.init_fn:
        fields["init_fn"] = build_init_fn(table.init_fn, where)
    return fields


def _freeze(parts: nn.ModuleDict, tables: Sequence[Table]) -> None:
    """Keep the tables that the config does not train out of the gradients."""
    for table in tables:
        weight = cast("nn.Embedding", parts[table.name]).weight
        weight.requires_grad_(table.trainable)


def _output_keys(tables: Sequence[Table]) -> dict[tuple[str, str], str]:
    """(feature, table) -> key in TorchRec's output: the feature, or `feature@table` when it has several tables."""
    count = Counter(feature for table in tables for feature in table.features)
    return {
        (feature, table.name): feature if count[feature] == 1 else f"{feature}@{table.name}"
        for table in tables
        for feature in table.features
    }
