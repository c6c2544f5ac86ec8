"""DBMTL: tasks that read the representations of earlier tasks."""

from __future__ import annotations

import torch
from torch import nn

from tzrec_build.data.batch import Batch
from tzrec_build.errors import ConfigError, suggestion
from tzrec_build.models.base import ModelContext
from tzrec_build.models.heads import Tensors
from tzrec_build.models.multi_task import MultiTaskModel
from tzrec_build.modules.mask_net import MaskNet
from tzrec_build.modules.mlp import MLPSpec, build_mlp
from tzrec_build.modules.mmoe import MMoE, MMoESpec
from tzrec_build.protos.tzrec import tower_pb2
from tzrec_build.protos.tzrec.models import multi_task_rank_pb2

_WHERE = "model_config.dbmtl"


class DBMTL(MultiTaskModel):
    """Optional mask net, bottom MLP and experts; then per task an MLP and a relation MLP over related tasks.

    Source: arXiv:1902.09154.
    """

    def __init__(self, context: ModelContext) -> None:
        config = context.config.dbmtl
        super().__init__(context, config.task_towers, _WHERE)
        self._towers = tuple((tower.tower_name, tuple(tower.relation_tower_names)) for tower in config.task_towers)
        _check_relations(self._towers)
        width = self._add_shared(config)
        self.task_mlps = nn.ModuleDict()
        self.relation_mlps = nn.ModuleDict()
        self.task_outputs = nn.ModuleList()
        widths: dict[str, int] = {}
        for index, tower in enumerate(config.task_towers):
            widths[tower.tower_name] = self._add_task(tower, width, widths, f"{_WHERE}.task_towers[{index}]")

    def _add_shared(self, config: multi_task_rank_pb2.DBMTL) -> int:
        """Make the parts that all tasks share; returns the width that each task gets."""
        width = self.input_dim
        self._has_mask_net = config.HasField("mask_net")
        if self._has_mask_net:
            self.mask_net = MaskNet(width, config.mask_net, f"{_WHERE}.mask_net")
            width = self.mask_net.output_dim
        self._has_bottom = config.HasField("bottom_mlp")
        if self._has_bottom:
            self.bottom_mlp = build_mlp(width, config.bottom_mlp, f"{_WHERE}.bottom_mlp")
            width = self.bottom_mlp.output_dim
        self._has_experts = config.HasField("expert_mlp")
        if self._has_experts:
            gate = MLPSpec.from_config(config.gate_mlp, f"{_WHERE}.gate_mlp") if config.HasField("gate_mlp") else None
            expert = MLPSpec.from_config(config.expert_mlp, f"{_WHERE}.expert_mlp")
            self.mmoe = MMoE(width, MMoESpec(expert, gate, config.num_expert, len(config.task_towers)))
            width = self.mmoe.output_dim
        return width

    def _add_task(self, tower: tower_pb2.BayesTaskTower, width: int, widths: dict[str, int], where: str) -> int:
        """Make one task; `widths` are those of earlier tasks. Returns the width of the task's representation."""
        name = tower.tower_name
        if tower.HasField("mlp"):
            mlp = build_mlp(width, tower.mlp, f"{where}.mlp")
            self.task_mlps[name] = mlp
            width = mlp.output_dim
        if tower.HasField("relation_mlp"):
            related = width + sum(widths[other] for other in tower.relation_tower_names)
            relation = build_mlp(related, tower.relation_mlp, f"{where}.relation_mlp")
            self.relation_mlps[name] = relation
            width = relation.output_dim
        self.task_outputs.append(nn.Linear(width, tower.num_class))
        return width

    def predict(self, batch: Batch) -> Tensors:
        """Score rows; see `BaseModel.predict`."""
        x = self.task_input(batch)
        if self._has_mask_net:
            x = self.mask_net(x)
        if self._has_bottom:
            x = self.bottom_mlp(x)
        inputs = self.mmoe(x) if self._has_experts else [x] * len(self._towers)
        found: Tensors = {}
        for (name, relations), task_input in zip(self._towers, inputs, strict=True):
            task = self.task_mlps[name](task_input) if name in self.task_mlps else task_input
            if name in self.relation_mlps:
                task = self.relation_mlps[name](torch.cat([task, *(found[other] for other in relations)], dim=1))
            found[name] = task
        outputs = zip(self.task_outputs, found.values(), strict=True)
        return self.head_outputs([output(task) for output, task in outputs])


def _check_relations(towers: tuple[tuple[str, tuple[str, ...]], ...]) -> None:
    """A task may only read tasks before it."""
    before: list[str] = []
    for index, (name, relations) in enumerate(towers):
        for other in relations:
            if other not in before:
                raise ConfigError(
                    f"{_WHERE}.task_towers[{index}].relation_tower_names: must name towers before {name!r}, got {other!r}"
                    f"{suggestion(other, before)}"
                )
        before.append(name)
