"""What differs between two configs in meaning: lists matched by name, explicit defaults equal to unset fields."""

from __future__ import annotations

import bisect
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf import text_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from tzrec_build.config.names import element_name
from tzrec_build.config.walk import is_map, is_own_message


@dataclass(frozen=True, slots=True)
class Change:
    """One difference.

    `path` is written as in an edit key, e.g. ``feature_configs[id_feature.feature_name=uid].id_feature.embedding_dim``; an
    element without a name has its index. `old` and `new` are values in text format, "" where absent; an element that only
    changed its place among its neighbours has ``at 3`` and ``at 0`` instead.
    """

    path: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class _Element:
    """One element of a repeated message: its index, its selector in a path, the message."""

    index: int
    selector: str
    message: Message


def diff_configs(old: Message, new: Message) -> list[Change]:
    """List what differs between two configs, or two messages of one type, in declaration order.

    Comments, the order of sections and defaults that are written out make no difference. Features, groups, towers, encoders,
    losses and metrics are compared with their namesakes; one that only one side has is one change, with all it holds. Empty
    sections of the config are equal to absent ones; deeper down an empty message counts, because its presence has a meaning.
    """
    return list(_messages(old, new, ""))


def _messages(old: Message, new: Message, at: str) -> Iterator[Change]:
    if old == new:
        return
    held = {field.index: field for message in (old, new) for field, _ in message.ListFields()}
    for _, field in sorted(held.items()):
        path = f"{at}.{field.name}" if at else field.name
        if is_own_message(field) and field.is_repeated:
            yield from _lists(getattr(old, field.name), getattr(new, field.name), path)
        elif is_own_message(field):
            yield from _singles(old, new, field, path)
        else:
            before, after = _shown(old, field), _shown(new, field)
            if before != after:
                yield Change(path, before, after)


def _singles(old: Message, new: Message, field: FieldDescriptor, path: str) -> Iterator[Change]:
    """Compare a field that holds one message."""
    before, after = (message.HasField(field.name) for message in (old, new))
    is_section = "." not in path and "[" not in path
    if (before and after) or (is_section and (before or after)):
        yield from _messages(getattr(old, field.name), getattr(new, field.name), path)
    elif before or after:
        yield Change(
            path, *(message_text(getattr(m, field.name)) if m.HasField(field.name) else "" for m in (old, new))
        )


def _lists(old: Sequence[Message], new: Sequence[Message], path: str) -> Iterator[Change]:
    """Compare two lists of messages: removed and changed in the old order, then added, then moved."""
    before, after = _by_identity(old), _by_identity(new)
    for identity, element in before.items():
        at = f"{path}[{element.selector}]"
        other = after.get(identity)
        if other is None:
            yield Change(at, message_text(element.message), "")
        elif _kinds_differ(element.message, other.message):
            yield Change(at, message_text(element.message), message_text(other.message))
        else:
            yield from _messages(element.message, other.message, at)
    for identity, element in after.items():
        if identity not in before:
            yield Change(f"{path}[{element.selector}]", "", message_text(element.message))
    yield from _moved(before, after, path)


def _by_identity(elements: Sequence[Message]) -> dict[tuple[str, ...], _Element]:
    """Key elements by their name; one that has no name, or the name of an earlier one, by its position among those like it."""
    found: dict[tuple[str, ...], _Element] = {}
    unnamed = 0
    for i, message in enumerate(elements):
        name = element_name(message)
        identity, selector = (name.identity, name.selector or str(i)) if name else (("", str(unnamed)), str(i))
        unnamed += name is None
        again = 1
        while identity in found:
            again += 1
            identity, selector = (*identity[:1], "", str(again)), str(i)
        found[identity] = _Element(i, selector, message)
    return found


def _kinds_differ(old: Message, new: Message) -> bool:
    """Say whether two namesakes hold another member of a oneof, such as an id feature that became a raw one."""
    return any(old.WhichOneof(oneof.name) != new.WhichOneof(oneof.name) for oneof in old.DESCRIPTOR.oneofs)


def _moved(
    before: Mapping[tuple[str, ...], _Element], after: Mapping[tuple[str, ...], _Element], path: str
) -> Iterator[Change]:
    """Report the fewest elements that must move to bring the common ones into the new order."""
    common = [identity for identity in before if identity in after]
    stays = _longest_rise([after[identity].index for identity in common])
    for position, identity in enumerate(common):
        if position not in stays:
            element = before[identity]
            yield Change(f"{path}[{element.selector}]", f"at {element.index}", f"at {after[identity].index}")


def _longest_rise(values: Sequence[int]) -> set[int]:
    """Give the positions of a longest rising subsequence of distinct numbers.

    >>> sorted(_longest_rise([3, 0, 1, 2]))
    [1, 2, 3]
    """
    tails: list[int] = []  # smallest last value of a rise of each length
    ends: list[int] = []  # position of that value
    previous: list[int] = []
    for position, value in enumerate(values):
        length = bisect.bisect_left(tails, value)
        previous.append(ends[length - 1] if length else -1)
        tails[length : length + 1] = [value]
        ends[length : length + 1] = [position]
    found = set()
    at = ends[-1] if ends else -1
    while at >= 0:
        found.add(at)
        at = previous[at]
    return found


def _shown(message: Message, field: FieldDescriptor) -> str:
    """Write what one field without messages of ours holds; "" for unset, empty, and the default of the schema."""
    value: Any = getattr(message, field.name)
    if is_map(field):
        entries = (f"{_scalar(_entry(field, 'key'), key)}: {_map_value(field, value[key])}" for key in sorted(value))
        return f"{{{', '.join(entries)}}}" if value else ""
    if field.is_repeated:
        return field_text(field, value, whole=True) if value else ""
    if not message.HasField(field.name):
        return ""
    if field.message_type is not None:
        return message_text(value)
    return "" if field.has_default_value and value == field.default_value else _scalar(field, value)


def _entry(field: FieldDescriptor, name: str) -> FieldDescriptor:
    return field.message_type.fields_by_name[name]


def _map_value(field: FieldDescriptor, value: Any) -> str:
    value_field = _entry(field, "value")
    return message_text(value) if value_field.message_type is not None else _scalar(value_field, value)


def _scalar(field: FieldDescriptor, value: Any) -> str:
    out = io.StringIO()
    text_format.PrintFieldValue(field, value, out, as_utf8=True)
    return out.getvalue()


def field_text(field: FieldDescriptor, values: Sequence[Any], *, whole: bool) -> str:
    """Write scalars of one field as an edit reads them: a list in brackets for a `whole` repeated field, else the only one."""
    texts = [_scalar(field, value) for value in values]
    return f"[{', '.join(texts)}]" if whole else texts[0]


def message_text(message: Message) -> str:
    """Write a message in one line of text format, in braces: a value that an edit reads."""
    text = text_format.MessageToString(message, as_utf8=True, as_one_line=True, use_short_repeated_primitives=True)
    return f"{{ {text} }}" if text else "{}"
