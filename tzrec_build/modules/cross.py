"""Cross layers of the deep and cross networks."""

from __future__ import annotations

import torch
from torch import nn


class Cross(nn.Module):
    """`x_{l+1} = (w_l . x_l) x_0 + b_l + x_l`.

    Args:
        in_features: width D of the input and output.
        num_layers: number of layers.

    Source: arXiv:1708.05123.
    """

    def __init__(self, in_features: int, num_layers: int) -> None:
        super().__init__()
        weights = [nn.Linear(in_features, 1, bias=False) for _ in range(num_layers)]
        for layer in weights:
            nn.init.xavier_uniform_(layer.weight)
        self.w = nn.ModuleList(weights)
        self.b = nn.ParameterList(nn.Parameter(torch.zeros(in_features)) for _ in range(num_layers))
        self.output_dim = in_features

    def forward(self, x0: torch.Tensor) -> torch.Tensor:
        """Map [B, D] to [B, D]."""
        x = x0
        for layer, bias in zip(self.w, self.b, strict=True):
            x = layer(x) * x0 + bias + x
        return x


class CrossV2(nn.Module):
    """`x_{l+1} = x_0 * (V_l U_l x_l + b_l) + x_l` with low-rank U, V.

    Args:
        in_features: width D of the input and output.
        num_layers: number of layers.
        low_rank: width between U and V.

    Source: arXiv:2008.13535.
    """

    def __init__(self, in_features: int, num_layers: int, low_rank: int) -> None:
        super().__init__()
        self.u_kernels = nn.ModuleList(nn.Linear(in_features, low_rank, bias=False) for _ in range(num_layers))
        self.v_kernels = nn.ModuleList(nn.Linear(low_rank, in_features) for _ in range(num_layers))
        self.output_dim = in_features

    def forward(self, x0: torch.Tensor) -> torch.Tensor:
        """Map [B, D] to [B, D]."""
        x = x0
        for u, v in zip(self.u_kernels, self.v_kernels, strict=True):
            x = x0 * v(u(x)) + x
        return x
