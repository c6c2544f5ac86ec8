"""[each]: from a range, list, glob or environment variable to the values of an instance, and from ``{ds+1}`` to text.

A placeholder is ``{NAME}`` or, for days and integers, ``{NAME+1}`` and ``{NAME-1}``; ``{{NAME}}`` writes ``{NAME}``.
Braces around anything else are left alone: text-format messages in [config.edit] are full of them.
"""

from __future__ import annotations

import datetime as dt
import glob
import itertools
import os
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tzrec_build.errors import suggestion
from tzrec_build.graph.arguments import PLACEHOLDER
from tzrec_build.graph.keys import NAME, NAME_RULE

RANGE = re.compile(r"([0-9]+)\.\.([0-9]+)")
MAX_INSTANCES = 10_000
MAX_LABEL = 200  # characters; a folder's name may have 255 bytes
DAY_FORMAT = "%Y%m%d"


class Value(NamedTuple):
    """One value of an [each] variable.

    Attributes:
        text: what ``{NAME}`` writes.
        label: what the instance is called after: the text, or the stem of a path.
        unit: "day", "integer" or "" when ``{NAME+1}`` means nothing.
    """

    text: str
    label: str
    unit: str = ""


class Surroundings:
    """What [each] looks at outside of the file, and a note of what was seen, for the cache of compiled workspaces."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self.env: dict[str, str] = {}
        self.globs: dict[tuple[str, str], tuple[str, ...]] = {}

    def variable(self, name: str) -> str:
        """Give the value of an environment variable; raises ValueError when it is not set or empty."""
        value = self._environment.get(name, "")
        self.env[name] = value
        if not value:
            raise ValueError(f"environment variable {name} is not set; set it, or name the values here")
        return value

    def files(self, folder: str, pattern: str) -> tuple[str, ...]:
        """Give the sorted paths below `folder` that match; raises ValueError when none does."""
        found = list_files(folder, pattern)
        self.globs[folder, pattern] = found
        if not found:
            raise ValueError(f"{pattern!r} matches no file; write a glob that matches below the pipeline's folder")
        return found


def list_files(folder: str, pattern: str) -> tuple[str, ...]:
    """List what a glob matches, sorted, relative to `folder` as the pattern is."""
    return tuple(sorted(glob.glob(pattern, root_dir=folder, recursive=True)))


def expand_values(rule: object, folder: str, around: Surroundings) -> tuple[Value, ...]:
    """Expand the right side of one [each] key.

    Args:
        rule: an integer, a text (range ``1..3`` of integers or days, glob, ``$VARIABLE``, or itself), or a list of them.
        folder: where globs start.
        around: environment and file names.

    Returns:
        The values in order; two with the same label cannot be told apart and are refused.

    Raises:
        ValueError: the message says what the rule must be.
    """
    items = rule if isinstance(rule, list) else [rule]
    values: list[Value] = []
    for item in items:
        values.extend(_expand_item(item, folder, around))
    if not values:
        raise ValueError("must have at least one value, got an empty list; remove it, or add a value")
    seen: dict[str, Value] = {}
    for value in values:
        if value.label in seen:
            raise ValueError(
                f"{seen[value.label].text!r} and {value.text!r} would both be named {value.label!r}; rename one"
            )
        if not NAME.fullmatch(value.label):
            raise ValueError(f"value {value.label!r} becomes part of task names: it {NAME_RULE}; choose another value")
        seen[value.label] = value
    return tuple(values)


def _expand_item(item: object, folder: str, around: Surroundings) -> Sequence[Value]:
    if isinstance(item, int) and not isinstance(item, bool):
        return [_literal(str(item))]
    if not isinstance(item, str):
        raise ValueError("must be an integer, a text or a list of them; a day is written '20260101'")  # noqa: TRY004 - of a file, not of a call
    if item.startswith("$"):
        texts = around.variable(item[1:].strip("{}")).split(",")
        return [value for text in texts for value in _expand_text(text.strip(), folder, around)]
    return _expand_text(item, folder, around)


def _expand_text(text: str, folder: str, around: Surroundings) -> Sequence[Value]:
    ends = RANGE.fullmatch(text)
    if ends:
        return _expand_range(ends[1], ends[2])
    if any(mark in text for mark in "*?["):
        return [Value(path, _stem(path)) for path in around.files(folder, text)]
    return [_literal(text)]


def _literal(text: str) -> Value:
    if _day(text):
        return Value(text, text, "day")
    if re.fullmatch(r"-?[0-9]{1,18}", text):
        return Value(text, text, "integer")
    return Value(text, _stem(text) if "/" in text else text)


def _stem(path: str) -> str:
    return os.path.splitext(os.path.basename(path.rstrip("/")))[0]


def _day(text: str) -> dt.date | None:
    if not re.fullmatch(r"[0-9]{8}", text):
        return None
    try:
        return dt.date(int(text[:4]), int(text[4:6]), int(text[6:]))
    except ValueError:
        return None


def _expand_range(first: str, last: str) -> Sequence[Value]:
    low, high = _day(first), _day(last)
    if (low is None) != (high is None):
        bad = first if low is None else last
        raise ValueError(f"{bad} is not a day of the calendar (YYYYMMDD); correct it")
    start, stop = (low.toordinal(), high.toordinal()) if low and high else (int(first[:18]), int(last[:18]))
    if stop < start or len(first) > 18 or len(last) > 18:
        raise ValueError(f"range {first[:20]}..{last[:20]} must go upwards in at most 18 digits; swap its ends")
    _check_count(stop - start + 1)
    if low and high:
        days = (dt.date.fromordinal(number) for number in range(start, stop + 1))
        return [Value(text, text, "day") for text in map(_day_text, days)]
    width = len(first) if first.startswith("0") else 0
    return [Value(text, text, "integer") for text in (str(number).zfill(width) for number in range(start, stop + 1))]


def _day_text(day: dt.date) -> str:
    return f"{day.year:04}{day.month:02}{day.day:02}"  # strftime("%Y") does not pad on Linux


def _check_count(count: int) -> None:
    if count > MAX_INSTANCES:
        raise ValueError(f"must give at most {MAX_INSTANCES} instances, got {count}; split the pipeline")


def expand_product(values: Mapping[str, Sequence[Value]]) -> list[dict[str, Value]]:
    """Combine the values of several variables, the last one fastest, in the order of the table.

    Raises:
        ValueError: there are too many combinations.
    """
    count = 1
    for column in values.values():
        count *= len(column)
    _check_count(count)
    rows = [dict(zip(values, row, strict=True)) for row in itertools.product(*values.values())]
    longest = max(map(instance_label, rows), key=len)
    if len(longest) > MAX_LABEL:
        raise ValueError(f"must give names of at most {MAX_LABEL} characters, got {longest!r}; use shorter values")
    return rows


def instance_label(bound: Mapping[str, Value]) -> str:
    """Name an instance within its pipeline.

    >>> instance_label({"ds": Value("20260101", "20260101"), "config": Value("configs/dbmtl.config", "dbmtl")})
    'ds=20260101,config=dbmtl'
    """
    return ",".join(f"{name}={value.label}" for name, value in bound.items())


def shift(value: Value, by: int) -> str:
    """Move a day or an integer; zeros in front are kept.

    Raises:
        ValueError: the value has no successor, or the calendar ends.

    >>> shift(Value("20240228", "20240228", "day"), 2), shift(Value("007", "007", "integer"), 1)
    ('20240301', '008')
    """
    day = _day(value.text) if value.unit == "day" else None
    if day:
        try:
            return _day_text(day + dt.timedelta(days=by))
        except OverflowError:
            raise ValueError(
                f"{value.text} moved by {by:+} days is outside of the calendar; use a smaller offset"
            ) from None
    if value.unit == "integer":
        return str(int(value.text) + by).zfill(len(value.text) if value.text.startswith("0") else 0)
    raise ValueError(f"an offset needs a day or an integer, got {value.text!r}; remove the offset")


class Names(NamedTuple):
    """What placeholders may name in one instance.

    Attributes:
        bound: [each] variable -> value.
        vars: [vars] of workspace.toml.
        late: names that stay as they are until a command is run, e.g. "inputs.raw".
    """

    bound: Mapping[str, Value]
    vars: Mapping[str, object]
    late: frozenset[str] = frozenset()

    def known(self) -> list[str]:
        """List every name, for suggestions."""
        return [*self.bound, *(f"vars.{name}" for name in self.vars), *self.late]


def fill(text: str, names: Names) -> object:
    """Replace the placeholders of one text.

    A text that is one placeholder and nothing else takes over the type: an integer of [each] or of [vars] stays one.
    Where `names.late` is not empty, late names and ``{{...}}`` are left for `expand_command`.

    Raises:
        ValueError: unknown name, or an offset that means nothing.

    >>> fill("ds={ds+1}/*.parquet", Names({"ds": Value("20241231", "20241231", "day")}, {}))
    'ds=20250101/*.parquet'
    """
    if "{" not in text:
        return text
    whole = PLACEHOLDER.fullmatch(text)
    if whole and not whole[1] and whole[2] not in names.late:
        return _lookup(whole, names)
    return PLACEHOLDER.sub(lambda found: _replacement(found, names), text)


def _replacement(found: re.Match[str], names: Names) -> str:
    if found[1]:
        return found[0] if names.late else found[0][1:-1]
    if found[2] in names.late and not found[3]:
        return found[0]
    value = _lookup(found, names)
    if isinstance(value, list | dict):
        raise ValueError(f"{found[0]} is a list and must stand alone; remove the text around it")  # noqa: TRY004 - of a file
    return str(value).lower() if isinstance(value, bool) else str(value)


def _lookup(found: re.Match[str], names: Names) -> object:
    name, offset = found[2], found[3]
    if name in names.bound:
        value = names.bound[name]
        text = shift(value, int(offset[:12])) if offset else value.text
        return int(text) if value.unit == "integer" and text == str(int(text)) else text
    if name.startswith("vars.") and name[5:] in names.vars and not offset:
        return names.vars[name[5:]]
    known = names.known()
    hint = suggestion(name, known) if known else "; none is defined here"
    raise ValueError(f"unknown placeholder {found[0]}{hint} (write {{{found[0]}}} for these very characters)")


def fill_all(value: object, names: Names) -> object:
    """Replace the placeholders in every text of a list or table (see `fill`); keys stay as they are."""
    if isinstance(value, str):
        return fill(value, names)
    if isinstance(value, list):
        return [fill_all(item, names) for item in value]
    if isinstance(value, dict):
        return {key: fill_all(item, names) for key, item in value.items()}
    return value
