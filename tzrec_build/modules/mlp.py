"""Multi-layer perceptron whose parameter names match TorchEasyRec checkpoints (`mlp.<i>.perceptron.<j>`)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from tzrec_build.errors import ConfigError
from tzrec_build.modules.activation import build_activation
from tzrec_build.protos.tzrec import module_pb2


@dataclass(frozen=True, slots=True)
class MLPSpec:
    """Layers of an MLP, checked.

    Args:
        hidden_units: output width of each layer; at least one.
        activation: text of the activation after each layer; empty for none.
        dropout_ratio: one ratio in [0, 1) per layer.
        use_bn: batch normalisation between the linear layer and the activation; the linear layer then has no bias.
        use_ln: layer normalisation at the same place; not together with `use_bn`.
        bias: whether the linear layers have a bias.
        where: place in the config, for messages.
    """

    hidden_units: tuple[int, ...]
    activation: str = "nn.ReLU"
    dropout_ratio: tuple[float, ...] = ()
    use_bn: bool = False
    use_ln: bool = False
    bias: bool = True
    where: str = "mlp"

    def __post_init__(self) -> None:
        if not self.hidden_units:
            raise ConfigError(
                f"{self.where}.hidden_units: needs at least one width, got none; add e.g. hidden_units: 64"
            )
        if min(self.hidden_units) < 1:
            raise ConfigError(f"{self.where}.hidden_units: widths must be positive, got {list(self.hidden_units)}")
        if self.use_bn and self.use_ln:
            raise ConfigError(f"{self.where}: use_bn and use_ln exclude each other, got both; drop one")
        layers = len(self.hidden_units)
        if len(self.dropout_ratio) not in {0, 1, layers}:
            raise ConfigError(
                f"{self.where}.dropout_ratio: needs no value, one, or one per layer ({layers}), got {len(self.dropout_ratio)}"
            )
        if any(not 0.0 <= ratio < 1.0 for ratio in self.dropout_ratio):
            raise ConfigError(
                f"{self.where}.dropout_ratio: must be in [0, 1), got {[round(r, 6) for r in self.dropout_ratio]}"
            )

    @classmethod
    def from_config(cls, config: module_pb2.MLP, where: str) -> MLPSpec:
        """Read an MLP message; `where` is its place in the config."""
        return cls(
            hidden_units=tuple(config.hidden_units),
            activation=config.activation,
            dropout_ratio=tuple(config.dropout_ratio),
            use_bn=config.use_bn,
            use_ln=config.use_ln,
            bias=config.bias,
            where=where,
        )

    def layer_dropout(self, layer: int) -> float:
        """Dropout ratio after one layer."""
        if not self.dropout_ratio:
            return 0.0
        return self.dropout_ratio[0 if len(self.dropout_ratio) == 1 else layer]


class Perceptron(nn.Module):
    """One layer: linear, normalisation, activation, dropout; absent parts leave no gap in the numbering.

    Args:
        in_features: width of the input.
        spec: the MLP that this layer belongs to.
        layer: index of this layer in the MLP.
    """

    def __init__(self, in_features: int, spec: MLPSpec, layer: int) -> None:
        super().__init__()
        width = spec.hidden_units[layer]
        parts: list[nn.Module] = [nn.Linear(in_features, width, bias=spec.bias and not spec.use_bn)]
        if spec.use_bn:
            parts.append(nn.BatchNorm1d(width))
        if spec.use_ln:
            parts.append(nn.LayerNorm(width))
        activation = build_activation(spec.activation, width, spec.where)
        if activation is not None:
            parts.append(activation)
        if spec.layer_dropout(layer) > 0.0:
            parts.append(nn.Dropout(spec.layer_dropout(layer)))
        self.perceptron = nn.Sequential(*parts)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map [N, in_features] to [N, width]."""
        return self.perceptron(x)


class MLP(nn.Module):
    """A stack of perceptrons.

    Args:
        in_features: width of the input.
        spec: widths and options of the layers.
    """

    def __init__(self, in_features: int, spec: MLPSpec) -> None:
        super().__init__()
        widths = (in_features, *spec.hidden_units)
        self.mlp = nn.ModuleList(Perceptron(widths[layer], spec, layer) for layer in range(len(spec.hidden_units)))
        self.output_dim = spec.hidden_units[-1]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map [N, in_features] to [N, output_dim]."""
        for layer in self.mlp:
            x = layer(x)
        return x


def build_mlp(in_features: int, config: module_pb2.MLP, where: str) -> MLP:
    """Make an MLP from its message; `where` is its place in the config, for messages."""
    return MLP(in_features, MLPSpec.from_config(config, where))
