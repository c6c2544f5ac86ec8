"""Fields of one value that a text sets more than once: equal values do no harm, other ones are an error of the parser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from tzrec_build.config.positions import positions
from tzrec_build.protos.tzrec.pipeline_pb2 import EasyRecConfig

_ASSIGNMENT = re.compile(r"""\w+\s*:\s*("(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|[-+.\w]+)""")


@dataclass(frozen=True, slots=True)
class Repeat:
    """A second setting of a field: its path in the text (every step with its index), name, and span."""

    path: str
    name: str
    start: int
    end: int


def equal_repeats(text: str) -> list[Repeat]:
    """List the settings that say again what an earlier one of the same field said."""
    return list(_repeats(text))


def without_repeats(text: str) -> str:
    """Blank the settings that say again what an earlier one said; every other character keeps its line and column."""
    parts, at = [], 0
    for repeat in sorted(_repeats(text), key=lambda found: found.start):
        span = text[repeat.start : repeat.end]
        parts += [text[at : repeat.start], re.sub(r"[^\n]", " ", span)]
        at = repeat.end
    return "".join([*parts, text[at:]])


def _repeats(text: str) -> Iterator[Repeat]:
    offsets = positions(text).offsets
    for path, offset in offsets.items():
        if path.endswith("[0]"):
            continue
        field = _field_of(EasyRecConfig.DESCRIPTOR, path)
        if field is None or field.is_repeated or field.message_type is not None:
            continue
        first = _ASSIGNMENT.match(text, offsets[f"{path.rpartition('[')[0]}[0]"])
        again = _ASSIGNMENT.match(text, offset)
        if first and again and first[1] == again[1]:
            yield Repeat(path, field.name, again.start(), again.end())


def _field_of(descriptor: Descriptor, path: str) -> FieldDescriptor | None:
    """Find the field of a path whose every step has an index, None for one that the schema does not have."""
    field = None
    for step in path.split("."):
        field = descriptor.fields_by_name.get(step.partition("[")[0]) if descriptor is not None else None
        if field is None:
            return None
        descriptor = field.message_type
    return field
