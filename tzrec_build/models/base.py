"""What every model offers to training, evaluation, prediction and export."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import nn

from tzrec_build.data.batch import Batch
from tzrec_build.data.labels import LabelRange
from tzrec_build.errors import ConfigError, suggestion
from tzrec_build.models.heads import TaskHead, TaskWeights, Tensors
from tzrec_build.models.metric_specs import MetricSpec
from tzrec_build.modules.embedding_group import EmbeddingGroup
from tzrec_build.modules.embedding_tables import EmbeddedFeature
from tzrec_build.modules.variational_dropout import VariationalDropout
from tzrec_build.protos.tzrec import model_pb2

_SEQUENCE = model_pb2.FeatureGroupType.SEQUENCE


@dataclass(frozen=True, slots=True)
class ModelContext:
    """What a model is built from.

    Args:
        config: the model part of the pipeline config.
        features: all features, in config order.
        label_fields: label columns.
        sample_weight_fields: sample weight columns.
        has_sampler: whether training adds sampled negatives to the rows.
    """

    config: model_pb2.ModelConfig
    features: Sequence[EmbeddedFeature]
    label_fields: tuple[str, ...]
    sample_weight_fields: tuple[str, ...]
    has_sampler: bool

    def group(self, name: str, where: str) -> model_pb2.FeatureGroupConfig:
        """Feature group by name; raises ConfigError with the nearest name."""
        groups = {group.group_name: group for group in self.config.feature_groups}
        if name not in groups:
            raise ConfigError(f"{where}: no feature group is named {name!r}{suggestion(name, groups)}")
        return groups[name]

    def first_group(self, where: str) -> model_pb2.FeatureGroupConfig:
        """The group that models with one input use."""
        if not self.config.feature_groups:
            raise ConfigError(f"{where}: needs a feature group, got none; add feature_groups to model_config")
        return self.config.feature_groups[0]

    def label(self, name: str, where: str) -> str:
        """A label field that exists in data_config."""
        if name not in self.label_fields:
            raise ConfigError(
                f"{where}: {name!r} is not in data_config.label_fields{suggestion(name, self.label_fields)}"
            )
        return name

    def sample_weight(self, name: str, where: str) -> str:
        """A sample weight field that exists in data_config."""
        if name not in self.sample_weight_fields:
            hint = suggestion(name, self.sample_weight_fields)
            raise ConfigError(f"{where}: {name!r} is not in data_config.sample_weight_fields{hint}")
        return name

    def only_weights(self) -> TaskWeights | None:
        """Row weights of a model with one label: the first sample weight field, if any."""
        if not self.sample_weight_fields:
            return None
        return TaskWeights(sample_weight=self.sample_weight_fields[0])


class BaseModel(nn.Module):
    """A model: predictions from a batch, losses from predictions, and the metrics that judge them.

    Attributes:
        metric_specs: metrics of the config.
    """

    metric_specs: list[MetricSpec]

    def forward(self, batch: Batch) -> Tensors:
        """Same as `predict`."""
        return self.predict(batch)

    def predict(self, batch: Batch) -> Tensors:
        """Name -> prediction, [B] or [B, n]; free of data-dependent Python, so that FX can trace it."""
        raise NotImplementedError

    def loss(self, predictions: Tensors, batch: Batch) -> Tensors:
        """Name -> scalar loss; the total is their sum."""
        raise NotImplementedError

    def label_ranges(self) -> dict[str, LabelRange]:
        """Label field -> what it may hold; fields that no loss reads are absent."""
        return {}

    def loss_names(self) -> tuple[str, ...]:
        """Names of the losses, without the penalties of variational dropout."""
        raise NotImplementedError

    def result_names(self) -> set[str]:
        """Names in the result of an evaluation."""
        return {spec.name for spec in self.metric_specs} | set(self.loss_names())

    def metric_label(self, spec: MetricSpec, predictions: Tensors, batch: Batch) -> torch.Tensor:  # noqa: ARG002
        """Target [B] of one metric."""
        return batch.labels[spec.label]


class InputStage(nn.Module):
    """Embedding group and, where configured, variational dropout over its groups; base of models and towers.

    State: `embedding_group.*`, `group_variational_dropouts.<group>.*`.
    """

    embedding_group: EmbeddingGroup
    group_variational_dropouts: nn.ModuleDict

    def init_dropouts(self, context: ModelContext, groups: Iterable[str], source: EmbeddingGroup) -> None:
        """Make the dropouts of those groups that have more than one entry and are no sequence."""
        self._has_dropouts = context.config.HasField("variational_dropout")
        if not self._has_dropouts:
            return
        strength = context.config.variational_dropout.regularization_lambda
        dims = {name: source.feature_dims(name) for name in groups if not _is_sequence(context, name)}
        self.group_variational_dropouts = nn.ModuleDict(
            {name: VariationalDropout(widths, strength) for name, widths in dims.items() if len(widths) > 1}
        )

    def drop(self, inputs: Tensors) -> Tensors:
        """Apply the dropouts to group outputs."""
        if not self._has_dropouts:
            return inputs
        dropped = {name: dropout(inputs[name]) for name, dropout in self.group_variational_dropouts.items()}
        return {**inputs, **dropped}

    def dropout_losses(self, num_rows: int) -> Tensors:
        """Penalty of each group: `<group>_feature_p_loss`."""
        if not self._has_dropouts:
            return {}
        return {
            f"{name}_feature_p_loss": cast("VariationalDropout", dropout).penalty(num_rows)
            for name, dropout in self.group_variational_dropouts.items()
        }


def _is_sequence(context: ModelContext, name: str) -> bool:
    return context.group(name, "model_config").group_type == _SEQUENCE


class RankModel(InputStage, BaseModel):
    """A model that scores rows; base of models with one label and with several tasks.

    Args:
        context: what the model is built from.
        wide_embedding_dim: dim of wide tables; None for 4.
        wide_init_fn: initialiser text of wide tables; None for each feature's own.
    """

    def __init__(
        self, context: ModelContext, wide_embedding_dim: int | None = None, wide_init_fn: str | None = None
    ) -> None:
        super().__init__()
        groups = context.config.feature_groups
        self.embedding_group = EmbeddingGroup(context.features, groups, wide_embedding_dim, wide_init_fn)
        self.init_dropouts(context, [group.group_name for group in groups], self.embedding_group)
        self.heads: tuple[TaskHead, ...] = ()
        self.metric_specs = []

    def build_input(self, batch: Batch) -> Tensors:
        """Group outputs after dropout; keys as `EmbeddingGroup.forward`."""
        return self.drop(self.embedding_group(batch))

    def add_only_head(self, context: ModelContext) -> int:
        """Declare the single task of a model with one label; returns its number of logits."""
        config = context.config
        if not context.label_fields:
            raise ConfigError("data_config.label_fields: needs a label, got none; name the label column")
        head = TaskHead(
            "", config.num_class, context.label_fields[0], tuple(config.losses), context.only_weights(), "model_config"
        )
        self.heads = (head,)
        self.metric_specs = head.metric_specs(config.metrics)
        return config.num_class

    def head_outputs(self, logits: Sequence[torch.Tensor]) -> Tensors:
        """Predictions of all tasks from their logits [B, C], in the order of the heads."""
        found: Tensors = {}
        for head, task_logits in zip(self.heads, logits, strict=True):
            found.update(head.outputs(task_logits))
        return found

    def loss_names(self) -> tuple[str, ...]:
        """Losses of all tasks; see `BaseModel.loss_names`."""
        return tuple(name for head in self.heads for name in head.loss_names())

    def label_ranges(self) -> dict[str, LabelRange]:
        """What the losses of all tasks allow; see `BaseModel.label_ranges`."""
        found: dict[str, LabelRange] = {}
        for head in self.heads:
            allowed = head.label_range()
            found[head.label] = found[head.label].meet(allowed) if head.label in found else allowed
        return found

    def loss(self, predictions: Tensors, batch: Batch) -> Tensors:
        """Losses of all tasks, then the penalties of variational dropout."""
        found: Tensors = {}
        for head in self.heads:
            found.update(head.loss(predictions, batch.labels, batch.sample_weights))
        found.update(self.dropout_losses(batch.labels[self.heads[0].label].size(0)))
        return found
