"""Set one field of a config from a JSON-like value or from text."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from typing import Any

from google.protobuf import text_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from tzrec_build.config.load import parse_error_words
from tzrec_build.config.walk import is_map, is_own_message
from tzrec_build.errors import ConfigError, suggestion

_LONGEST = 200  # of a value in a message
_JSON = re.compile(r"\s*(\[\s*)?\{\s*\"")  # text format never has a quote after a brace
_BOOLS: Mapping[object, bool] = {"true": True, "True": True, "false": False, "False": False}
_INTS = frozenset({
    FieldDescriptor.CPPTYPE_INT32,
    FieldDescriptor.CPPTYPE_INT64,
    FieldDescriptor.CPPTYPE_UINT32,
    FieldDescriptor.CPPTYPE_UINT64,
})  # fmt: skip
_FLOATS = frozenset({FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE})


def set_value(parent: Message, field: FieldDescriptor, index: int | None, value: object, *, where: str) -> None:
    """Set a field, or with `index` one element of a repeated field, to a value of any form that fits it.

    Args:
        parent: the message that holds the field.
        field: which field.
        index: the element, or None for the whole field (a repeated one is replaced).
        value: see `edit.edit_config`.
        where: start of an error message.

    Raises:
        ConfigError: the value does not fit; the field then keeps its old value.
    """
    fresh = type(parent)()
    _assign(fresh, field, value, where, whole=index is None)
    if index is None:
        parent.ClearField(field.name)
        parent.MergeFrom(fresh)
        if field.message_type is not None and not field.is_repeated:
            getattr(parent, field.name).SetInParent()
        return
    new = getattr(fresh, field.name)[0]
    values = getattr(parent, field.name)
    if field.message_type is None:
        values[index] = new
    else:
        values[index].CopyFrom(new)


def _parse_json(text: str, where: str) -> object:
    import json  # for such text only

    try:
        return json.loads(text)
    except (ValueError, RecursionError) as err:
        raise ConfigError(f"{where}: the value does not parse as JSON, {err}; it was read as {_cut(text)}") from err


def _assign(fresh: Message, field: FieldDescriptor, value: object, where: str, *, whole: bool) -> None:
    """Write the value into an empty message of the parent's type."""
    if field.message_type is not None and isinstance(value, str) and _JSON.match(value):
        value = _parse_json(value, where)
    single = is_map(field) or not field.is_repeated or not whole
    for element in [value] if single else _elements(fresh, field, value, where):
        if field.message_type is not None:
            _assign_message(fresh, field, element, where)
        else:
            _assign_scalar(fresh, field, element, where)


def _elements(fresh: Message, field: FieldDescriptor, value: object, where: str) -> list[Any]:
    """Turn the value of a whole repeated field into its elements: a list, or text that holds one."""
    if isinstance(value, (list, tuple)):
        return list(value)
    if not isinstance(value, str) or not value.strip().startswith("["):
        return [value]
    if field.message_type is not None:
        return _message_list(fresh, field, value, where)
    try:
        parsed = ast.literal_eval(value.strip())
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return [part.strip() for part in value.strip().removeprefix("[").removesuffix("]").split(",")]  # [FG_DAG, b]
    return list(parsed) if isinstance(parsed, list) else [value]


def _message_list(fresh: Message, field: FieldDescriptor, value: str, where: str) -> list[Any]:
    """Parse ``[{..}, {..}]`` with the text format itself."""
    holder = type(fresh)()
    _parse_into(holder, f"{field.name}: {value}", where)
    return list(getattr(holder, field.name))


def _assign_message(fresh: Message, field: FieldDescriptor, value: object, where: str) -> None:
    if isinstance(value, Message):  # an element that was parsed already
        getattr(fresh, field.name).add().CopyFrom(value)
    elif isinstance(value, Mapping):
        _assign_mapping(fresh, field, value, where)
    elif isinstance(value, str) and is_map(field):
        _parse_into(fresh, _map_text(field, value), where)
    elif isinstance(value, str):
        _parse_into(fresh, f"{field.name} {_braced(value)}", where)
    else:
        kind = f"message {field.message_type.name}"
        raise ConfigError(
            f"{where}: {field.name} is a {kind}, got {value!r}; give an object, or text such as '{{ field: value }}'"
        )


def _assign_mapping(fresh: Message, field: FieldDescriptor, value: Mapping[str, object], where: str) -> None:
    from google.protobuf import json_format  # 20 ms, for object values only

    from tzrec_build.config.load_json import wrong_fields

    wrapped = [value] if field.is_repeated and not is_map(field) else value
    if is_own_message(field):
        problems = list(wrong_fields(value, field.message_type, "", allow_unknown=False))
        if problems:
            raise ConfigError("\n".join(f"{where}: {problem.text}" for problem in problems))
    alone = type(fresh)()  # the parser replaces a list, and earlier elements are in `fresh`
    try:
        json_format.ParseDict({field.name: wrapped}, alone)
        fresh.MergeFrom(alone)
    except json_format.ParseError as err:
        raise ConfigError(f"{where}: the value does not fit, {str(err).splitlines()[0]}") from err


def _map_text(field: FieldDescriptor, value: str) -> str:
    """Take entries as ``{ key: "a" value: 2 }`` (one), ``[{..}, {..}]``, or repeated ``name { .. }``."""
    text = value.strip()
    return f"{field.name}: {text}" if text.startswith(("{", "[")) else text


def _braced(value: str) -> str:
    text = value.strip()
    return text if text.startswith("{") and text.endswith("}") else f"{{ {text} }}"


def _parse_into(message: Message, text: str, where: str) -> None:
    try:
        text_format.Parse(text, message)
    except text_format.ParseError as err:
        words = parse_error_words(err)
        raise ConfigError(f"{where}: the value does not parse, {words}; it was read as {_cut(text)}") from err
    except RecursionError as err:
        raise ConfigError(f"{where}: the value is nested too deeply; it was read as {_cut(text)}") from err


def _cut(text: str) -> str:
    return repr(text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ...")


def _assign_scalar(fresh: Message, field: FieldDescriptor, value: object, where: str) -> None:
    try:
        converted = _convert(field, value, where)
        if field.is_repeated:
            getattr(fresh, field.name).append(converted)
        else:
            setattr(fresh, field.name, converted)
    except (ValueError, TypeError, OverflowError) as err:
        raise ConfigError(f"{where}: {field.name} must be {_kind(field)}, got {value!r}; {err}") from err


def _kind(field: FieldDescriptor) -> str:
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return "true or false"
    if field.cpp_type in _INTS:
        return "a whole number in the range of its type"
    return "a number" if field.cpp_type in _FLOATS else "text"


def _convert(field: FieldDescriptor, value: object, where: str) -> Any:
    if field.cpp_type == FieldDescriptor.CPPTYPE_ENUM:
        return _enum(field, value, where)
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        if isinstance(value, bool):
            return value
        if value in _BOOLS:
            return _BOOLS[value]
        raise ValueError("write true or false")
    if isinstance(value, bool) and field.cpp_type != FieldDescriptor.CPPTYPE_STRING:
        raise ValueError("a bool is no number")
    if field.cpp_type in _INTS:
        return int(value) if isinstance(value, str) else _whole(value)
    if field.cpp_type in _FLOATS:
        return float(value)  # type: ignore[arg-type]
    if isinstance(value, (str, int, float)):
        return str(value)
    raise ValueError("write it in quotes")


def _whole(value: object) -> int:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, int):
        return value
    raise ValueError("it has a fraction or is no number")


def _enum(field: FieldDescriptor, value: object, where: str) -> int:
    names, numbers = field.enum_type.values_by_name, field.enum_type.values_by_number
    if isinstance(value, str) and value in names:
        return int(names[value].number)
    number = int(value) if isinstance(value, str) and value.lstrip("-").isdigit() else value
    if isinstance(number, int) and not isinstance(number, bool) and number in numbers:
        return number
    raise ConfigError(f"{where}: {field.enum_type.name} has no value {value!r}{suggestion(str(value), names)}")
