"""Why a task is stale, as data: the first difference between what was recorded and what is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a task is stale: the part, the thing in it, and its old and new value ("" where there is none)."""

    part: str
    what: str
    old: str = ""
    new: str = ""

    def __str__(self) -> str:
        change = f": {self.old} → {self.new}" if self.old or self.new else ""
        return f"{self.part} {self.what}{change}" if self.part else self.what


def changed_files(label: str, old: Mapping[str, str], new: Mapping[str, str]) -> Reason:
    """The first file, by name, that is gone, added or another."""
    for path in sorted({*old, *new}):
        if path not in new:
            return Reason("", f"{label}{path}: gone")
        if path not in old:
            return Reason("", f"{label}{path}: added")
        if old[path] != new[path]:
            return Reason("", f"{label}{path}: content changed")
    raise RuntimeError("bug: equal files compared unequal")


def first_difference(record: Mapping[str, Any], now: Mapping[str, Any]) -> Reason | None:
    """The first part, in the order in which they are judged, that is not as recorded."""
    for part, differences in _PARTS.items():
        if record.get(part) != now[part]:
            return differences(record.get(part, {}), now[part])
    return None


def _changed_inputs(old: Mapping[str, list[Mapping[str, str]]], new: Mapping[str, list[Mapping[str, str]]]) -> Reason:
    for name in sorted({*old, *new}):
        before, after = old.get(name, []), new.get(name, [])
        if len(before) != len(after):
            return Reason("input", name, f"{len(before)} paths", f"{len(after)} paths")
        for one, other in zip(before, after, strict=True):
            if one != other:
                return changed_files(f"input {name} ", one, other)
    raise RuntimeError("bug: equal inputs compared unequal")


def _changed_values(part: str) -> Callable[[Mapping[str, object], Mapping[str, object]], Reason]:
    def compare(old: Mapping[str, object], new: Mapping[str, object]) -> Reason:
        for name in sorted({*old, *new}):
            if old.get(name) != new.get(name):
                return Reason(part, name.removeprefix("params."), _shown(old.get(name)), _shown(new.get(name)))
        raise RuntimeError("bug: equal values compared unequal")

    return compare


def _changed_code(old: Mapping[str, str], new: Mapping[str, str]) -> Reason:
    path = next(path for path in sorted({*old, *new}) if old.get(path) != new.get(path))
    return Reason("code", f"{path} changed")


def _shown(value: object) -> str:
    return "(none)" if value is None else str(value)


_PARTS: Mapping[str, Callable[[Any, Any], Reason]] = {
    "inputs": _changed_inputs,
    "params": _changed_values("parameter"),
    "code": _changed_code,
    "env": _changed_values("environment"),
}
