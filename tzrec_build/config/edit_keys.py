"""The keys of edits, parsed: dotted steps, each with at most one selector in brackets. See `edit` for the grammar."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tzrec_build.errors import ConfigError

_STEP = re.compile(r"([A-Za-z_]\w*)(\[(.*)\])?$", re.DOTALL)
_INDEX = re.compile(r"[+-]?\d+$")
_SLICE = re.compile(r"([+-]?\d+)?:([+-]?\d+)?$")
_NAME = re.compile(r"[A-Za-z_]\w*$")
_COMPARISON = re.compile(r">=|<=|=|>|<")


@dataclass(frozen=True, slots=True)
class Where:
    """Selects elements whose field at `path` compares true with `literal`."""

    path: tuple[Step, ...]
    compare: str
    literal: str


@dataclass(frozen=True, slots=True)
class Holds:
    """Selects elements that hold a field, such as the member of a oneof: ``losses[l2_loss]``."""

    field: str


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a key: a field, and which elements of it (None: the field itself)."""

    field: str
    selector: int | slice | Where | Holds | None
    text: str  # as written, for messages


def split_outside_brackets(text: str, mark: str) -> list[str]:
    """Split a text at a character where no bracket is open.

    >>> split_outside_brackets("a[b.c=1].d", ".")
    ['a[b.c=1]', 'd']
    """
    parts, depth, start = [], 0, 0
    for i, char in enumerate(text):
        depth += (char == "[") - (char == "]")
        if char == mark and depth == 0:
            parts.append(text[start:i])
            start = i + 1
    return [*parts, text[start:]]


def parse_key(key: str) -> tuple[Step, ...]:
    """Parse a key into steps; pure.

    Raises:
        ConfigError: a step is no field name with at most one selector.
    """
    return tuple(_parse_step(part.strip(), key) for part in split_outside_brackets(key, "."))


def _parse_step(part: str, key: str) -> Step:
    found = _STEP.match(part)
    if not found:
        raise ConfigError(
            f"edit {key!r}: a step must be FIELD or FIELD[SELECTOR], got {part!r}; see the edit-path grammar"
        )
    name, brackets, inside = found.groups()
    return Step(name, None if brackets is None else _parse_selector(inside.strip(), key), part)


def _parse_selector(inside: str, key: str) -> int | slice | Where | Holds:
    if _INDEX.match(inside):
        return int(inside)
    if bounds := _SLICE.match(inside):
        start, stop = (int(part) if part else None for part in bounds.groups())
        return slice(start, stop)
    if _NAME.match(inside):
        return Holds(inside)
    if found := _comparison(inside):
        return Where(parse_key(inside[: found.start()].strip()), found.group(), inside[found.end() :].strip())
    raise ConfigError(f"edit {key!r}: a selector must be [3], [1:3], [:], [field=value] or [field], got [{inside}]")


def parse_assignment(text: str) -> tuple[str, str]:
    """Split ``PATH=VALUE`` at the first ``=`` outside brackets; pure.

    Raises:
        ConfigError: there is none.

    >>> parse_assignment("feature_configs[id_feature.feature_name=a].id_feature.pooling=mean")
    ('feature_configs[id_feature.feature_name=a].id_feature.pooling', 'mean')
    """
    key, *values = split_outside_brackets(text, "=")
    if not values:
        raise ConfigError(f"edit {text!r}: must read PATH=VALUE, got no =; write for example data_config.batch_size=64")
    return key, "=".join(values)


def _comparison(inside: str) -> re.Match[str] | None:
    """Find the first comparison outside brackets: those inside belong to conditions of the condition's own path."""
    for found in _COMPARISON.finditer(inside):
        before = inside[: found.start()]
        if before.count("[") == before.count("]"):
            return found
    return None
