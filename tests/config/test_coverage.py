"""Every field of every message that a config can hold: loads from text and JSON, edits by path, shows in a diff, is linted."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from tzrec_build.config.diff import diff_configs
from tzrec_build.config.edit import edit_config
from tzrec_build.config.lint import findings
from tzrec_build.config.load import canonical_text, file_text, parse_config
from tzrec_build.config.subject import Subject
from tzrec_build.config.walk import is_map, is_own_message
from tzrec_build.protos.tzrec import feature_pb2, model_pb2
from tzrec_build.protos.tzrec.pipeline_pb2 import EasyRecConfig


@dataclass(frozen=True)
class Place:
    """A message type of the schema, and the fields that lead to one message of it."""

    kind: str
    steps: tuple[FieldDescriptor, ...]
    fields: tuple[FieldDescriptor, ...]


def places() -> dict[str, Place]:
    """Each message type that a config can hold, by the shortest way to it."""
    found: dict[str, Place] = {}
    waiting = [(EasyRecConfig.DESCRIPTOR, ())]
    while waiting:
        descriptor, steps = waiting.pop(0)
        if descriptor.full_name in found:
            continue
        found[descriptor.full_name] = Place(descriptor.name, steps, tuple(descriptor.fields))
        waiting += [(field.message_type, (*steps, field)) for field in descriptor.fields if is_own_message(field)]
    return found


PLACES = places()


def message_at(config: Message, steps) -> Message:
    for field in steps:
        value = getattr(config, field.name)
        config = value.add() if field.is_repeated else value
        config.SetInParent()
    return config


def sample(field: FieldDescriptor):
    """A value that is not the default: as an edit takes it."""
    if is_map(field):
        return {"k": 3}
    if field.message_type is not None:
        return {"x": 1} if field.message_type.full_name == "google.protobuf.Struct" else "{}"
    if field.enum_type is not None:
        return next(value.name for value in field.enum_type.values if value.number != field.default_value)
    return {bool: not field.default_value, str: "text", float: 0.75, int: 7}[
        type(field.default_value or python_zero(field))
    ]


def python_zero(field: FieldDescriptor):
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return False
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return ""
    return 0.0 if field.cpp_type in {FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE} else 0


def set_by_path(place: Place, field: FieldDescriptor) -> tuple[EasyRecConfig, EasyRecConfig, str]:
    before = EasyRecConfig()
    message_at(before, place.steps)
    path = ".".join([*(f"{step.name}[0]" if step.is_repeated else step.name for step in place.steps), field.name])
    value = sample(field)
    if field.is_repeated and not is_map(field):
        value = [value, value]
    return before, edit_config(before, {path: value}), path


@pytest.mark.parametrize("place", PLACES.values(), ids=lambda place: place.kind)
def test_every_field_edits_loads_and_shows(place):
    config = EasyRecConfig()
    message_at(config, place.steps)
    for field in place.fields:
        if field.name == "fg_encoded":  # becomes fg_mode when loaded
            continue
        before, config, path = set_by_path(place, field)
        parent = config
        for step in place.steps:
            parent = getattr(parent, step.name)[0] if step.is_repeated else getattr(parent, step.name)
        value = getattr(parent, field.name)
        assert len(value) >= 1 if field.is_repeated else parent.HasField(field.name)
        assert parse_config(canonical_text(config), "x.config") == config
        assert parse_config(file_text(config, "x.json"), "x.json") == config
        is_section = not place.steps and field.message_type is not None and not field.is_repeated
        assert bool(diff_configs(before, config)) != is_section, path  # an empty section means the same as none
    findings(Subject(config, canonical_text(config)))


def test_every_message_of_the_schema_is_reached():
    names = {message.full_name for file in files() for message in file.message_types_by_name.values()}
    assert names <= set(PLACES)
    fields = sum(len(place.fields) for place in PLACES.values())
    assert (len(PLACES), fields) == (168, 1149)  # raise them when the schema grows
    for choice, member in (("model", model_pb2.ModelConfig), ("feature", feature_pb2.FeatureConfig)):
        for field in member.DESCRIPTOR.oneofs_by_name[choice].fields:
            assert field.message_type.full_name in PLACES


def files():
    found = {}
    waiting = [EasyRecConfig.DESCRIPTOR.file]
    while waiting:
        file = waiting.pop()
        if file.name not in found and "tzrec" in file.name:
            found[file.name] = file
            waiting += file.dependencies
    return found.values()
