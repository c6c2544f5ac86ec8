"""Mixtures of experts for several tasks: MMoE and the extraction layers of PLE."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from tzrec_build.modules.mlp import MLP, MLPSpec


@dataclass(frozen=True, slots=True)
class MMoESpec:
    """Shape of an MMoE.

    Args:
        expert: layers of each expert.
        gate: layers before each gate's softmax; None feeds the input to it.
        num_expert: number of experts.
        num_task: number of outputs.
    """

    expert: MLPSpec
    gate: MLPSpec | None
    num_expert: int
    num_task: int


class MMoE(nn.Module):
    """Each task mixes the same experts with its own softmax gate.

    Args:
        in_features: width of the input.
        spec: experts, gates and tasks.

    Source: J. Ma et al., Modeling task relationships with multi-gate mixture-of-experts, KDD 2018.
    """

    def __init__(self, in_features: int, spec: MMoESpec) -> None:
        super().__init__()
        gate = spec.gate
        self.expert_mlps = nn.ModuleList(MLP(in_features, spec.expert) for _ in range(spec.num_expert))
        self.has_gate_mlp = gate is not None
        gate_dim = in_features
        if gate is not None:
            self.gate_mlps = nn.ModuleList(MLP(in_features, gate) for _ in range(spec.num_task))
            gate_dim = gate.hidden_units[-1]
        self.gate_finals = nn.ModuleList(nn.Linear(gate_dim, spec.num_expert) for _ in range(spec.num_task))
        self.output_dim = spec.expert.hidden_units[-1]

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Map [B, in_features] to one [B, output_dim] per task."""
        experts = torch.stack([expert(x) for expert in self.expert_mlps], dim=1)
        outputs: list[torch.Tensor] = []
        for task, gate_final in enumerate(self.gate_finals):
            gate_input = self.gate_mlps[task](x) if self.has_gate_mlp else x
            outputs.append(mix_experts(gate_final(gate_input), experts))
        return outputs


def mix_experts(gate_logits: torch.Tensor, experts: torch.Tensor) -> torch.Tensor:
    """Weighted sum of experts: logits [B, E], experts [B, E, D] -> [B, D]."""
    weights = torch.softmax(gate_logits, dim=1).unsqueeze(1)
    return torch.matmul(weights, experts).squeeze(1)
