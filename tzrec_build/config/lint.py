"""Basic rules that a config must keep before anything is built from it; all findings are collected.

Each rule is one generator of `Problem`; the list `RULES` is the whole registry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tzrec_build.config.problems import Problem
from tzrec_build.config.ranges import numbers_fit
from tzrec_build.config.walk import walk_messages
from tzrec_build.errors import suggestion
from tzrec_build.protos.tzrec.model_pb2 import FeatureGroupType
from tzrec_build.protos.tzrec.pipeline_pb2 import EasyRecConfig

_TOWER_FIELDS = (
    "towers",
    "din_towers",
    "user_tower",
    "item_tower",
)  # messages with `input`: the name of a feature group
_TASK_TYPES = frozenset({"TaskTower", "BayesTaskTower", "InterventionTaskTower", "FusionSubTaskConfig"})
_CLASSES: dict[str, tuple[Callable[[int], bool], str]] = {  # loss -> num_class that fits
    "binary_cross_entropy": (lambda n: n == 1, "1"),
    "binary_focal_loss": (lambda n: n == 1, "1"),
    "l2_loss": (lambda n: n == 1, "1"),
    "softmax_cross_entropy": (lambda n: n > 1, "2 or more"),
    "jrc_loss": (lambda n: n == 2, "2"),
}
_MATCH = frozenset({"dssm", "dssm_v2", "dat", "mind", "hstu_match"})  # their losses work on similarities: no num_class
_WITHOUT_LABEL = _MATCH | {
    "tdm",
    "sid_rqvae",
    "sid_rqkmeans",
}  # positives are the rows themselves, or there is nothing to predict


@dataclass(frozen=True, slots=True)
class FeaturePlace:
    """A feature by its full name (`<sequence>__<feature>` inside a block) and where it is configured."""

    name: str
    field_path: str


def feature_places(config: EasyRecConfig) -> list[FeaturePlace]:
    """List all features in the order of the config, members of sequence blocks under their full names."""
    found = []
    for i, feature in enumerate(config.feature_configs):
        member = feature.WhichOneof("feature")
        if member is None:
            continue
        at, body = f"feature_configs[{i}].{member}", getattr(feature, member)
        if member != "sequence_feature":
            found.append(FeaturePlace(body.feature_name, at))
            continue
        for j, inner in enumerate(body.features):
            kind = inner.WhichOneof("feature")
            if kind is not None:
                name = f"{body.sequence_name}__{getattr(inner, kind).feature_name}"
                found.append(FeaturePlace(name, f"{at}.features[{j}].{kind}"))
    return found


def lint(config: EasyRecConfig) -> list[Problem]:
    """Check all rules; the findings come in the order of `RULES`."""
    return [problem for rule in RULES for problem in rule(config)]


def _model_is_set(config: EasyRecConfig) -> Iterator[Problem]:
    if config.model_config.WhichOneof("model") is None:
        yield Problem(
            "no-model", "model_config", "model_config must choose a model, got none; add for example deepfm { ... }"
        )


def _feature_is_set(config: EasyRecConfig) -> Iterator[Problem]:
    for i, feature in enumerate(config.feature_configs):
        if feature.WhichOneof("feature") is None:
            yield Problem(
                "no-feature", f"feature_configs[{i}]", "feature_configs must hold a feature, got {}; remove it"
            )


def _names_once(config: EasyRecConfig) -> Iterator[Problem]:
    seen: dict[str, str] = {}
    for place in feature_places(config):
        if place.name in seen:
            yield Problem(
                "duplicate-feature",
                place.field_path,
                f"feature {place.name!r} must be configured once, got it again; rename one",
            )
        seen.setdefault(place.name, place.field_path)
    groups: set[str] = set()
    for i, group in enumerate(config.model_config.feature_groups):
        if group.group_name in groups:
            at = f"model_config.feature_groups[{i}]"
            yield Problem(
                "duplicate-group",
                at,
                f"feature group {group.group_name!r} must be configured once, got it again; rename one",
            )
        groups.add(group.group_name)


def _groups_name_features(config: EasyRecConfig) -> Iterator[Problem]:
    known = {place.name for place in feature_places(config)}
    for at, message in walk_messages(config.model_config, "model_config"):
        if message.DESCRIPTOR.name not in {"FeatureGroupConfig", "SeqGroupConfig"}:
            continue
        group: Any = message
        for i, name in enumerate(group.feature_names):
            if name not in known:
                text = (
                    f"group {group.group_name!r} must name configured features, got {name!r}{suggestion(name, known)}"
                )
                yield Problem("unknown-feature", f"{at}.feature_names[{i}]", text)


def _towers_name_groups(config: EasyRecConfig) -> Iterator[Problem]:
    known = {group.group_name for group in config.model_config.feature_groups}
    for at, message in walk_messages(config.model_config, "model_config"):
        if at.rsplit(".", 1)[-1].split("[")[0] not in _TOWER_FIELDS or "input" not in message.DESCRIPTOR.fields_by_name:
            continue
        tower: Any = message
        if tower.input not in known:
            text = f"a tower's input must name a feature group, got {tower.input!r}{suggestion(tower.input, known)}"
            yield Problem("unknown-group", f"{at}.input", text)


def _encoders_name_sequences(config: EasyRecConfig) -> Iterator[Problem]:
    for i, group in enumerate(config.model_config.feature_groups):
        known = {inner.group_name or group.group_name for inner in group.sequence_groups}
        for j, encoder in enumerate(group.sequence_encoders):
            kind = encoder.WhichOneof("seq_module")
            at = f"model_config.feature_groups[{i}].sequence_encoders[{j}]"
            if kind is None:
                yield Problem(
                    "no-encoder",
                    at,
                    "sequence_encoders must choose an encoder, got none; add for example din_encoder { ... }",
                )
                continue
            name = getattr(encoder, kind).input
            if name not in known:
                text = f"an encoder's input must name a sequence group of {group.group_name!r}, got {name!r}{suggestion(name, known)}"
                yield Problem("unknown-sequence-group", f"{at}.{kind}.input", text)


def _tasks(config: EasyRecConfig) -> Iterator[tuple[str, Any]]:
    for at, message in walk_messages(config.model_config, "model_config"):
        if message.DESCRIPTOR.name in _TASK_TYPES:
            yield at, message


def _labels_exist(config: EasyRecConfig) -> Iterator[Problem]:
    labels = set(config.data_config.label_fields)
    weights = set(config.data_config.sample_weight_fields)
    known = {"label_name": labels, "task_space_indicator_label": labels, "sample_weight_name": weights}
    if (
        not labels
        and config.model_config.WhichOneof("model") is not None
        and not config.data_config.HasField("negative_sampler")
    ):
        text = 'label_fields must name the label column, got none; add `label_fields: "..."` to data_config'
        yield Problem("no-label", "data_config", text)
    for at, task in _tasks(config):
        for field, names in known.items():
            if field not in task.DESCRIPTOR.fields_by_name or not task.HasField(field):
                continue
            name = getattr(task, field)
            source = "sample_weight_fields" if names is weights else "label_fields"
            if name not in names:
                text = f"{field} must be one of data_config.{source}, got {name!r}{suggestion(name, names) if names else ''}"
                yield Problem("unknown-label", f"{at}.{field}", text)


def _losses_fit(config: EasyRecConfig) -> Iterator[Problem]:
    model = config.model_config.WhichOneof("model") or ""
    tasks = list(_tasks(config))
    heads: list[tuple[str, Any]] = tasks or ([] if model in _MATCH else [("model_config", config.model_config)])
    for at, head in heads:
        if model and not head.losses:
            yield Problem(
                "no-loss",
                at,
                "a model or task must have a loss, got none; add for example losses { binary_cross_entropy {} }",
            )
        for i, loss in enumerate(head.losses):
            kind = loss.WhichOneof("loss")
            if kind not in _CLASSES:
                continue
            fits, wanted = _CLASSES[kind]
            if not fits(head.num_class):
                text = f"{kind} needs num_class {wanted}, got {head.num_class}; change num_class or the loss"
                yield Problem("loss-num-class", f"{at}.losses[{i}]", text)


def _match_loss(config: EasyRecConfig) -> Iterator[Problem]:
    if config.model_config.WhichOneof("model") not in _MATCH:
        return
    kinds = [loss.WhichOneof("loss") for loss in config.model_config.losses]
    if kinds != ["softmax_cross_entropy"]:
        text = f"a match model must have exactly the loss softmax_cross_entropy, got {kinds}; set it"
        yield Problem("match-loss", "model_config.losses", text)


def _sparse_has_rows(config: EasyRecConfig) -> Iterator[Problem]:
    """Find id features whose table has no size."""
    sizes = ("hash_bucket_size", "num_buckets", "vocab_file", "zch", "dynamicemb")
    for at, message in walk_messages(config):
        if message.DESCRIPTOR.name != "IdFeature":
            continue
        feature: Any = message
        lists = len(feature.vocab_list) + len(feature.vocab_dict)
        if not feature.stub_type and not lists and not any(feature.HasField(size) for size in sizes):
            text = f"id_feature {feature.feature_name!r} must say how many ids there are; set num_buckets, hash_bucket_size or a vocabulary"
            yield Problem("no-bucketizer", at, text)


def _widths_fit(config: EasyRecConfig) -> Iterator[Problem]:
    """Find pooled tables whose rows the fused kernels cannot hold; tables of sequences may have any width."""
    pooled = {
        name
        for group in config.model_config.feature_groups
        if group.group_type == FeatureGroupType.DEEP
        for name in group.feature_names
    }
    places = {place.field_path for place in feature_places(config) if place.name in pooled}
    for at, message in walk_messages(config):
        wide = message.DESCRIPTOR.fields_by_name.get("wide_embedding_dim")
        if at in places or wide is not None:
            field = "embedding_dim" if at in places else "wide_embedding_dim"
            width = getattr(message, field, 0)
            if width % 4:
                text = f"{field} must be a multiple of 4, which the fused kernels need, got {width}; set {width // 4 * 4 + 4}"
                yield Problem("width", f"{at}.{field}", text)


def _training_ends(config: EasyRecConfig) -> Iterator[Problem]:
    train = config.train_config
    if config.HasField("train_config") and bool(train.num_steps) == bool(train.num_epochs):
        got = f"num_steps {train.num_steps} and num_epochs {train.num_epochs}"
        yield Problem(
            "train-length", "train_config", f"exactly one of num_steps and num_epochs must be above 0, got {got}"
        )


RULES: tuple[Callable[[EasyRecConfig], Iterator[Problem]], ...] = (
    _model_is_set,
    _feature_is_set,
    _names_once,
    _groups_name_features,
    _towers_name_groups,
    _encoders_name_sequences,
    _labels_exist,
    _losses_fit,
    _match_loss,
    _sparse_has_rows,
    _widths_fit,
    _training_ends,
    numbers_fit,
)
