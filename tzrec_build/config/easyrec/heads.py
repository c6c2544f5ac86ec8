"""Losses, metrics and tasks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tzrec_build.config.easyrec.parts import Rule, Rules, Source, Target, apply, dropped, same

LOSSES: Mapping[str, tuple[str, str, str]] = {  # loss_type -> (loss, with several classes, how it is only approximated)
    "CLASSIFICATION": ("binary_cross_entropy", "softmax_cross_entropy", ""),
    "CROSS_ENTROPY_LOSS": ("binary_cross_entropy", "softmax_cross_entropy", ""),
    "BINARY_CROSS_ENTROPY_LOSS": ("binary_cross_entropy", "softmax_cross_entropy", ""),
    "SOFTMAX_CROSS_ENTROPY": ("binary_cross_entropy", "softmax_cross_entropy", ""),
    "L2_LOSS": ("l2_loss", "", ""),
    "SIGMOID_L2_LOSS": ("l2_loss", "", "the sigmoid before the square is lost"),
    "F1_REWEIGHTED_LOSS": ("binary_cross_entropy", "", "the weights towards an F score are lost"),
    "BINARY_FOCAL_LOSS": ("binary_focal_loss", "", ""),
    "JRC_LOSS": ("", "jrc_loss", ""),
}
_LOSS_PARTS: Mapping[str, Rules] = {  # sub-message of the same name on both sides -> its fields
    "binary_focal_loss": same("gamma alpha")
    | dropped("ohem_ratio", "no mining of hard rows")
    | dropped("label_smoothing", "only cross entropy smooths labels"),
    "jrc_loss": same("session_name alpha") | dropped("same_label_loss loss_weight_strategy", "no such switch"),
}


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric: its name here, how it is approximated, losses whose predictions it needs, field of the grouping column."""

    name: str
    how: str = ""
    needs: frozenset[str] = frozenset()
    key: str = ""
    fields: Rules = field(default_factory=dict)


_PROBABILITIES = frozenset({"binary_cross_entropy", "binary_focal_loss", "softmax_cross_entropy", "jrc_loss"})
_VALUES = frozenset({"l2_loss"})
_SIMILARITIES = frozenset({"similarities"})  # what a match model predicts
METRICS: Mapping[str, Metric] = {
    "auc": Metric("auc", needs=_PROBABILITIES, fields={"num_thresholds": Rule("thresholds")}),
    "recall_at_topk": Metric("recall_at_k", needs=_SIMILARITIES, fields={"topk": Rule("top_k")}),
    "mean_absolute_error": Metric("mean_absolute_error", needs=_VALUES),
    "mean_squared_error": Metric("mean_squared_error", needs=_VALUES),
    "root_mean_squared_error": Metric("mean_squared_error", "without the root", _VALUES),
    "accuracy": Metric("accuracy", needs=_PROBABILITIES),
    "gauc": Metric("grouped_auc", "", _PROBABILITIES, "uid_field", {"reduction": Rule(how="groups count alike")}),
    "session_auc": Metric(
        "grouped_auc", "", _PROBABILITIES, "session_id_field", {"reduction": Rule(how="groups count alike")}
    ),
}
_TASK: Rules = (
    same("tower_name label_name num_class task_space_indicator_label in_task_space_weight out_task_space_weight")
    | dropped("use_sample_weight", "data_config.sample_weight_fields decides")
    | dropped("task_space_indicator_name task_space_indicator_value", "the space of a task is a label column")
)


@dataclass(frozen=True, slots=True)
class Head:
    """Where the losses and metrics of a model or task go, and how many classes it has."""

    target: Target
    num_class: int
    weighted: bool  # the target has a `weight`
    match: bool = False  # it predicts similarities


def losses(source: Source, head: Head) -> float:
    """Convert the losses of a model or task: `losses`, or else the old `loss_type`.

    Returns:
        The factor of all losses, which goes into the weight of a task.
    """
    given = source.parts("losses")
    if not given:
        kind = source.get("loss_type")
        loss, how = _add_loss(kind, head)
        if loss is None:
            source.refuse(f"loss {kind}", how, "loss_type")
        elif source.has("loss_type"):
            source.note("loss_type", "approximated" if how else "mapped", loss.path, how)
        else:
            head.target.receipt.add(loss.path, "{}", f"EasyRec's default loss_type {kind}")
        return 1.0
    source.drop("loss_type", "losses are given, which win")
    made = [one for one in given if _loss(one, head)]
    if not made:
        kinds = ", ".join(one.get("loss_type") for one in given)
        source.refuse(f"loss {kinds}", f"no loss of {kinds} has a counterpart for num_class {head.num_class}", "losses")
    weights = {one.get("weight") for one in made}
    factor = float(weights.pop()) if len(weights) == 1 and head.weighted else 1.0
    for one in made:
        _loss_weight(one, head, factor)
    return factor


def _loss_weight(one: Source, head: Head, factor: float) -> None:
    weight = one.get("weight")
    if weight == factor:
        note = "" if weight == 1 else "a factor of the task's weight"
        one.note("weight", "mapped", head.target.at("weight") if head.weighted else "", note)
    else:
        one.note("weight", "approximated", "", "TorchEasyRec adds the losses of a head up, each with weight 1")
    one.drop("learn_loss_weight", "weights of losses are not learned")
    one.drop("loss_name", "a loss is named by its kind")


def _add_loss(kind: str, head: Head) -> tuple[Target | None, str]:
    """Add a loss to a head; give it and how it is approximated, or None and why there is no counterpart."""
    single, several, how = LOSSES.get(kind, ("", "", ""))
    name = single if head.num_class == 1 else several
    if not name:
        classes = f" with num_class {head.num_class}" if kind in LOSSES else ""
        return None, f"loss {kind}{classes} has no counterpart"
    return head.target.new("losses").child(name), how


def _loss(source: Source, head: Head) -> bool:
    """Convert one of `losses`; say whether it has a counterpart."""
    loss, how = _add_loss(source.get("loss_type"), head)
    if loss is None:
        source.note("", "dropped", "", how)
        return False
    name = loss.message.DESCRIPTOR.name
    source.note("loss_type", "approximated" if how else "mapped", loss.path, how)
    for part, _ in source.message.ListFields():
        if part.message_type is None:
            continue
        rules = _LOSS_PARTS.get(part.name)
        if rules is None or part.message_type.name != name:
            source.drop(part.name, f"{name} has no such settings")
            continue
        source.note(part.name, "mapped", loss.path)
        apply(source.part(part.name), loss, rules)
    return True


def metrics(sources: list[Source], head: Head, keys: Mapping[str, str]) -> None:
    """Convert metrics.

    Args:
        sources: EvalMetrics.
        head: its losses are there already; a metric of predictions that they do not make is dropped.
        keys: column -> feature of ids that reads it alone, for metrics by user or session.
    """
    kinds = {loss.WhichOneof("loss") for loss in head.target.message.losses} if not head.match else set(_SIMILARITIES)
    for source in sources:
        for part, _ in source.message.ListFields():
            _metric(source, part.name, head, kinds, keys)


def _metric(source: Source, kind: str, head: Head, losses_: set[str], keys: Mapping[str, str]) -> None:
    rule = METRICS.get(kind)
    name = rule.name if rule else ""
    how = rule.how if rule else ""
    if name == "auc" and head.num_class > 2:
        name, how = "multiclass_auc", "the mean over the classes"
    if rule is None or not name:
        source.note(kind, "dropped", "", "TorchEasyRec has no such metric")
        return
    if rule.needs and not rule.needs & losses_:
        source.note(kind, "dropped", "", f"{name} reads what {', '.join(sorted(losses_))} cannot give")
        return
    part = source.part(kind)
    if rule.key and part.get(rule.key) not in keys:
        source.note(kind, "dropped", "", f"no feature of ids reads the column {part.get(rule.key)!r} alone")
        return
    made = head.target.new("metrics").child(name)
    source.note(kind, "approximated" if how else "mapped", made.path, how)
    if rule.key:
        part.note(rule.key, "mapped", made.set("grouping_key", keys[part.get(rule.key)]))
    apply(part, made, rule.fields)


def task(source: Source, target: Target, keys: Mapping[str, str], label: str) -> None:
    """Convert a task tower of either kind, without its layers; `label` is that of a task that names none."""
    apply(source, target, _TASK)
    if not source.has("label_name") and label:
        target.put("label_name", label, "the label in the place of the task")
    elif not source.has("label_name"):
        source.refuse(
            "task without label", f"tower {source.get('tower_name')!r} must have a label_name, got none", "tower_name"
        )
    head = Head(target, source.get("num_class"), weighted=True)
    factor = losses(source, head)
    weight = source.get("weight") * factor
    if source.has("weight") or factor != 1:
        target.set("weight", weight)
        source.note(
            "weight",
            "kept" if factor == 1 else "mapped",
            target.at("weight"),
            "" if factor == 1 else "times the weight of its loss",
        )
    metrics(source.parts("metrics_set"), head, keys)
