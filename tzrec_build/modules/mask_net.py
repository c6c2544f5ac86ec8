"""MaskNet: hidden layers multiplied by masks that the whole input generates."""

from __future__ import annotations

import torch
from torch import nn

from tzrec_build.errors import ConfigError
from tzrec_build.modules.mlp import build_mlp
from tzrec_build.protos.tzrec import module_pb2


class MaskBlock(nn.Module):
    """`relu(layer_norm(linear(x * mask(input))))`.

    Args:
        in_features: width of `x`.
        mask_features: width of the input that generates the mask.
        config: widths; aggregation_dim acts only when reduction_ratio is 0 (its default is 1), as in TorchEasyRec,
            whose checkpoints have these shapes.
        where: place in the config, for messages.
    """

    def __init__(self, in_features: int, mask_features: int, config: module_pb2.MaskBlock, where: str) -> None:
        super().__init__()
        by_ratio = config.reduction_ratio > 0
        aggregation = int(in_features * config.reduction_ratio) if by_ratio else config.aggregation_dim
        if aggregation < 1:
            raise ConfigError(
                f"{where}: the aggregation must be at least 1 wide, got {aggregation}; raise reduction_ratio"
            )
        self.mask_generator = nn.Sequential(
            nn.Linear(mask_features, aggregation), nn.ReLU(), nn.Linear(aggregation, in_features)
        )
        self.ffn = nn.Sequential(nn.Linear(in_features, config.hidden_dim), nn.LayerNorm(config.hidden_dim), nn.ReLU())

    def forward(self, x: torch.Tensor, mask_input: torch.Tensor) -> torch.Tensor:
        """Map [B, in_features] and [B, mask_features] to [B, hidden_dim]."""
        return self.ffn(x * self.mask_generator(mask_input))


class MaskNet(nn.Module):
    """Mask blocks in parallel (outputs side by side) or in series, then an optional MLP.

    Args:
        in_features: width of the input.
        config: blocks and MLP.
        where: place in the config, for messages.

    Source: arXiv:2102.07619.
    """

    def __init__(self, in_features: int, config: module_pb2.MaskNetModule, where: str) -> None:
        super().__init__()
        if config.n_mask_blocks < 1:
            raise ConfigError(f"{where}.n_mask_blocks: must be at least 1, got {config.n_mask_blocks}")
        hidden = config.mask_block.hidden_dim
        self._parallel = config.use_parallel
        self.ln_emb = nn.LayerNorm(in_features)
        widths = [in_features if self._parallel or index == 0 else hidden for index in range(config.n_mask_blocks)]
        self.mask_blocks = nn.ModuleList(
            MaskBlock(width, in_features, config.mask_block, f"{where}.mask_block") for width in widths
        )
        self.output_dim = hidden * config.n_mask_blocks if self._parallel else hidden
        self._has_top = config.HasField("top_mlp")
        if self._has_top:
            self.top_mlp = build_mlp(self.output_dim, config.top_mlp, f"{where}.top_mlp")
            self.output_dim = self.top_mlp.output_dim

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map [B, in_features] to [B, output_dim]."""
        hidden = self.ln_emb(x)
        if self._parallel:
            hidden = torch.cat([block(hidden, x) for block in self.mask_blocks], dim=1)
        else:
            for block in self.mask_blocks:
                hidden = block(hidden, x)
        return self.top_mlp(hidden) if self._has_top else hidden
