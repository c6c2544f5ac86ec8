"""The layer of PLE: experts of each task, shared experts, and gates that mix both."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import torch
from torch import nn

from tzrec_build.errors import ConfigError
from tzrec_build.modules.mlp import MLP, MLPSpec
from tzrec_build.modules.mmoe import mix_experts
from tzrec_build.protos.tzrec import module_pb2


class ExtractionNet(nn.Module):
    """One extraction layer.

    Args:
        in_features: width of each input.
        num_task: number of tasks.
        config: numbers and layers of the experts.
        last: the last layer has no output for the shared experts, hence no shared gate.
        where: place in the config, for messages.

    Source: H. Tang et al., Progressive layered extraction, RecSys 2020.
    """

    def __init__(
        self, in_features: int, num_task: int, config: module_pb2.ExtractionNetwork, *, last: bool, where: str
    ) -> None:
        super().__init__()
        if config.expert_num_per_task < 1 or config.share_num < 1:
            raise ConfigError(
                f"{where}: needs at least one expert per task and one shared, got "
                f"{config.expert_num_per_task} and {config.share_num}"
            )
        own = MLPSpec.from_config(config.task_expert_net, f"{where}.task_expert_net")
        share = MLPSpec.from_config(config.share_expert_net, f"{where}.share_expert_net")
        if own.hidden_units[-1] != share.hidden_units[-1]:
            raise ConfigError(
                f"{where}: task and shared experts must end equally wide, got {own.hidden_units[-1]} and "
                f"{share.hidden_units[-1]}"
            )
        self._shared_layers = nn.ModuleList(MLP(in_features, share) for _ in range(config.share_num))
        self._task_layers = nn.ModuleList(
            nn.ModuleList(MLP(in_features, own) for _ in range(config.expert_num_per_task)) for _ in range(num_task)
        )
        per_task = config.expert_num_per_task + config.share_num
        self._task_gates = nn.ModuleList(nn.Linear(in_features, per_task) for _ in range(num_task))
        self._last = last
        if not last:
            self._shared_gate = nn.Linear(in_features, num_task * config.expert_num_per_task + config.share_num)
        self.output_dim = own.hidden_units[-1]

    def forward(
        self, inputs: list[torch.Tensor], shared_input: torch.Tensor
    ) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Map one [B, in_features] per task and the shared one to [B, output_dim] each.

        The last layer returns its shared input unchanged.
        """
        shared = [expert(shared_input) for expert in self._shared_layers]
        layers = cast("Iterable[Iterable[MLP]]", self._task_layers)
        own = [[expert(x) for expert in experts] for experts, x in zip(layers, inputs, strict=True)]
        outputs = [
            mix_experts(gate(x), torch.stack([*experts, *shared], dim=1))
            for gate, x, experts in zip(self._task_gates, inputs, own, strict=True)
        ]
        if self._last:
            return outputs, shared_input
        everything = [expert for experts in own for expert in experts] + shared
        return outputs, mix_experts(self._shared_gate(shared_input), torch.stack(everything, dim=1))
