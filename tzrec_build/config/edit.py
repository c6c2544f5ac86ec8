"""Edit a config by path, in three steps: parse the key, select the places, set the value.

Keys are dotted field names; a repeated field takes a selector in brackets::

    data_config.batch_size
    feature_configs[0].raw_feature.boundaries[1]          feature_configs[-1]    feature_configs[1:3]    feature_configs[:]
    feature_configs[id_feature.feature_name=a.b].id_feature.embedding_dim      also >= <= > < on numbers; enums by name
    feature_configs[sequence_feature.features[id_feature.feature_name=a].id_feature.embedding_dim=4]    conditions nest
    model_config.losses[l2_loss]                          elements that hold a field
    model_dir;data_config.batch_size                      with the value "exp;64": two edits

A selector that picks several elements skips those that hold another member of a oneof than the key names; every other step
that does not fit is an error that says which step failed and what is there. Passing through a oneof member that is not set
never switches the oneof; only setting the member itself does.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from tzrec_build.config.edit_keys import Holds, Step, Where, parse_key, split_outside_brackets
from tzrec_build.config.edit_values import set_value
from tzrec_build.config.names import element_name
from tzrec_build.config.walk import is_map, is_own_message
from tzrec_build.errors import ConfigError, suggestion
from tzrec_build.protos.tzrec.pipeline_pb2 import EasyRecConfig

_SHOWN = 8  # names of elements in a message
_COMPARE: Mapping[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}


@dataclass(frozen=True, slots=True)
class Place:
    """One thing to set: a field of a message, or one element (`index`) of a repeated one."""

    parent: Message
    field: FieldDescriptor
    index: int | None


def edit_config(config: EasyRecConfig, edits: Mapping[str, object]) -> EasyRecConfig:
    """Apply edits in order to a copy of a config.

    Args:
        config: left as it is.
        edits: key -> new value: a number, bool or text for scalars (enums also by name), a list for a whole repeated field, an
            object or textproto text (outer braces optional) for a message or map.

    Returns:
        The edited copy.

    Raises:
        ConfigError: a key does not parse, does not fit the config, or matches nothing; a value does not fit its field.
    """
    edited = type(config)()
    edited.CopyFrom(config)
    for key, value in edits.items():
        for one_key, one_value in _split_pairs(key, value):
            steps = parse_key(one_key)
            for place in select(edited, steps, one_key):
                set_value(place.parent, place.field, place.index, one_value, where=f"edit {one_key!r}")
    return edited


def _split_pairs(key: str, value: object) -> list[tuple[str, object]]:
    """Split ``a;b`` with the value ``x;y`` into two edits; a ``;`` inside brackets or in the value of a single key stays."""
    keys = split_outside_brackets(key, ";")
    if len(keys) == 1:
        return [(key, value)]
    values = value.split(";") if isinstance(value, str) else []
    if len(values) != len(keys):
        raise ConfigError(
            f"edit {key!r}: {len(keys)} keys need as many values, got {value!r}; write the values as one text, split by ;"
        )
    return list(zip(keys, values, strict=True))


def select(config: Message, steps: tuple[Step, ...], key: str) -> list[Place]:
    """Find what a parsed key means in a config. Messages that are unset on the way are created, except members of a oneof.

    Raises:
        ConfigError: a step names no field, goes through a scalar or an unset oneof member, or picks nothing.
    """
    messages, several = [config], False
    for i, step in enumerate(steps):
        fields = [(message, _field(message, step, key)) for message in messages]
        places = [place for message, field in fields for place in _places(message, field, step, key)]
        several = several or isinstance(step.selector, (slice, Where, Holds))
        if not places:
            raise ConfigError(f"edit {key!r}: step {step.text!r} matches nothing; {_what_is_there(fields)}")
        if i == len(steps) - 1:
            return places
        entered = [_enter(place, step, key) for place in places if not (several and _other_member(place))]
        if not entered:
            raise ConfigError(f"edit {key!r}: step {step.text!r} matches nothing; {_held(places[0])}")
        messages = entered
    raise RuntimeError("bug: a key has at least one step")


def _field(message: Message, step: Step, key: str) -> FieldDescriptor:
    descriptor = message.DESCRIPTOR
    field = descriptor.fields_by_name.get(step.field)
    if field is None:
        near = suggestion(step.field, descriptor.fields_by_name)
        raise ConfigError(f"edit {key!r}: {descriptor.name} has no field {step.field!r}{near}")
    if step.selector is not None and (not field.is_repeated or is_map(field)):
        raise ConfigError(
            f"edit {key!r}: step {step.text!r} selects elements, but {field.name} is not a list; drop the brackets"
        )
    return field


def _places(message: Message, field: FieldDescriptor, step: Step, key: str) -> list[Place]:
    if step.selector is None:
        return [Place(message, field, None)]
    values = getattr(message, field.name)
    if isinstance(step.selector, Where):
        return [Place(message, field, i) for i, value in enumerate(values) if _matches(value, step.selector, key)]
    if isinstance(step.selector, Holds):
        return [Place(message, field, i) for i, value in enumerate(values) if _holds(value, step, key)]
    if isinstance(step.selector, slice):
        return [Place(message, field, i) for i in range(len(values))[step.selector]]
    if not -len(values) <= step.selector < len(values):
        raise ConfigError(f"edit {key!r}: step {step.text!r} is out of range; {field.name} has {len(values)} elements")
    return [Place(message, field, step.selector % len(values))]


def _enter(place: Place, step: Step, key: str) -> Message:
    """Go into the message of a place."""
    field = place.field
    if not is_own_message(field):
        raise ConfigError(
            f"edit {key!r}: step {step.text!r} is no message, so nothing can follow it; end the key there"
        )
    value = getattr(place.parent, field.name)
    if place.index is not None:
        return value[place.index]
    if field.is_repeated:
        raise ConfigError(
            f"edit {key!r}: {field.name} is a list of {len(value)}; say which, as {field.name}[0], [:] or [field=value]"
        )
    if _other_member(place):
        raise ConfigError(
            f"edit {key!r}: step {step.text!r} would switch a oneof; {_held(place)}; set {field.name} itself to switch"
        )
    value.SetInParent()
    return value


def _other_member(place: Place) -> bool:
    """Say whether the place is a oneof member while another member is set."""
    if place.field.containing_oneof is None:
        return False
    member = place.parent.WhichOneof(place.field.containing_oneof.name)
    return member is not None and member != place.field.name


def _held(place: Place) -> str:
    oneof = place.field.containing_oneof
    member = place.parent.WhichOneof(oneof.name) if oneof is not None else None
    return f"{place.parent.DESCRIPTOR.name} holds {member}"


def _what_is_there(fields: list[tuple[Message, FieldDescriptor]]) -> str:
    elements = [element for message, field in fields for element in getattr(message, field.name)]
    names = [element_name(element) for element in elements if isinstance(element, Message)]
    selectors = list(dict.fromkeys(f"[{name.selector}]" for name in names if name and name.selector))
    shown = ", ".join(selectors[:_SHOWN]) + (", ..." if len(selectors) > _SHOWN else "")
    return f"{fields[0][1].name} has {len(elements)} elements{': ' if shown else ''}{shown}"


def _holds(value: object, step: Step, key: str) -> bool:
    """Say whether an element has the field that the selector names."""
    name = step.selector.field if isinstance(step.selector, Holds) else ""
    if not isinstance(value, Message):
        raise ConfigError(f"edit {key!r}: step {step.text!r} asks scalars for the field {name!r}; use an index or [:]")
    if name not in value.DESCRIPTOR.fields_by_name:
        near = suggestion(name, value.DESCRIPTOR.fields_by_name)
        raise ConfigError(f"edit {key!r}: {value.DESCRIPTOR.name} has no field {name!r}{near}")
    return any(field.name == name for field, _ in value.ListFields())


def _matches(value: object, where: Where, key: str) -> bool:
    """Compare; an element that does not hold the field (another oneof member, or unset) does not match."""
    return any(_compare(found, field, where, key) for found, field in _read(value, None, where.path, key))


def _read(
    value: object, held_by: FieldDescriptor | None, steps: tuple[Step, ...], key: str
) -> Iterator[tuple[object, FieldDescriptor | None]]:
    """Yield what a condition's path leads to, each with the field that holds it."""
    if not steps:
        yield value, held_by
        return
    if not isinstance(value, Message):
        raise ConfigError(
            f"edit {key!r}: the condition's step {steps[0].text!r} stands below a value that is no message"
        )
    field = _field(value, steps[0], key)
    if field.has_presence and not value.HasField(field.name) and field.message_type is not None:
        return
    for place in _places(value, field, steps[0], key):
        held = getattr(place.parent, field.name)
        if field.is_repeated and place.index is None:
            raise ConfigError(
                f"edit {key!r}: the condition's {field.name} is a list; say which element, as {field.name}[0]"
            )
        yield from _read(held if place.index is None else held[place.index], field, steps[1:], key)


def _compare(value: object, field: FieldDescriptor | None, where: Where, key: str) -> bool:
    if field is not None and field.enum_type is not None and where.literal[:1].isalpha():
        names = field.enum_type.values_by_name
        if where.literal not in names:
            near = suggestion(where.literal, names)
            raise ConfigError(f"edit {key!r}: {field.enum_type.name} has no value {where.literal!r}{near}")
        return _COMPARE[where.compare](value, names[where.literal].number)
    if isinstance(value, bool):
        return _COMPARE[where.compare](str(value).lower(), where.literal.lower())
    if isinstance(value, (int, float)):
        number = _number(where.literal)
        if number is None:
            return _COMPARE[where.compare](str(value), where.literal) if where.compare == "=" else False
        return _COMPARE[where.compare](value, number)
    if isinstance(value, Message):
        raise ConfigError(
            f"edit {key!r}: a condition must compare a value, got a {value.DESCRIPTOR.name}; name a field of it"
        )
    return _COMPARE[where.compare](str(value), where.literal.strip("'\""))


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
