"""Base of models that learn several tasks from the first feature group."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from tzrec_build.data.batch import Batch
from tzrec_build.errors import ConfigError
from tzrec_build.models.base import ModelContext, RankModel
from tzrec_build.models.heads import TaskHead, TaskWeights, Tensors
from tzrec_build.modules.mlp import MLPSpec
from tzrec_build.modules.task_tower import TaskTower
from tzrec_build.protos.tzrec import tower_pb2

Tower = tower_pb2.TaskTower | tower_pb2.BayesTaskTower
_WEIGHT_FIELDS = ("weight", "sample_weight_name", "task_space_indicator_label")


class MultiTaskModel(RankModel):
    """Several heads on one input.

    Args:
        context: what the model is built from.
        towers: the tasks, in config order.
        where: place of the model in the config, for messages.
    """

    def __init__(self, context: ModelContext, towers: Sequence[Tower], where: str) -> None:
        super().__init__(context)
        self._input_group = context.first_group(where).group_name
        if context.first_group(where).group_type != 0:
            raise ConfigError(
                f"{where}: the first feature group must be DEEP; {self._input_group!r} is not, reorder them"
            )
        self.input_dim = self.embedding_group.group_total_dim(self._input_group)
        _check_names(towers, where)
        heads = []
        for index, tower in enumerate(towers):
            head = _task_head(context, tower, f"{where}.task_towers[{index}]")
            heads.append(head)
            self.metric_specs.extend(head.metric_specs(tower.metrics))
        self.heads = tuple(heads)

    def task_input(self, batch: Batch) -> torch.Tensor:
        """The first group's output [B, input_dim]."""
        return self.build_input(batch)[self._input_group]

    def add_task_towers(self, widths: Sequence[int], towers: Sequence[tower_pb2.TaskTower], where: str) -> None:
        """Make one TaskTower per task over inputs of the given widths."""
        self._task_tower = nn.ModuleList()
        for index, (width, tower) in enumerate(zip(widths, towers, strict=True)):
            spec = (
                MLPSpec.from_config(tower.mlp, f"{where}.task_towers[{index}].mlp") if tower.HasField("mlp") else None
            )
            self._task_tower.append(TaskTower(width, tower.num_class, spec))

    def tower_outputs(self, inputs: Sequence[torch.Tensor]) -> Tensors:
        """Predictions of all tasks from the inputs of their towers."""
        return self.head_outputs([tower(x) for tower, x in zip(self._task_tower, inputs, strict=True)])


def _task_head(context: ModelContext, tower: Tower, where: str) -> TaskHead:
    return TaskHead(
        suffix=f"_{tower.tower_name}",
        num_class=tower.num_class,
        label=context.label(tower.label_name, f"{where}.label_name"),
        losses=tuple(tower.losses),
        weights=_task_weights(context, tower, where),
        where=where,
    )


def _task_weights(context: ModelContext, tower: Tower, where: str) -> TaskWeights | None:
    """Weights of a task; None when the config sets none of them, which gives a plain mean."""
    if not any(tower.HasField(name) for name in _WEIGHT_FIELDS):
        return None
    weight, indicator = tower.sample_weight_name, tower.task_space_indicator_label
    return TaskWeights(
        sample_weight=context.sample_weight(weight, f"{where}.sample_weight_name") if weight else "",
        task_weight=tower.weight,
        indicator=context.label(indicator, f"{where}.task_space_indicator_label") if indicator else "",
        in_space=tower.in_task_space_weight,
        out_space=tower.out_task_space_weight,
    )


def _check_names(towers: Sequence[Tower], where: str) -> None:
    """Tower names are module names: unique, not empty, without dots."""
    if not towers:
        raise ConfigError(f"{where}.task_towers: needs at least one task, got none")
    seen: set[str] = set()
    for index, tower in enumerate(towers):
        name = tower.tower_name
        if not name or "." in name or name in seen:
            raise ConfigError(
                f"{where}.task_towers[{index}].tower_name: must be unique, not empty and without dots, got {name!r}"
            )
        seen.add(name)
