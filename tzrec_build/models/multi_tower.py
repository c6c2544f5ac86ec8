"""Towers side by side, without and with target attention over sequences."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from tzrec_build.data.batch import Batch
from tzrec_build.errors import ConfigError
from tzrec_build.models.base import ModelContext, RankModel
from tzrec_build.models.heads import Tensors
from tzrec_build.modules.mlp import MLPSpec, build_mlp
from tzrec_build.modules.sequence_encoders import DINEncoder, SequenceDims
from tzrec_build.protos.tzrec import model_pb2, module_pb2, tower_pb2

_SEQUENCE = model_pb2.FeatureGroupType.SEQUENCE


class _TowerModel(RankModel):
    """One MLP for each DEEP group that a tower names; the outputs are concatenated."""

    def add_towers(self, context: ModelContext, towers: Iterable[tower_pb2.Tower], where: str) -> int:
        """Make the towers; returns the width of their outputs together."""
        width = 0
        self.towers = nn.ModuleDict()
        for index, tower in enumerate(towers):
            place = f"{where}.towers[{index}]"
            if context.group(tower.input, f"{place}.input").group_type == _SEQUENCE:
                raise ConfigError(
                    f"{place}.input: {tower.input!r} is a SEQUENCE group; a tower needs a DEEP or WIDE group"
                )
            if tower.input in self.towers:
                raise ConfigError(f"{place}.input: {tower.input!r} has a tower already; merge the two towers")
            dim = self.embedding_group.group_total_dim(tower.input)
            mlp = build_mlp(dim, tower.mlp, f"{place}.mlp")
            self.towers[tower.input] = mlp
            width += mlp.output_dim
        return width

    def add_final(self, context: ModelContext, width: int, final: module_pb2.MLP, where: str) -> None:
        """Make the layers over all towers."""
        if width == 0:
            raise ConfigError(f"{where}.towers: needs at least one tower, got none; add towers {{ input: ... }}")
        self.final_mlp = build_mlp(width, final, f"{where}.final")
        self.output_mlp = nn.Linear(self.final_mlp.output_dim, self.add_only_head(context))

    def tower_outputs(self, inputs: Tensors) -> list[torch.Tensor]:
        """Outputs of the towers, in config order."""
        return [tower(inputs[name]) for name, tower in self.towers.items()]


class MultiTower(_TowerModel):
    """logits = Linear(final([MLP_i(group_i)]))."""

    def __init__(self, context: ModelContext) -> None:
        super().__init__(context)
        config = context.config.multi_tower
        width = self.add_towers(context, config.towers, "model_config.multi_tower")
        self.add_final(context, width, config.final, "model_config.multi_tower")

    def predict(self, batch: Batch) -> Tensors:
        """Score rows; see `BaseModel.predict`."""
        outputs = self.tower_outputs(self.build_input(batch))
        return self.head_outputs([self.output_mlp(self.final_mlp(torch.cat(outputs, dim=1)))])


class MultiTowerDIN(_TowerModel):
    """As MultiTower, with target attention over SEQUENCE groups beside the towers.

    Source: arXiv:1706.06978.
    """

    def __init__(self, context: ModelContext) -> None:
        super().__init__(context)
        config = context.config.multi_tower_din
        where = "model_config.multi_tower_din"
        width = self.add_towers(context, config.towers, where)
        self._sequence_inputs = tuple(tower.input for tower in config.din_towers)
        self.din_towers = nn.ModuleList()
        for index, tower in enumerate(config.din_towers):
            place = f"{where}.din_towers[{index}]"
            if context.group(tower.input, f"{place}.input").group_type != _SEQUENCE:
                raise ConfigError(f"{place}.input: needs a SEQUENCE group, {tower.input!r} is none; set its group_type")
            dims = SequenceDims(
                self.embedding_group.group_total_dim(f"{tower.input}.query"),
                self.embedding_group.group_total_dim(f"{tower.input}.sequence"),
                place,
            )
            encoder = DINEncoder(dims, MLPSpec.from_config(tower.attn_mlp, f"{place}.attn_mlp"))
            self.din_towers.append(encoder)
            width += encoder.output_dim
        self.add_final(context, width, config.final, where)

    def predict(self, batch: Batch) -> Tensors:
        """Score rows; see `BaseModel.predict`."""
        inputs = self.build_input(batch)
        outputs = self.tower_outputs(inputs)
        for name, encoder in zip(self._sequence_inputs, self.din_towers, strict=True):
            outputs.append(
                encoder(inputs[f"{name}.query"], inputs[f"{name}.sequence"], inputs[f"{name}.sequence_length"])
            )
        return self.head_outputs([self.output_mlp(self.final_mlp(torch.cat(outputs, dim=1)))])
