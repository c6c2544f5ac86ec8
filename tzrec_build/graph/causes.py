"""Every cause for which an artifact is stale, in the words of a person: what changed, from what, to what.

`Judge.reason` says whether and gives the first difference; here all of them are told, in the same order (inputs, parameters, code,
environment, outputs). A changed config is taken apart into its fields, other small texts into their first changed line.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tzrec_build.errors import BuildError
from tzrec_build.graph.amounts import size_text

SHOWN_CHARS = 60
_CONFIGS = (".config", ".json")


@dataclass(frozen=True, slots=True)
class Cause:
    """One cause.

    Attributes:
        part: "input", "config", "parameter", "code", "environment", "output", "record" or "upstream".
        what: the file, field, parameter, source file, package, variable or task.
        text: the whole cause as a person reads it.
        old: value before, as text; "" where there is none.
        new: value now.
        file: for a field of a config, the file that holds it.
    """

    part: str
    what: str
    text: str
    old: str = ""
    new: str = ""
    file: str = ""

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Contents:
    """How to learn more of a content than its digest.

    Attributes:
        size: content -> bytes, or None.
        old_text: content of a record -> text, or None.
        new_text: path of the file, absolute -> text as it is now (or will be), or None.
        new_size: the same for its size.
    """

    size: Callable[[str], int | None]
    old_text: Callable[[str], str | None]
    new_text: Callable[[str], str | None]
    new_size: Callable[[str], int | None]


@dataclass(frozen=True, slots=True)
class InputFiles:
    """The files of one path of an input: name -> content, at the last build and now, and where each lies.

    Attributes:
        old: contents at the last build.
        new: contents now.
        shown: name -> path as a person knows it.
        paths: name -> absolute path.
    """

    old: Mapping[str, str]
    new: Mapping[str, str]
    shown: Callable[[str], str]
    path: Callable[[str], str]


def input_causes(files: InputFiles, contents: Contents) -> Iterator[Cause]:
    """What changed among the files of one path of an input."""
    for name in sorted({*files.old, *files.new}):
        old, new, shown = files.old.get(name), files.new.get(name), files.shown(name)
        if old == new:
            continue
        if old is None:
            yield Cause("input", shown, f"input {shown}: file added", "", _size(contents.new_size(files.path(name))))
        elif new is None:
            yield Cause("input", shown, f"input {shown}: file gone", _size(contents.size(old)), "")
        elif old.removeprefix("x") == new.removeprefix("x"):
            yield Cause("input", shown, f"input {shown}: {'no longer ' if old[0] == 'x' else 'now '}executable")
        else:
            yield from _content_causes(shown, old, files.path(name), contents)


def _content_causes(shown: str, old: str, path: str, contents: Contents) -> Iterator[Cause]:
    before, after = contents.old_text(old), contents.new_text(path)
    if before is not None and after is not None and before != after:
        told = list(_config_causes(shown, before, after)) if shown.endswith(_CONFIGS) else []
        yield from told or [_line_cause(shown, before, after)]
        return
    old_size, new_size = contents.size(old), contents.new_size(path)
    if old_size is None or new_size is None:
        yield Cause("input", shown, f"input {shown}: content changed")
    elif old_size == new_size:
        size = _size(old_size)
        yield Cause("input", shown, f"input {shown}: content changed ({size}, as before)", size, size)
    else:
        one, other = _two_sizes(old_size, new_size)
        yield Cause("input", shown, f"input {shown}: content changed ({one} → {other})", one, other)


def _config_causes(shown: str, before: str, after: str) -> Iterator[Cause]:
    """The changed fields of a pipeline config; nothing when one of the texts is no such config."""
    from tzrec_build.config.diff import diff_configs
    from tzrec_build.config.load import parse_pipeline_config

    try:
        changes = diff_configs(parse_pipeline_config(before, shown), parse_pipeline_config(after, shown))
    except BuildError:
        return
    for change in changes:
        text = f"config {change.path}: {short(change.old or '(none)')} → {short(change.new or '(none)')}"
        if not change.new and change.old.startswith(
            "{"
        ):  # a whole feature or layer, whose text says less than its name
            text = f"config {change.path}: removed"
        elif not change.old and change.new.startswith("{"):
            text = f"config {change.path}: added"
        yield Cause("config", change.path, text, change.old, change.new, shown)
    if not changes:
        yield Cause("input", shown, f"input {shown}: comments or layout changed, no field")


def _line_cause(shown: str, before: str, after: str) -> Cause:
    """The first line that differs."""
    old, new = before.splitlines(), after.splitlines()
    for number, (one, other) in enumerate(zip(old, new, strict=False), 1):
        if one != other:
            text = f"input {shown}: line {number} changed, {short(one)!r} → {short(other)!r}"
            return Cause("input", f"{shown}:{number}", text, one, other, shown)
    count = abs(len(new) - len(old))
    lines = f"{count} line{'s' if count > 1 else ''}"
    if count == 0:
        return Cause("input", shown, f"input {shown}: line ends changed")
    text = f"input {shown}: {lines} {'added' if len(new) > len(old) else 'removed'} at the end"
    return Cause("input", shown, text, f"{len(old)} lines", f"{len(new)} lines", shown)


def parameter_causes(old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[Cause]:
    """What changed among parameters and command; the command last, it often only repeats a parameter."""
    for name in sorted({*old, *new}, key=lambda name: (not name.startswith("params."), name)):
        before, after = old.get(name), new.get(name)
        if before == after:
            continue
        if name == "outputs" and before and after:
            yield _list_cause(name, *([_output(*item) for item in json.loads(text)] for text in (before, after)))
        elif name == "command" and before and after:
            yield _list_cause(name, json.loads(before), json.loads(after))
        else:
            yield _value_cause("parameter", name.removeprefix("params."), before, after, "parameter ")


def _list_cause(name: str, before: list[Any], after: list[Any]) -> Cause:
    gone = [_word(item) for item in before if item not in after]
    added = [_word(item) for item in after if item not in before]
    if not gone and not added:
        return Cause("parameter", name, f"{name}: order changed", _words(before), _words(after))
    text = f"{name}: {short(' '.join(gone)) or '(none)'} → {short(' '.join(added)) or '(none)'}"
    return Cause("parameter", name, text, _words(before), _words(after))


def _output(name: str, file: str) -> str:
    return name if name == file else f"{name} = {file}"


def _word(item: object) -> str:
    return " ".join(str(part) for part in item) if isinstance(item, list) else str(item)


def _words(items: list[Any]) -> str:
    return " ".join(_word(item) for item in items)


def code_causes(old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[Cause]:
    """Which source files changed."""
    for path in sorted({*old, *new}):
        if old.get(path) != new.get(path):
            how = "is new" if path not in old else "is no longer used" if path not in new else "changed"
            yield Cause("code", path, f"code {path} {how}")


def environment_causes(old: Mapping[str, str | None], new: Mapping[str, str | None]) -> Iterator[Cause]:
    """Which packages, variables or machine properties changed."""
    for name in sorted({*old, *new}):
        if old.get(name) != new.get(name):
            label = f"variable {name[1:]}: " if name.startswith("$") else f"{name} "
            yield _value_cause("environment", name.removeprefix("$"), old.get(name), new.get(name), label)


def _value_cause(part: str, what: str, old: str | None, new: str | None, label: str) -> Cause:
    label = f"{label}{what}: " if part == "parameter" else label
    shown = [short("(none)" if value is None else value) for value in (old, new)]
    return Cause(part, what, f"{label}{shown[0]} → {shown[1]}", old or "", new or "")


def output_causes(out: str, old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[Cause]:
    """What was done to the artifact since it was made."""
    if old and not new:
        yield Cause("output", out, f"output {out}: removed from disk")
        return
    for path in sorted({*old, *new}):
        if old.get(path) != new.get(path):
            how = "added on disk" if path not in old else "removed from disk" if path not in new else "modified on disk"
            yield Cause("output", f"{out}/{path}", f"output {out}/{path}: {how}")


def short(text: str, chars: int = SHOWN_CHARS) -> str:
    """A value as one short line.

    >>> short("a" * 9, 8)
    'aaaaa...'
    """
    line = " ".join(text.split())
    return line if len(line) <= chars else line[: chars - 3] + "..."


def _size(count: int | None) -> str:
    return "" if count is None else size_text(count)


def _two_sizes(old: int, new: int) -> tuple[str, str]:
    """Two different sizes so that the difference is seen."""
    for digits in range(1, 7):
        shown = size_text(old, digits), size_text(new, digits)
        if shown[0] != shown[1]:
            return shown
    return f"{old} B", f"{new} B"
