"""How the elements of a config's lists are told apart: a feature by its name, a tower by its input, a loss by its kind."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from google.protobuf.message import Message

_PLAIN = re.compile(r"[\w./@-]+\Z")  # a name that stands in a selector as it is

NAME_FIELDS: Mapping[str, tuple[str, ...]] = {  # message -> fields that name it, the first that is set counts
    "FeatureGroupConfig": ("group_name",),
    "SeqGroupConfig": ("group_name",),
    "Tower": ("input",),
    "DINTower": ("input",),
    "MultiWindowDINTower": ("input",),
    "HSTUUserTower": ("input",),
    "TaskTower": ("tower_name",),
    "BayesTaskTower": ("tower_name",),
    "InterventionTaskTower": ("tower_name",),
    "FusionSubTaskConfig": ("task_name",),
    "ExtractionNetwork": ("network_name",),
    "Field": ("input_name",),
    "PartOptimizer": ("regex_pattern",),
}
MEMBER_NAMES: Mapping[
    str, tuple[str, tuple[str, ...]]
] = {  # message that holds a oneof -> the oneof, name fields of members
    "FeatureConfig": ("feature", ("feature_name", "sequence_name")),
    "SeqFeatureConfig": ("feature", ("feature_name", "sequence_name")),
    "SeqEncoderConfig": ("seq_module", ("name", "input")),
}
KINDS: Mapping[str, tuple[str, ...]] = {  # message without a name -> the oneofs whose set member says which one it is
    "LossConfig": ("loss", "sid_loss"),
    "MetricConfig": ("metric",),
    "TrainMetricConfig": ("metric",),
}


@dataclass(frozen=True, slots=True)
class ElementName:
    """The identity of a list's element, and the selector that picks it in an edit key ("" when only its index does)."""

    identity: tuple[str, ...]
    selector: str


def element_name(element: Message) -> ElementName | None:
    """Give the name of one element of a repeated field; None when elements of its type have none, or this one's is unset."""
    kind = element.DESCRIPTOR.name
    if kind in MEMBER_NAMES:
        return _member_name(element, *MEMBER_NAMES[kind])
    if kind in KINDS:
        members = [member for oneof in KINDS[kind] if (member := element.WhichOneof(oneof))]
        return ElementName(tuple(members), members[0]) if members else None
    return _own_name(element, NAME_FIELDS.get(kind, ()), "")


def _member_name(element: Message, oneof: str, fields: tuple[str, ...]) -> ElementName | None:
    member = element.WhichOneof(oneof)
    return _own_name(getattr(element, member), fields, f"{member}.") if member else None


def _own_name(message: Message, fields: tuple[str, ...], prefix: str) -> ElementName | None:
    for field in fields:
        if field in message.DESCRIPTOR.fields_by_name and (value := getattr(message, field)):
            selector = f"{prefix}{field}={value}" if _PLAIN.match(value) else ""
            return ElementName((value,), selector)
    return None
