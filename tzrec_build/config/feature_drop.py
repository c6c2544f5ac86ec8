"""Take features out of a config, with every place that names them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from google.protobuf.message import Message

from tzrec_build.config.lint_features import KEY_FIELDS
from tzrec_build.config.lint_model import TOWER_INPUTS
from tzrec_build.config.subject import SEQUENCE_TYPES, Subject, feature_sources
from tzrec_build.config.walk import is_own_message, walk_messages
from tzrec_build.protos.tzrec.pipeline_pb2 import EasyRecConfig


def users_of(config: EasyRecConfig, dropped: Mapping[str, str]) -> list[str]:
    """List what still needs a dropped feature, one message each; such a feature cannot go.

    Args:
        config: the config with all its features.
        dropped: full name of a feature -> who drops it, for messages.
    """
    subject = Subject(config)
    found = []
    for feature in subject.features:
        if feature.name in dropped:
            continue
        for field, text in feature_sources(feature.body):
            side, _, name = text.partition(":")
            for target in (
                (f"{feature.block}__{name}", name, name.removesuffix("__lookup")) if side == "feature" else ()
            ):
                if target in dropped:
                    remedy = f"drop {feature.name!r} as well or keep {target!r}"
                    found.append(f"{dropped[target]}: {field} of feature {feature.name!r} reads {text!r}; {remedy}")
                    break
    for kind, field in KEY_FIELDS.items():
        for at, message in subject.of_types(kind):
            name = getattr(message, field)
            if name in dropped:
                found.append(f"{dropped[name]}: {at}.{field} names {name!r}; change it or keep the feature")
    return found


def drop_features(config: EasyRecConfig, dropped: Mapping[str, str]) -> list[str]:
    """Remove features from a config, in place, with all that is then empty.

    Feature entries, members of sequence blocks, blocks without a member, names in groups and sequence groups; sequence groups
    that lost their last sequence, with their encoders; groups without an entry, with the towers of lists that read them.
    Columns of samplers stay: their order is that of the attributes in the item table.

    Args:
        config: is changed.
        dropped: full names of features; the values are not read.
    Returns:
        What was removed beside the features themselves, one sentence each.
    """
    sequences = {feature.name for feature in Subject(config).features if feature.is_sequence}
    notes = list(_drop_entries(config, dropped))
    gone = []
    for group in config.model_config.feature_groups:
        had = _has_sequence(group, sequences)
        notes += _drop_names(group, dropped, sequences)
        empty = not group.feature_names and not group.sequence_groups
        if empty or (had and group.group_type in SEQUENCE_TYPES and not _has_sequence(group, sequences)):
            gone.append(group.group_name)
    _keep(config.model_config.feature_groups, lambda group: group.group_name not in gone)
    notes += [f"feature group {name!r} removed: nothing is left in it" for name in gone]
    return notes + list(_drop_towers(config, gone))


def _keep(elements: Any, wanted: Any) -> bool:
    """Keep the elements of a repeated field that pass a test; say whether some went."""
    kept = [element for element in elements if wanted(element)]
    changed = len(kept) < len(elements)
    if changed:
        copies = [type(element)() for element in kept]
        for copy, element in zip(copies, kept, strict=True):
            copy.CopyFrom(element)
        del elements[:]
        elements.extend(copies)
    return changed


def _drop_entries(config: EasyRecConfig, dropped: Mapping[str, str]) -> Iterator[str]:
    empty = []
    for feature in config.feature_configs:
        if feature.WhichOneof("feature") != "sequence_feature":
            continue
        block = feature.sequence_feature
        if (
            _keep(block.features, lambda inner, block=block: _member_name(block, inner) not in dropped)
            and not block.features
        ):
            empty.append(block.sequence_name)
            yield f"sequence_feature {block.sequence_name!r} removed: no feature is left in it"
    _keep(config.feature_configs, lambda feature: not _goes(feature, dropped, empty))


def _member_name(block: Any, inner: Any) -> str:
    kind = inner.WhichOneof("feature")
    return f"{block.sequence_name}__{getattr(inner, kind).feature_name}" if kind else ""


def _goes(feature: Any, dropped: Mapping[str, str], empty: Sequence[str]) -> bool:
    kind = feature.WhichOneof("feature")
    if kind == "sequence_feature":
        return feature.sequence_feature.sequence_name in empty and not feature.sequence_feature.features
    return bool(kind) and getattr(feature, kind).feature_name in dropped


def _has_sequence(group: Any, sequences: set[str]) -> bool:
    return any(name in sequences for name in group.feature_names)


def _drop_names(group: Any, dropped: Mapping[str, str], sequences: set[str]) -> Iterator[str]:
    """Take names out of a group and its sequence groups; yields what else went."""
    gone = []
    for inner in group.sequence_groups:
        had = _has_sequence(inner, sequences)
        inner_names = [name for name in inner.feature_names if name not in dropped]
        lost = len(inner_names) < len(inner.feature_names)
        inner.feature_names[:] = inner_names
        if lost and (not inner_names or (had and not _has_sequence(inner, sequences))):
            gone.append(inner.group_name or group.group_name)
    group.feature_names[:] = [name for name in group.feature_names if name not in dropped]
    _keep(group.sequence_groups, lambda inner: (inner.group_name or group.group_name) not in gone)
    _keep(group.sequence_encoders, lambda encoder: _encoder_input(encoder) not in gone)
    for name in gone:
        yield f"sequence group {name!r} of group {group.group_name!r} removed with its encoders: no sequence is left in it"


def _encoder_input(encoder: Any) -> str:
    kind = encoder.WhichOneof("seq_module")
    return str(getattr(encoder, kind).input) if kind else ""


def _drop_towers(config: EasyRecConfig, gone: Sequence[str]) -> Iterator[str]:
    """Remove the towers in lists whose input is a group that went; a single tower stays, and lint names it."""
    for at, parent in list(walk_messages(config.model_config, "model_config")) if gone else ():
        for field, value in parent.ListFields():
            if not (is_own_message(field) and field.is_repeated and field.message_type.name in TOWER_INPUTS):
                continue
            fields = TOWER_INPUTS[field.message_type.name]
            lost = [name for tower in value for name in _inputs(tower, fields) if name in gone]
            if _keep(value, lambda tower, fields=fields: not set(_inputs(tower, fields)) & set(gone)):
                yield f"{at}.{field.name}: the tower of group {', '.join(map(repr, lost))} removed"


def _inputs(tower: Message, fields: Sequence[str]) -> list[str]:
    return [getattr(tower, field) for field in fields]
