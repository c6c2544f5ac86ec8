"""The last layers of one task: an optional MLP, then one linear layer to the classes."""

from __future__ import annotations

import torch
from torch import nn

from tzrec_build.modules.mlp import MLP, MLPSpec


class TaskTower(nn.Module):
    """Map a task's representation to its logits.

    Args:
        in_features: width of the input.
        num_class: number of logits C.
        mlp: hidden layers; None when there are none.

    Shapes: input [B, in_features], output [B, C].
    """

    def __init__(self, in_features: int, num_class: int, mlp: MLPSpec | None) -> None:
        super().__init__()
        self.has_mlp = mlp is not None
        width = in_features
        if mlp is not None:
            self.tower_mlp = MLP(in_features, mlp)
            width = self.tower_mlp.output_dim
        self.linear = nn.Linear(width, num_class)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits [B, C]."""
        if self.has_mlp:
            x = self.tower_mlp(x)
        return self.linear(x)
