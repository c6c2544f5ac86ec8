"""Initial values of embedding tables by their text in a config, e.g. `nn.init.uniform_,a=-0.01,b=0.01`."""

from __future__ import annotations

import ast
from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from tzrec_build.errors import ConfigError, suggestion

InitFn = Callable[[torch.Tensor], torch.Tensor]


def build_init_fn(text: str, where: str) -> InitFn:
    """Make the in-place initialiser that a config names; nothing is evaluated, arguments are literals only.

    Args:
        text: an in-place function of torch.nn.init, then keyword arguments after commas.
        where: place in the config, for messages.

    Returns:
        A picklable function that fills a tensor in place and returns it.

    Raises:
        ConfigError: the text cannot be read or names no such function.

    >>> build_init_fn("nn.init.constant_,val=2", "table 't'")(torch.empty(2))
    tensor([2., 2.])
    """
    name_text, _, argument_text = text.partition(",")
    name = name_text.strip().removeprefix("torch.").removeprefix("nn.").removeprefix("init.")
    known = [item for item in dir(nn.init) if item.endswith("_") and not item.startswith("_")]
    if name not in known:
        raise ConfigError(
            f"{where}: init_fn must name a function of torch.nn.init, got {text!r}{suggestion(name, known)}"
        )
    function = partial(getattr(nn.init, name), **_parse_keywords(argument_text, text, where))
    try:
        with torch.random.fork_rng(devices=[]):
            function(torch.empty(2, 2))
    except (TypeError, ValueError, NotImplementedError) as err:
        raise ConfigError(f"{where}: init_fn {text!r} refuses its arguments ({err}); see torch.nn.init.{name}") from err
    return function


def _parse_keywords(argument_text: str, text: str, where: str) -> dict[str, object]:
    """Read `a=1,b=2` as literals."""
    try:
        call = ast.parse(f"f({argument_text})", mode="eval").body
        if not isinstance(call, ast.Call) or call.args or any(keyword.arg is None for keyword in call.keywords):
            raise ValueError("not keyword arguments")
        return {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in call.keywords}
    except (SyntaxError, ValueError) as err:
        raise ConfigError(
            f"{where}: init_fn arguments must be name=value with plain values, got {text!r}; "
            "write e.g. nn.init.uniform_,a=-0.01,b=0.01"
        ) from err
