"""Dense layers."""

from __future__ import annotations

from collections.abc import Mapping

from tzrec_build.config.easyrec.parts import UNSET_DEFAULT, Source, Target

ACTIVATIONS: Mapping[str, str] = {  # EasyRec's name without its module -> TorchEasyRec's
    "relu": "nn.ReLU",
    "relu6": "nn.ReLU6",
    "sigmoid": "nn.Sigmoid",
    "tanh": "nn.Tanh",
    "elu": "nn.ELU",
    "selu": "nn.SELU",
    "gelu": "nn.GELU",
    "swish": "nn.SiLU",
    "silu": "nn.SiLU",
    "softplus": "nn.Softplus",
    "softsign": "nn.Softsign",
    "leaky_relu": "nn.LeakyReLU(negative_slope=0.2)",  # TensorFlow's slope
    "prelu": "nn.PReLU",
    "dice": "Dice",
    "linear": "nn.Identity",
    "identity": "nn.Identity",
    "": "nn.Identity",
}
_PLAIN = "relu"
NO_PENALTY = "TorchEasyRec has no such penalty; weight_decay of the dense optimizer is the nearest"
OWN_OUTPUT = "the last layer is TorchEasyRec's own linear output"


def mlp(source: Source, target: Target, name: str, *, own_output: int | None = None) -> Target:
    """Convert a DNN, or an MLP of a backbone, to the field `name` of the target.

    Args:
        source: the layers.
        target: what gets the field.
        name: the field.
        own_output: a width; when the last layer has it, TorchEasyRec adds this layer itself, so that it is left out.
    """
    made = target.child(name)
    units = list(source.get("hidden_units"))
    ends = own_output is not None and len(units) > 1 and units[-1] == own_output
    made.set("hidden_units", units[:-1] if ends else units)
    source.note("hidden_units", "mapped" if ends else "kept", made.at("hidden_units"), OWN_OUTPUT if ends else "")
    if not units:
        source.refuse("layers without width", "hidden_units must be given, got none", "hidden_units")
    ratios = list(source.get("dropout_ratio"))
    if ratios:
        made.set("dropout_ratio", ratios[: len(units) - 1] if ends and len(ratios) == len(units) else ratios)
        source.note("dropout_ratio", "kept", made.at("dropout_ratio"))
    _activation(source, made)
    use_bn = bool(source.get("use_bn"))
    if source.has("use_bn"):
        source.note("use_bn", "kept", made.set("use_bn", use_bn))
    else:
        made.put("use_bn", use_bn, UNSET_DEFAULT)
    _backbone_fields(source)
    return made


def _activation(source: Source, made: Target) -> None:
    given = source.get("activation")
    short = given.rsplit(".", 1)[-1].lower()
    known = ACTIVATIONS.get(short)
    if known is None:
        source.refuse(f"activation {given}", f"activation {given!r} has no counterpart", "activation")
        return
    if source.has("activation"):
        source.note("activation", "mapped", made.set("activation", known))
    elif short != _PLAIN:
        made.put("activation", known, UNSET_DEFAULT)


def _backbone_fields(source: Source) -> None:
    """Account for what only the MLP of a backbone has."""
    last = "the last layer is like the others"
    for name in ("use_final_bn", "final_activation"):
        source.note(name, "approximated", "", last)
    source.drop("use_bias use_final_bias", "TorchEasyRec decides it by batch norm")
    source.drop("initializer", "TorchEasyRec initializes layers its own way")
    source.drop("use_bn_after_activation add_to_outputs", "no counterpart")
