"""Normalizer texts of numeric features: `method=zscore,mean=0.0,standard_deviation=10.0` and its sisters."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from tzrec_build.errors import ConfigError, NotSupportedError, suggestion
from tzrec_build.features.values import Float32Array

Normalizer = Callable[[Float32Array], Float32Array]
_Float64Array = npt.NDArray[np.float64]
_Formula = Callable[[_Float64Array, Mapping[str, float]], _Float64Array]


def _log10(values: _Float64Array, params: Mapping[str, float]) -> _Float64Array:
    above = values > params["threshold"]
    result = np.full_like(values, params["default"])
    result[above] = np.log10(values[above])
    return result


def _zscore(values: _Float64Array, params: Mapping[str, float]) -> _Float64Array:
    return (values - params["mean"]) / params["standard_deviation"]


def _minmax(values: _Float64Array, params: Mapping[str, float]) -> _Float64Array:
    return (values - params["min"]) / (params["max"] - params["min"])


# method -> (formula, parameters with their defaults; None: must be given)
METHODS: Mapping[str, tuple[_Formula, Mapping[str, float | None]]] = {
    "log10": (_log10, {"threshold": 1e-10, "default": -10.0}),
    "zscore": (_zscore, {"mean": None, "standard_deviation": None}),
    "minmax": (_minmax, {"min": None, "max": None}),
}


def parse_normalizer(text: str, where: str) -> Normalizer:
    """Turn a normalizer text into a function of float32 arrays (computed in float64).

    Raises:
        ConfigError: no or unknown method, unknown, missing or malformed parameter, a range of zero width.
        NotSupportedError: the method is ``expression``.

    >>> parse_normalizer("method=minmax,min=1,max=3", "x")(np.array([2.0], np.float32)).tolist()
    [0.5]
    """
    fields = _fields(text, where)
    method = fields.pop("method", "")
    if method == "expression":
        raise NotSupportedError("normalizer method=expression", where)
    if method not in METHODS:
        raise ConfigError(f"{where}: unknown method {method!r} in normalizer {text!r}{suggestion(method, METHODS)}")
    formula, defaults = METHODS[method]
    params = _params(fields, defaults, f"{where}: normalizer {text!r}")
    if method == "zscore" and params["standard_deviation"] == 0:
        raise ConfigError(f"{where}: normalizer {text!r}: standard_deviation must not be 0")
    if method == "minmax" and params["min"] == params["max"]:
        raise ConfigError(f"{where}: normalizer {text!r}: min and max must differ")
    return lambda values: formula(values.astype(np.float64), params).astype(np.float32)


def _fields(text: str, where: str) -> dict[str, str]:
    # the expression of method=expression may itself hold commas and equal signs
    head, mark, _ = text.partition("expr=")
    parts = [part for part in (head if mark else text).split(",") if part.strip()]
    fields = {}
    for part in parts:
        key, equal, value = part.partition("=")
        if not equal:
            raise ConfigError(f"{where}: normalizer {text!r}: must be key=value pairs, got {part!r}")
        fields[key.strip()] = value.strip()
    return fields


def _params(fields: Mapping[str, str], defaults: Mapping[str, float | None], where: str) -> dict[str, float]:
    params = {name: value for name, value in defaults.items() if value is not None}
    for name, value in fields.items():
        if name not in defaults:
            raise ConfigError(f"{where}: unknown parameter {name!r}{suggestion(name, defaults)}")
        try:
            params[name] = float(value)
        except ValueError as err:
            raise ConfigError(f"{where}: {name} must be a number, got {value!r}") from err
    missing = sorted(set(defaults) - set(params))
    if missing:
        raise ConfigError(f"{where}: must set {', '.join(missing)}")
    return params
