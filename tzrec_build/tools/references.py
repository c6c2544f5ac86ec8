"""Reference values: read from a baseline file, compared with what was measured."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from tzrec_build.errors import ConfigError, DataError, suggestion

BETTER, WORSE, BALANCE = "BETTER", "WORSE", "BALANCE"
LOWER_IS_BETTER = ("loss", "cross_entropy", "absolute_error", "squared_error", "mae", "mse", "rmse", "logloss")
ROUNDING = 1e-9  # a difference of 0.002 computed from decimals must count as 0.002


@dataclass(frozen=True, slots=True)
class Reference:
    """Values to compare with: metric -> value, and metric -> smallest difference that counts."""

    name: str
    values: Mapping[str, float]
    thresholds: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Comparison:
    """A measured value against one reference; `difference` is value - reference."""

    against: str
    reference: float
    threshold: float
    difference: float
    verdict: str


def lower_is_better(metric: str) -> bool:
    """Say whether a metric is a loss or an error, by whole words of its name.

    >>> lower_is_better("binary_cross_entropy_ctr"), lower_is_better("mse"), lower_is_better("auc_glossary")
    (True, True, False)
    """
    return any(f"_{word}_" in f"_{metric}_" for word in LOWER_IS_BETTER)


def judge(difference: float, threshold: float, *, lower: bool) -> str:
    """BETTER or WORSE when the difference (value - reference) reaches the threshold and is not zero, else BALANCE.

    >>> judge(0.002, 0.002, lower=False), judge(0.002, 0.002, lower=True), judge(0.001, 0.002, lower=False)
    ('BETTER', 'WORSE', 'BALANCE')
    """
    gain = -difference if lower else difference
    if abs(gain) + ROUNDING < threshold or abs(gain) < ROUNDING:
        return BALANCE
    return BETTER if gain > 0 else WORSE


def load_references(path: str, config_name: str) -> list[Reference]:
    """Read a baseline file.

    Two forms: TorchEasyRec's ``{config: {"label": {metric: value}, "threshold": number or {metric: number}}}``, where the
    config is found by its path or bare name, and ``{"baselines": {name: {metric: value}}, "threshold": ...}``.

    Raises:
        DataError: the file is missing or not of these forms.
        ConfigError: it does not know the config.
    """
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as err:
        raise DataError(f"{path}: cannot be read: {err.strerror}; give --baseline an existing file") from err
    except ValueError as err:
        raise DataError(f"{path}: not JSON: {err}") from err
    if not isinstance(data, dict):
        raise DataError(f"{path}: must be a JSON object, got {type(data).__name__}")
    if "baselines" in data:
        tables = _table(data["baselines"], f"{path}: 'baselines'")
        threshold = data.get("threshold", 0.0)
        return [
            _reference(name, values, threshold, f"{path}: 'baselines': {name!r}") for name, values in tables.items()
        ]
    keys = {key: key for key in data} | {PurePath(key).stem: key for key in data}
    if config_name not in keys:
        raise ConfigError(f"{path}: no baseline for config {config_name!r}{suggestion(config_name, keys)}")
    where = f"{path}: {keys[config_name]!r}"
    entry = _table(data[keys[config_name]], where)
    if "label" not in entry:
        raise DataError(f"{where}: needs 'label' with the reference values, got {sorted(entry)}")
    return [_reference("reference", entry["label"], entry.get("threshold", 0.0), where)]


def compare(metric: str, value: float, references: Sequence[Reference]) -> tuple[Comparison, ...]:
    """Put a value beside every reference that knows its metric."""
    comparisons = []
    for reference in references:
        if metric in reference.values:
            known, threshold = reference.values[metric], reference.thresholds.get(metric, 0.0)
            verdict = judge(value - known, threshold, lower=lower_is_better(metric))
            comparisons.append(Comparison(reference.name, known, threshold, value - known, verdict))
    return tuple(comparisons)


def _reference(name: str, values: object, threshold: object, where: str) -> Reference:
    numbers = _numbers(_table(values, where), where)
    if isinstance(threshold, Mapping):
        return Reference(name, numbers, _numbers(threshold, f"{where}: 'threshold'"))
    limit = _numbers({"threshold": threshold}, where)["threshold"]
    return Reference(name, numbers, dict.fromkeys(numbers, limit))


def _table(value: object, where: str) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise DataError(f"{where}: must be a JSON object, got {value!r}")
    return value


def _numbers(table: Mapping[str, object], where: str) -> dict[str, float]:
    numbers: dict[str, float] = {}
    for name, value in table.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise DataError(f"{where}: {name!r} must be a number, got {value!r}")
        numbers[name] = float(value)
    return numbers
