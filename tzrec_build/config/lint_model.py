"""Rules about models: towers, tasks, labels, losses and metrics. Each yields (field path, message)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tzrec_build.config.lint_features import KEY_FIELDS
from tzrec_build.config.subject import Subject
from tzrec_build.errors import suggestion

Found = Iterator[tuple[str, str]]

TOWER_INPUTS: Mapping[str, tuple[str, ...]] = {  # message -> fields that name a feature group
    "Tower": ("input",),
    "DINTower": ("input",),
    "HSTUUserTower": ("input",),
    "DATTower": ("input", "augment_input"),
    "MINDUserTower": ("input", "history_input"),
}
TASK_TYPES = ("TaskTower", "BayesTaskTower", "InterventionTaskTower", "FusionSubTaskConfig")
_RELATIONS = {"BayesTaskTower": "relation_tower_names", "InterventionTaskTower": "intervention_tower_names"}
_FIXED_GROUPS: Mapping[str, tuple[str, ...]] = {  # model -> groups that it asks for by name
    "deepfm": ("wide", "deep"),
    "wide_and_deep": ("wide", "deep"),
    "xdeepfm": ("wide", "deep"),
    "pepnet": ("all",),
}
_MATCH = frozenset({"dssm", "dssm_v2", "dat", "mind", "hstu_match"})  # their losses work on similarities: no num_class
_OWN_LOSSES = frozenset({"sid_rqvae", "sid_rqkmeans"})  # made by the model itself
_WITHOUT_LABEL = _MATCH | _OWN_LOSSES | {"tdm"}  # positives are the rows themselves, or there is nothing to predict
_CLASSES: Mapping[str, tuple[Callable[[int], bool], str]] = {  # loss -> num_class that fits
    "binary_cross_entropy": (lambda n: n == 1, "1"),
    "binary_focal_loss": (lambda n: n == 1, "1"),
    "l2_loss": (lambda n: n == 1, "1"),
    "softmax_cross_entropy": (lambda n: n > 1, "2 or more"),
    "jrc_loss": (lambda n: n == 2, "2"),
}
_PROBABILITIES = frozenset({"binary_cross_entropy", "binary_focal_loss", "softmax_cross_entropy", "jrc_loss"})
_METRICS: Mapping[
    str, tuple[frozenset[str], Callable[[int], bool], str]
] = {  # metric -> losses, num_class that it reads
    "auc": (_PROBABILITIES, lambda n: n <= 2, "a loss with probabilities and num_class 1 or 2"),
    "grouped_auc": (_PROBABILITIES, lambda n: n <= 2, "a loss with probabilities and num_class 1 or 2"),
    "normalized_entropy": (_PROBABILITIES, lambda n: n <= 2, "a loss with probabilities and num_class 1 or 2"),
    "multiclass_auc": (_PROBABILITIES, lambda n: n > 1, "a loss with probabilities and num_class 2 or more"),
    "accuracy": (_PROBABILITIES, lambda _: True, "a loss with probabilities"),
    "mean_absolute_error": (frozenset({"l2_loss"}), lambda _: True, "l2_loss"),
    "mean_squared_error": (frozenset({"l2_loss"}), lambda _: True, "l2_loss"),
}


def is_chosen(subject: Subject) -> Found:
    """A config without a model."""
    if not subject.model:
        yield "model_config", "model_config must choose a model, got none; add for example deepfm { ... }"


def groups_are_there(subject: Subject) -> Found:
    """Groups that a model asks for by name."""
    for name in _FIXED_GROUPS.get(subject.model, ()):
        if name not in subject.groups:
            got = ", ".join(subject.groups) or "none"
            yield f"model_config.{subject.model}", f"{subject.model} needs a feature group {name!r}, got {got}; add it"


def inputs_are_groups(subject: Subject) -> Found:
    """Towers whose input is no feature group."""
    for kind, fields in TOWER_INPUTS.items():
        for at, tower in subject.of_types(kind):
            for field in fields:
                name = getattr(tower, field)
                if name not in subject.groups:
                    near = suggestion(name, subject.groups) if subject.groups else "; add feature_groups"
                    yield f"{at}.{field}", f"a tower's {field} must name a feature group, got {name!r}{near}"


def towers_differ(subject: Subject) -> Found:
    """Two towers, or two tasks, of one name in one list."""
    seen: set[tuple[str, str]] = set()
    for kind in (*TASK_TYPES, "Tower", "DINTower"):
        for at, tower in subject.of_types(kind):
            field = next(
                name for name in ("tower_name", "task_name", "input") if name in tower.DESCRIPTOR.fields_by_name
            )
            identity = (at.rpartition("[")[0], getattr(tower, field))
            if identity[0] and identity in seen:
                yield f"{at}.{field}", f"{field} must be given once, got {identity[1]!r} again; rename or merge the two"
            seen.add(identity)


def relations_come_before(subject: Subject) -> Found:
    """Relations to towers that there are not, or that come later."""
    for kind, field in _RELATIONS.items():
        earlier: list[str] = []
        for at, tower in subject.of_types(kind):
            for i, name in enumerate(getattr(tower, field)):
                if name not in earlier:
                    rule = f"{field} of {tower.tower_name!r} must name towers before it, got {name!r}"
                    remedy = suggestion(name, earlier) if earlier else "; put that tower first"
                    yield f"{at}.{field}[{i}]", f"{rule}{remedy}"
            earlier.append(tower.tower_name)


def groups_are_read(subject: Subject) -> Found:
    """Feature groups that no tower reads, in models that read groups by the inputs of their towers."""
    if subject.model not in {"multi_tower", "multi_tower_din", "dssm", "dssm_v2", "dat", "mind"}:
        return
    read = {
        getattr(tower, field)
        for kind, fields in TOWER_INPUTS.items()
        for _, tower in subject.of_types(kind)
        for field in fields
    }
    for name, (at, _) in subject.groups.items():
        if name not in read:
            yield (
                at,
                f"feature group {name!r} should be a tower's input, got it in none; add a tower or remove the group",
            )


def tasks(subject: Subject) -> Iterator[tuple[str, Any]]:
    """Yield the task towers of a model in the order of the schema's types."""
    return subject.of_types(*TASK_TYPES)


def label_is_named(subject: Subject) -> Found:
    """No label column."""
    if not subject.model or subject.config.data_config.label_fields or subject.model in _WITHOUT_LABEL:
        return
    text = 'label_fields must name the label column, got none; add `label_fields: "..."` to data_config'
    yield "data_config", text


def labels_exist(subject: Subject) -> Found:
    """Labels and weights of tasks that data_config does not list."""
    data = subject.config.data_config
    labels, weights = set(data.label_fields), set(data.sample_weight_fields)
    known = {"label_name": labels, "task_space_indicator_label": labels, "sample_weight_name": weights}
    for at, task in tasks(subject):
        for field, names in known.items():
            if field not in task.DESCRIPTOR.fields_by_name or not task.HasField(field):
                continue
            name = getattr(task, field)
            source = "sample_weight_fields" if names is weights else "label_fields"
            if name not in names:
                near = suggestion(name, names) if names else f"; add it to {source}"
                yield f"{at}.{field}", f"{field} must be one of data_config.{source}, got {name!r}{near}"


def _heads(subject: Subject) -> list[tuple[str, Any]]:
    """What has losses and metrics of its own: the tasks, else the model."""
    return list(tasks(subject)) or [("model_config", subject.config.model_config)]


def loss_is_chosen(subject: Subject) -> Found:
    """A model or task without a loss."""
    if not subject.model or subject.model in _MATCH | _OWN_LOSSES:
        return
    for at, head in _heads(subject):
        if not head.losses:
            rule = "a model or task must have a loss, got none"
            yield at, f"{rule}; add for example losses {{ binary_cross_entropy {{}} }}"


def losses_fit(subject: Subject) -> Found:
    """Losses that num_class does not fit."""
    if subject.model in _MATCH:
        return
    for at, head in _heads(subject):
        for i, loss in enumerate(head.losses):
            kind = loss.WhichOneof("loss") or ""
            if kind not in _CLASSES:
                continue
            fits, wanted = _CLASSES[kind]
            if not fits(head.num_class):
                text = f"{kind} needs num_class {wanted}, got {head.num_class}; change num_class or the loss"
                yield f"{at}.losses[{i}]", text


def loss_of_match(subject: Subject) -> Found:
    """Match models with another loss than theirs."""
    kinds = [loss.WhichOneof("loss") for loss in subject.config.model_config.losses]
    if subject.model in _MATCH and kinds != ["softmax_cross_entropy"]:
        text = f"a match model must have exactly the loss softmax_cross_entropy, got {kinds}; set it"
        yield "model_config.losses", text


def metrics_fit(subject: Subject) -> Found:
    """Metrics of predictions that no loss of the model or task makes."""
    for at, head in _heads(subject):
        losses = {loss.WhichOneof("loss") for loss in head.losses}
        for i, metric in enumerate(head.metrics if losses and subject.model not in _MATCH else ()):
            kind = metric.WhichOneof("metric") or ""
            needed, fits, words = _METRICS.get(kind, (losses, lambda _: True, ""))
            if not needed & losses or not fits(head.num_class):
                got = f"{', '.join(sorted(filter(None, losses))) or 'none'} and num_class {head.num_class}"
                yield f"{at}.metrics[{i}]", f"{kind} needs {words}, got {got}; change the metric or the loss"


def metric_of_match(subject: Subject) -> Found:
    """Match models with another metric than recall_at_k."""
    for i, metric in enumerate(subject.config.model_config.metrics if subject.model in _MATCH else ()):
        kind = metric.WhichOneof("metric") or "nothing"
        if kind != "recall_at_k":
            at = f"model_config.metrics[{i}]"
            yield at, f"a metric of a match model must be recall_at_k, got {kind}; replace it"


def keys_exist(subject: Subject) -> Found:
    """Keys by which losses and metrics group rows that are no features."""
    for kind, field in KEY_FIELDS.items():
        for at, message in subject.of_types(kind):
            name = getattr(message, field)
            if name and name not in subject.by_name:
                near = suggestion(name, subject.by_name) if subject.by_name else "; add the feature"
                yield f"{at}.{field}", f"{field} must name a configured feature, got {name!r}{near}"
