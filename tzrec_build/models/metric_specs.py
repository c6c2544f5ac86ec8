"""Metrics of a config, checked against what a task predicts before anything is trained."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from tzrec_build.data.groups import BASE_DATA_GROUP
from tzrec_build.errors import ConfigError, suggestion
from tzrec_build.modules.embedding_tables import EmbeddedFeature
from tzrec_build.protos.tzrec import metric_pb2


@dataclass(frozen=True, slots=True)
class MetricSpec:
    """One metric to compute over an evaluation.

    Args:
        name: name in the result, e.g. `auc_ctr`, `recall@5`.
        kind: name of the metric's message field, e.g. `auc`.
        prediction: key of the predictions that it reads.
        label: label field that it reads; empty for a match model (see `BaseModel.metric_label`).
        params: fields of the metric's message with their values, defaults included.
    """

    name: str
    kind: str
    prediction: str
    label: str
    params: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class MetricOffer:
    """What a task offers to its metrics.

    Args:
        predictions: names without the suffix.
        num_class: number of logits C.
        suffix: of every name of the task.
        label: label field.
    """

    predictions: tuple[str, ...]
    num_class: int = 1
    suffix: str = ""
    label: str = ""


@dataclass(frozen=True, slots=True)
class _Field:
    """What a field of a metric may hold: (value, C) -> whether it fits; C -> the rule in words."""

    fits: Callable[[object, int], bool]
    words: Callable[[int], str]


@dataclass(frozen=True, slots=True)
class _MetricRule:
    """What a metric needs.

    Args:
        inputs: predictions that serve it, best first.
        classes: smallest and largest number of classes; 0 for no limit.
        fields: field -> what it may hold.
    """

    inputs: tuple[str, ...]
    classes: tuple[int, int] = (1, 0)
    fields: Mapping[str, _Field] = field(default_factory=dict)


def _at_least(low: int) -> _Field:
    return _Field(lambda value, _classes: isinstance(value, int) and value >= low, lambda _classes: f"at least {low}")


_CLASS_COUNT = _Field(
    lambda value, classes: isinstance(value, int) and 1 <= value <= classes,
    lambda classes: f"in [1, {classes}], the number of classes",
)
_MACRO = _Field(lambda value, _classes: value == "macro", lambda _classes: "'macro' for now")

METRIC_RULES: Mapping[str, _MetricRule] = {
    "auc": _MetricRule(("probs1", "probs"), (1, 2), {"thresholds": _at_least(2)}),
    "multiclass_auc": _MetricRule(("probs",), (2, 0), {"thresholds": _at_least(2), "average": _MACRO}),
    "mean_absolute_error": _MetricRule(("y",)),
    "mean_squared_error": _MetricRule(("y",)),
    "accuracy": _MetricRule(("probs",), fields={"top_k": _CLASS_COUNT}),
    "grouped_auc": _MetricRule(("probs1", "probs"), (1, 2)),
    "recall_at_k": _MetricRule(("similarity",), fields={"top_k": _at_least(1)}),
}


def metric_spec(config: metric_pb2.MetricConfig, offer: MetricOffer, where: str) -> MetricSpec:
    """Read one metric.

    Args:
        config: the metric.
        offer: of the task that it judges.
        where: its place in the config, for messages.
    Raises:
        ConfigError: no metric that is built, one that the predictions cannot serve, or a field out of its range.
    """
    kind = config.WhichOneof("metric")
    if kind not in METRIC_RULES:
        raise ConfigError(f"{where}: must set one metric, got {kind!r}; use one of {', '.join(METRIC_RULES)}")
    rule = METRIC_RULES[kind]
    source = next((name for name in rule.inputs if name in offer.predictions), None)
    if source is None:
        raise ConfigError(
            f"{where}: {kind} reads {' or '.join(rule.inputs)}, but the losses give {', '.join(offer.predictions)}; "
            "change the metric or the loss"
        )
    low, high = rule.classes
    if offer.num_class < low or (high and offer.num_class > high):
        need = f"at least {low}" if not high else f"{low} or {high}"
        raise ConfigError(
            f"{where}.{kind}: needs num_class {need}, got {offer.num_class}; change the metric or num_class"
        )
    message = getattr(config, kind)
    params = {part.name: getattr(message, part.name) for part in message.DESCRIPTOR.fields}
    for name, allowed in rule.fields.items():
        if not allowed.fits(params[name], offer.num_class):
            raise ConfigError(
                f"{where}.{kind}.{name}: must be {allowed.words(offer.num_class)}, got {params[name]!r}; change it"
            )
    name = f"recall@{params['top_k']}" if kind == "recall_at_k" else kind
    return MetricSpec(f"{name}{offer.suffix}", kind, f"{source}{offer.suffix}", offer.label, params)


def check_groupings(specs: Iterable[MetricSpec], features: Iterable[EmbeddedFeature]) -> None:
    """Refuse a grouped metric whose grouping key gives no id of each row.

    Args:
        specs: metrics of a model.
        features: all features of the config.
    Raises:
        ConfigError: names the metric and the nearest feature.
    """
    known = [
        feature.name
        for feature in features
        if feature.is_sparse and not feature.is_sequence and feature.data_group == BASE_DATA_GROUP
    ]
    for spec in specs:
        key = str(spec.params.get("grouping_key", ""))
        if key and key not in known:
            raise ConfigError(
                f"metric {spec.name}: grouping_key must name a feature with one id a row, got {key!r}{suggestion(key, known)}"
            )
