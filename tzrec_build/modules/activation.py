"""Activations by their text in a config: `nn.ReLU`, `nn.LeakyReLU(negative_slope=0.1)`, `Dice`, or empty for none."""

from __future__ import annotations

import ast
import inspect

import torch
from torch import nn

from tzrec_build.errors import ConfigError, suggestion

_PREFIXES = ("torch.nn.", "nn.")


class Dice(nn.Module):
    """Data-adaptive activation of the deep interest network: a gate between `x` and `alpha * x`.

    Args:
        num_features: width F of the input.

    Shapes: input and output [N, F], float32. Source: arXiv:1706.06978, section 5.3.
    """

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.zeros(num_features))
        self.bn = nn.BatchNorm1d(num_features, affine=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return `p * x + (1 - p) * alpha * x` with `p = sigmoid(batch_norm(x))`."""
        gate = torch.sigmoid(self.bn(x))
        return gate * x + (1.0 - gate) * self.alpha * x


def build_activation(text: str, num_features: int, where: str) -> nn.Module | None:
    """Make the activation that a config names; nothing is evaluated, arguments are literals only.

    Args:
        text: `Dice`, or a class of torch.nn with optional literal keyword arguments; empty means no activation.
        num_features: width of the layer (Dice has parameters of that width).
        where: place in the config, for messages.

    Raises:
        ConfigError: the text cannot be read, names no activation, or its arguments are refused.

    >>> build_activation("nn.LeakyReLU(negative_slope=0.1)", 4, "mlp")
    LeakyReLU(negative_slope=0.1)
    """
    if not text:
        return None
    name, kwargs = _parse_call(text, where)
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    if name == "Dice":
        return Dice(num_features)
    known = _activation_classes()
    if name not in known:
        same = [item for item in known if item.lower() == name.lower()]  # ReLU and Relu are too far apart for difflib
        hint = suggestion(same[0], same) if same else suggestion(name, known)
        raise ConfigError(f"{where}: activation must be Dice or a class of torch.nn, got {text!r}{hint}")
    try:
        return known[name](**kwargs)
    except TypeError as err:
        raise ConfigError(f"{where}: activation {text!r} refuses its arguments ({err}); see torch.nn.{name}") from err


def _parse_call(text: str, where: str) -> tuple[str, dict[str, object]]:
    """Split `a.b(c=1)` into its name and keyword arguments."""
    try:
        node = ast.parse(text.strip(), mode="eval").body
        if not isinstance(node, ast.Call):
            return ast.unparse(node), {}
        if node.args or any(keyword.arg is None for keyword in node.keywords):
            raise ConfigError(
                f"{where}: activation arguments must be named, got {text!r}; write e.g. nn.ELU(alpha=0.5)"
            )
        return ast.unparse(node.func), {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in node.keywords}
    except (SyntaxError, ValueError) as err:
        raise ConfigError(
            f"{where}: activation must look like nn.ReLU or nn.ELU(alpha=0.5), got {text!r}; arguments are plain values"
        ) from err


def _activation_classes() -> dict[str, type[nn.Module]]:
    """Class name -> class, for everything in torch's module of activations plus Identity."""
    found = {
        name: kind
        for name, kind in inspect.getmembers(nn.modules.activation, inspect.isclass)
        if issubclass(kind, nn.Module) and kind.__module__ == nn.modules.activation.__name__
    }
    return {**found, "Identity": nn.Identity}
