"""Rules about feature groups, sequence groups and their encoders. Each yields (field path, message)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tzrec_build.config.subject import SEQUENCE_TYPES, Subject, table_sizes
from tzrec_build.errors import suggestion
from tzrec_build.protos.tzrec.model_pb2 import FeatureGroupType

_GROUPS = ("FeatureGroupConfig", "SeqGroupConfig")
Found = Iterator[tuple[str, str]]


def name_once(subject: Subject) -> Found:
    """Two feature groups of one name."""
    for i, group in enumerate(subject.config.model_config.feature_groups):
        at = f"model_config.feature_groups[{i}]"
        if subject.groups[group.group_name][0] != at:
            yield at, f"feature group {group.group_name!r} must be configured once, got it again; rename one"


def features_exist(subject: Subject) -> Found:
    """Names in groups that are no features."""
    known = subject.by_name
    joined = _joined_once(subject)
    for at, group in subject.of_types(*_GROUPS):
        for i, name in enumerate(group.feature_names):
            if name not in known and name not in joined:
                rule = f"group {group.group_name!r} must name configured features, got {name!r}"
                yield f"{at}.feature_names[{i}]", f"{rule}{suggestion(name, known)}"


def names_are_ours(subject: Subject) -> Found:
    """Members of sequence blocks named with one underscore, as TorchEasyRec reads them for its RTP service only."""
    joined = _joined_once(subject)
    for at, group in subject.of_types(*_GROUPS):
        for i, name in enumerate(group.feature_names):
            if name not in subject.by_name and name in joined:
                rule = f"a member of a sequence block must be named as {joined[name]!r}, got {name!r}, its name with USE_RTP"
                yield f"{at}.feature_names[{i}]", f"{rule}; write {joined[name]!r}"


def _joined_once(subject: Subject) -> dict[str, str]:
    return {f"{feature.block}_{feature.own_name}": feature.name for feature in subject.features if feature.block}


def has_entries(subject: Subject) -> Found:
    """Groups without features and without sequences."""
    for at, group in subject.of_types(*_GROUPS):
        if not group.feature_names and not getattr(group, "sequence_groups", ()):
            yield at, f"group {group.group_name!r} must name features, got none; add some or remove the group"


def names_a_feature_once(subject: Subject) -> Found:
    """Features that one group names twice."""
    for at, group in subject.of_types(*_GROUPS):
        seen: set[str] = set()
        for i, name in enumerate(group.feature_names):
            if name in seen:
                text = f"group {group.group_name!r} should name a feature once, got {name!r} again; remove one"
                yield f"{at}.feature_names[{i}]", text
            seen.add(name)


def encoder_is_chosen(subject: Subject) -> Found:
    """Entries of sequence_encoders that hold nothing."""
    for at, encoder in subject.of_types("SeqEncoderConfig"):
        if encoder.WhichOneof("seq_module") is None:
            yield at, "sequence_encoders must choose an encoder, got none; add for example din_encoder { ... }"


def encoders_name_sequences(subject: Subject) -> Found:
    """Inputs of encoders that are no sequence group of theirs."""
    for at, group in subject.of_types("FeatureGroupConfig"):
        known = {inner.group_name or group.group_name for inner in group.sequence_groups}
        for j, encoder in enumerate(group.sequence_encoders):
            kind = encoder.WhichOneof("seq_module")
            name = getattr(encoder, kind).input if kind else ""
            if kind and name not in known:
                rule = f"an encoder's input must name a sequence group of {group.group_name!r}, got {name!r}"
                remedy = suggestion(name, known) if known else "; add sequence_groups"
                yield f"{at}.sequence_encoders[{j}].{kind}.input", f"{rule}{remedy}"


def sequences_have_encoders(subject: Subject) -> Found:
    """Sequence groups that no encoder reads."""
    for at, group in subject.of_types("FeatureGroupConfig"):
        read = {
            getattr(encoder, kind).input
            for encoder in group.sequence_encoders
            if (kind := encoder.WhichOneof("seq_module"))
        }
        for j, inner in enumerate(group.sequence_groups):
            name = inner.group_name or group.group_name
            if name not in read:
                rule = f"sequence group {name!r} must have an encoder, got none with this input"
                yield f"{at}.sequence_groups[{j}]", f"{rule}; add for example din_encoder {{ input: {name!r} ... }}"


def sequence_names_differ(subject: Subject) -> Found:
    """Sequence groups without a name of their own beside others, or with a name given before."""
    seen: set[str] = set()
    for at, group in subject.of_types("FeatureGroupConfig"):
        for j, inner in enumerate(group.sequence_groups):
            place = f"{at}.sequence_groups[{j}]"
            name = inner.group_name or group.group_name
            if len(group.sequence_groups) > 1 and not inner.group_name:
                yield (
                    place,
                    f"each of several sequence groups of {group.group_name!r} must set group_name, got none; add it",
                )
            elif name in seen:
                yield place, f"sequence group {name!r} must be configured once, got it again; rename one"
            seen.add(name)


def only_deep_groups_nest(subject: Subject) -> Found:
    """Sequence groups and encoders inside groups that are not DEEP."""
    for at, group in subject.of_types("FeatureGroupConfig"):
        if group.group_type != FeatureGroupType.DEEP and (group.sequence_groups or group.sequence_encoders):
            kind = FeatureGroupType.Name(group.group_type)
            text = f"group {group.group_name!r} must be DEEP to hold sequence_groups, got {kind}; change group_type"
            yield f"{at}.group_type", text


def sequences_hold_sequences(subject: Subject) -> Found:
    """Sequence groups none of whose features is a sequence."""
    for at, group in subject.of_types(*_GROUPS):
        nested = group.DESCRIPTOR.name == "SeqGroupConfig"
        if not nested and group.group_type not in SEQUENCE_TYPES:
            continue
        features = [subject.by_name[name] for name in group.feature_names if name in subject.by_name]
        if len(features) == len(group.feature_names) and not any(feature.is_sequence for feature in features):
            names = ", ".join(group.feature_names) or "none"
            text = (
                f"group {group.group_name!r} must name a sequence feature, got {names}; add one or make the group DEEP"
            )
            yield at, text


def wide_groups_hold_ids(subject: Subject) -> Found:
    """Dense features in a WIDE group, which looks up one row for each value."""
    for at, group in subject.of_types("FeatureGroupConfig"):
        for i, name in enumerate(group.feature_names if group.group_type == FeatureGroupType.WIDE else ()):
            feature = subject.by_name.get(name)
            if feature is None or _has_ids(feature.body):
                continue
            text = f"WIDE group {group.group_name!r} must name features with ids, got the dense {name!r}"
            yield f"{at}.feature_names[{i}]", f"{text}; give it boundaries or move it to a DEEP group"


def _has_ids(body: Any) -> bool:
    return body.DESCRIPTOR.name in {"IdFeature", "ComboFeature", "TokenizeFeature", "BoolMaskFeature"} or bool(
        table_sizes(body)
    )
