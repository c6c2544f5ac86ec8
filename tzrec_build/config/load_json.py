"""The JSON form of a pipeline config, with errors that carry line, column and the nearest name."""

from __future__ import annotations

import json
from collections.abc import Iterator

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from tzrec_build.config.load import unknown_field
from tzrec_build.config.positions import positions
from tzrec_build.config.problems import Problem, excerpt
from tzrec_build.config.walk import is_own_message
from tzrec_build.errors import ConfigError

_LARGEST = (2 - 2**-23) * 2.0**127
_LARGEST_AS_WRITTEN = 3.4028235e38


def parse_json(text: str, path: str, config: Message, *, allow_unknown: bool) -> None:
    """Parse JSON text into `config` (names as in the schema, or camel case).

    Raises:
        ConfigError: the text is no JSON object, names an unknown field, or holds a value of the wrong type; all wrong fields
            are listed.
    """
    tree = _parse_tree(text, path)
    problems = list(wrong_fields(tree, config.DESCRIPTOR, "", allow_unknown=allow_unknown))
    if problems:
        raise ConfigError("\n".join(_located(problem, path, text) for problem in problems))
    try:
        json_format.ParseDict(tree, config, ignore_unknown_fields=allow_unknown)
    except json_format.ParseError as err:
        raise ConfigError(f"{path}: {err}") from err


def _located(problem: Problem, path: str, text: str) -> str:
    place, shown = excerpt(path, text, *positions(text).place(problem.field_path))
    return f"{place}: {problem.text}\n{shown}"


def _parse_tree(text: str, path: str) -> dict[str, object]:
    try:
        tree = json.loads(text, object_pairs_hook=_unique_keys, parse_float=_number)
    except json.JSONDecodeError as err:
        place, shown = excerpt(path, text, err.lineno, err.colno)
        raise ConfigError(f"{place}: this is no JSON, {err.msg[:1].lower()}{err.msg[1:]}\n{shown}") from err
    except RecursionError as err:
        raise ConfigError(
            f"{path}: brackets are nested too deeply for any config; look for a missing closing bracket"
        ) from err
    except ValueError as err:  # a key given twice, or a number of more than 4300 digits
        raise ConfigError(f"{path}: {err}") from err
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}:1:1: a config must be a JSON object, got {type(tree).__name__}; start it with {{")
    return tree


def _number(text: str) -> float:
    """Read a number; the largest 32 bit float is written rounded up, which the JSON parser of protobuf then refuses."""
    number = float(text)
    if _LARGEST < abs(number) <= _LARGEST_AS_WRITTEN:
        return _LARGEST if number > 0 else -_LARGEST
    return number


def _unique_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"each key may stand once in an object, got {twice!r} twice; remove one")
    return found


def wrong_fields(tree: object, descriptor: Descriptor, at: str, *, allow_unknown: bool) -> Iterator[Problem]:
    """Compare a JSON object with its message type, `at` being the start of its fields' paths: unknown names, objects and lists in the wrong place, values of a wrong type."""
    if not isinstance(tree, dict):
        yield Problem(
            "json", at.rstrip("."), f"{descriptor.name} must be an object, got {type(tree).__name__}; write {{...}}"
        )
        return
    by_name = descriptor.fields_by_name
    by_json = descriptor.fields_by_camelcase_name
    members: dict[str, str] = {}
    for name, value in tree.items():
        field = by_name.get(name) or by_json.get(name)
        if field is None and allow_unknown:
            continue
        if field is None:
            yield Problem("unknown", f"{at}{name}", unknown_field(descriptor.full_name, name))
        elif value is not None:
            yield from _second_member(field, members, at)
            yield from _wrong_values(value, field, f"{at}{field.name}", allow_unknown=allow_unknown)


def _second_member(field: FieldDescriptor, members: dict[str, str], at: str) -> Iterator[Problem]:
    if field.containing_oneof is None:
        return
    first = members.setdefault(field.containing_oneof.name, field.name)
    if first != field.name:
        choice = f"{field.containing_type.name}.{field.containing_oneof.name}"
        yield Problem(
            "json", f"{at}{field.name}", f"{choice} holds one member, got {first!r} and {field.name!r}; remove one"
        )


def _wrong_values(value: object, field: FieldDescriptor, at: str, *, allow_unknown: bool) -> Iterator[Problem]:
    if not is_own_message(field):
        yield from _wrong_scalar(value, field, at)
    elif not field.is_repeated:
        yield from wrong_fields(value, field.message_type, f"{at}.", allow_unknown=allow_unknown)
    elif isinstance(value, list):
        for i, element in enumerate(value):
            yield from wrong_fields(element, field.message_type, f"{at}[{i}].", allow_unknown=allow_unknown)
    else:
        yield Problem("json", at, f"{field.name} must be a list, got {type(value).__name__}; write [...]")


def _wrong_scalar(value: object, field: FieldDescriptor, at: str) -> Iterator[Problem]:
    """Let protobuf judge one value alone, so that the message names its place."""
    probe = GetMessageClass(field.containing_type)()
    try:
        json_format.ParseDict({field.name: value}, probe)
    except json_format.ParseError as err:
        reason = str(err).removeprefix(f"Failed to parse {field.name} field: ").rstrip(".")
        yield Problem("json", at, f"{field.name} has a value of the wrong type, got {json.dumps(value)[:80]}; {reason}")
