"""Compressed interaction network: explicit interactions of growing order, field by field."""

from __future__ import annotations

import torch
from torch import nn

from tzrec_build.errors import ConfigError


class CIN(nn.Module):
    """Each layer mixes all products of its fields with the input fields; every layer is summed over the embedding.

    Args:
        num_fields: F, number of input fields.
        layer_sizes: number of fields of each layer.
        where: place in the config, for messages.

    Shapes: input [B, F, D], output [B, sum of layer_sizes]. Source: arXiv:1803.05170.
    """

    def __init__(self, num_fields: int, layer_sizes: tuple[int, ...], where: str) -> None:
        super().__init__()
        if not layer_sizes or min(layer_sizes) < 1:
            raise ConfigError(f"{where}.cin_layer_size: needs positive sizes, got {list(layer_sizes)}")
        fields = (num_fields, *layer_sizes)
        self.cin_layers = nn.ModuleList(
            nn.Conv1d(fields[layer] * num_fields, size, kernel_size=1) for layer, size in enumerate(layer_sizes)
        )
        self.output_dim = sum(layer_sizes)

    def forward(self, x0: torch.Tensor) -> torch.Tensor:
        """Return the layers' sums side by side."""
        x = x0
        sums = []
        for layer in self.cin_layers:
            products = torch.einsum("bhd,bmd->bhmd", x, x0).flatten(1, 2)
            x = layer(products)
            sums.append(x.sum(dim=2))
        return torch.cat(sums, dim=1)
