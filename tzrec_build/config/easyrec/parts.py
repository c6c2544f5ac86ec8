"""Source and target messages with their paths, and tables that say what becomes of the fields of one message."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from tzrec_build.config.easyrec.receipt import Receipt, Result


@dataclass(frozen=True, slots=True)
class Target:
    """A message of the result and its path."""

    message: Any
    path: str
    receipt: Receipt

    def at(self, name: str) -> str:
        """Give the path of a field."""
        return f"{self.path}.{name}" if self.path else name

    def set(self, name: str, value: object) -> str:
        """Set a scalar or a whole list; give its path. A value that does not fit the field is refused."""
        field = self.message.DESCRIPTOR.fields_by_name[name]
        try:
            if field.is_repeated:
                del getattr(self.message, name)[:]
                getattr(self.message, name).extend(value)
            else:
                setattr(self.message, name, value)
        except (ValueError, TypeError) as err:
            self.receipt.refuse("value out of range", self.at(name), f"{name} cannot be {value!r:.60}, {err}")
        return self.at(name)

    def put(self, name: str, value: object, why: str) -> None:
        """Set a field that no source field asks for, and say why."""
        self.receipt.add(self.set(name, value), value, why)

    def child(self, name: str) -> Target:
        """Go into a message, which is then present."""
        inner = getattr(self.message, name)
        inner.SetInParent()
        return Target(inner, self.at(name), self.receipt)

    def new(self, name: str) -> Target:
        """Append an element to a list of messages."""
        values = getattr(self.message, name)
        values.add()
        return Target(values[len(values) - 1], f"{self.at(name)}[{len(values) - 1}]", self.receipt)


@dataclass(frozen=True, slots=True)
class Source:
    """A message of the source and its path."""

    message: Any
    path: str
    receipt: Receipt

    def at(self, name: str) -> str:
        """Give the path of a field."""
        return f"{self.path}.{name}" if self.path else name

    def has(self, name: str) -> bool:
        """Say whether a field is set; a list is when it is not empty."""
        field = self.message.DESCRIPTOR.fields_by_name.get(name)
        if field is None:
            return False  # a named schema may be older or newer than ours
        return bool(len(getattr(self.message, name))) if field.is_repeated else bool(self.message.HasField(name))

    def get(self, name: str) -> Any:
        """Give a value, or its default; enums by name. Does not account for it."""
        field = self.message.DESCRIPTOR.fields_by_name[name]
        value = getattr(self.message, name)
        if field.enum_type is not None and not field.is_repeated:
            return field.enum_type.values_by_number[value].name
        return value

    def part(self, name: str) -> Source:
        """Go into a message."""
        return Source(getattr(self.message, name), self.at(name), self.receipt)

    def parts(self, name: str) -> list[Source]:
        """Give the elements of a list of messages; none where the schema lacks it."""
        if name not in self.message.DESCRIPTOR.fields_by_name:
            return []
        return [
            Source(value, f"{self.at(name)}[{i}]", self.receipt) for i, value in enumerate(getattr(self.message, name))
        ]

    def note(self, name: str, result: Result, target: str = "", note: str = "") -> None:
        """Account for a field, when it is set; "" for the message itself."""
        if not name or self.has(name):
            path = self.at(name) if name else self.path
            self.receipt.note(path, result, (target,) if target else (), note)

    def drop(self, names: str, why: str) -> None:
        """Account for fields that have no counterpart."""
        for name in names.split():
            self.note(name, "dropped", "", why)

    def refuse(self, cause: str, text: str, name: str = "") -> None:
        """Say that something here cannot be converted at all."""
        self.receipt.refuse(cause, self.at(name) if name else self.path, text)


@dataclass(frozen=True, slots=True)
class Rule:
    """What becomes of one source field.

    Attributes:
        target: field of the target; "" when there is none.
        how: why it is dropped, or how it is only approximated; "" when nothing is lost.
        always: written also when the source leaves it unset, because the defaults differ.
        convert: source value -> target value; None as result: leave the target alone and account as dropped.
    """

    target: str = ""
    how: str = ""
    always: bool = False
    convert: Callable[[Any], Any] | None = None


Rules = dict[str, Rule]
UNSET_DEFAULT = "EasyRec's default, which differs from TorchEasyRec's"


def same(names: str) -> Rules:
    """Fields of one name, type and meaning on both sides."""
    return {name: Rule(name) for name in names.split()}


def dropped(names: str, why: str) -> Rules:
    """Fields without a counterpart, for one reason."""
    return {name: Rule(how=why) for name in names.split()}


def apply(source: Source, target: Target, rules: Rules) -> None:
    """Bring the fields that have a rule over; the caller sees to the others."""
    for name, rule in rules.items():
        if source.has(name):
            _bring(source, target, name, rule)
        elif rule.always and name in source.message.DESCRIPTOR.fields_by_name:
            value = source.get(name)
            converted = rule.convert(value) if rule.convert else value
            if converted is not None:
                target.put(rule.target, converted, UNSET_DEFAULT)


def _bring(source: Source, target: Target, name: str, rule: Rule) -> None:
    if not rule.target:
        source.note(name, "dropped", "", rule.how)
        return
    value = source.get(name)
    converted = rule.convert(value) if rule.convert else value
    if converted is None:
        source.note(name, "dropped", "", rule.how or f"{value!r} has no counterpart")
        return
    place = target.set(rule.target, converted)
    changed = rule.convert is not None and converted != value
    result: Result = "approximated" if rule.how else "mapped" if changed or rule.target != name else "kept"
    source.note(name, result, place, rule.how)


_RANGE = re.compile(r"^(?P<stem>.*)\[(?P<first>\d{1,6})-(?P<last>\d{1,6})\]$")
_RANGE_LIMIT = 10_000


def expand(names: Iterable[str]) -> list[str]:
    """Write out names with a range of numbers, as EasyRec does.

    >>> expand(["a", "field[1-3]"])
    ['a', 'field1', 'field2', 'field3']
    """
    found: list[str] = []
    for name in names:
        match = _RANGE.match(name)
        numbers = range(int(match["first"]), int(match["last"]) + 1) if match else range(0)
        if match and len(numbers) <= _RANGE_LIMIT:
            found += [f"{match['stem']}{number}" for number in numbers]
        else:
            found.append(name)
    return found
