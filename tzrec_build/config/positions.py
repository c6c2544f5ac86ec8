"""Where a field stands in the text of a config: textproto and JSON, also when the text does not parse."""

from __future__ import annotations

import bisect
import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_TOKEN = re.compile(
    r"""(?P<skip>\s+|\#[^\n]*)
    |(?P<string>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')
    |(?P<word>[A-Za-z_][\w]*)
    |(?P<scalar>[-+]?[.\d][\w.+-]*)
    |(?P<mark>.)""",
    re.VERBOSE,
)
_INDEX = re.compile(r"\[(\d+)\]$")
_OPEN = {"{": "}", "<": ">", "[": "]"}


@dataclass(slots=True)
class _Scope:
    """An open brace of the text: a message (path of the message) or a list (path of the field)."""

    path: str
    is_list: bool
    name: str = ""  # textproto: field read, value pending
    name_at: int = 0
    has_colon: bool = False
    after_comma: bool = True  # JSON: the next string of an object is a key
    list_base: int = 0  # textproto: how often the field was there before this list
    elements: int = 0
    counts: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Positions:
    """Offsets of all fields of one text, by canonical path (every step with its index)."""

    text: str
    offsets: dict[str, int]
    line_starts: tuple[int, ...]

    def place(self, field_path: str) -> tuple[int, int]:
        """Give line and column (both from 1) of a field, of its nearest parent in the text when it is not there, else (1, 1)."""
        steps = [step if _INDEX.search(step) else f"{step}[0]" for step in field_path.split(".") if step]
        while steps:
            offset = self.offsets.get(".".join(steps))
            if offset is not None:
                line = bisect.bisect_right(self.line_starts, offset)
                return line, offset - self.line_starts[line - 1] + 1
            steps.pop()
        return 1, 1


def line_of(text: str, field_path: str) -> int:
    r"""Give the line (from 1) of a field such as ``feature_configs[3].combo_feature`` in a config text.

    A field that the text does not hold has the line of its nearest parent that is there; 1 when there is none.

    >>> line_of("model_dir: 'm'\ndata_config {\n  batch_size: 8\n}\n", "data_config.batch_size")
    3
    """
    return positions(text).place(field_path)[0]


@functools.lru_cache(maxsize=4)
def positions(text: str) -> Positions:
    """Index the fields of a text; JSON is told from textproto by its first character. Never fails on a damaged text."""
    starts = (0, *(match.end() for match in re.finditer("\n", text)))
    scan = _scan_json if text.lstrip()[:1] in {"{", "["} else _scan_textproto
    return Positions(text, scan(text), starts)


def _tokens(text: str) -> Iterator[tuple[str, str, int]]:
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup or "mark"
        if kind != "skip":
            yield kind, match.group(), match.start()


def _occurrence(scope: _Scope, name: str) -> str:
    """Count one more value of a field and give its canonical path."""
    index = scope.counts.get(name, 0)
    scope.counts[name] = index + 1
    return f"{scope.path}{name}[{index}]"


def _scan_textproto(text: str) -> dict[str, int]:
    offsets: dict[str, int] = {}
    stack = [_Scope("", is_list=False)]
    for kind, part, at in _tokens(text):
        scope = stack[-1]
        if kind == "mark" and part in "}>]":
            if len(stack) > 1:
                stack.pop()
        elif kind == "mark" and part in _OPEN:
            _open_textproto(stack, part, at, offsets)
        elif part == ":":
            scope.has_colon = True
        elif part in {",", ";"}:
            continue
        elif scope.is_list:
            offsets.setdefault(_occurrence(stack[-2], scope.name), at)
        elif scope.name and scope.has_colon:
            offsets.setdefault(_occurrence(scope, scope.name), scope.name_at)
            scope.name, scope.has_colon = "", False
        elif kind == "word":
            scope.name, scope.name_at, scope.has_colon = part, at, False
    return offsets


def _open_textproto(stack: list[_Scope], part: str, at: int, offsets: dict[str, int]) -> None:
    """Enter a message or a list; a list keeps its field's name and counts elements in the scope around it."""
    scope = stack[-1]
    if part == "[":
        stack.append(_Scope(scope.path, is_list=True, name=scope.name))
        scope.name, scope.has_colon = "", False
        return
    owner = stack[-2] if scope.is_list else scope
    path = _occurrence(owner, scope.name)
    offsets.setdefault(path, at if scope.is_list else scope.name_at)
    if not scope.is_list:
        scope.name, scope.has_colon = "", False
    stack.append(_Scope(f"{path}.", is_list=False))


def _snake(name: str) -> str:
    """Turn a JSON name into the proto name.

    >>> _snake("featureConfigs")
    'feature_configs'
    """
    return re.sub(r"[A-Z]", lambda match: "_" + match.group().lower(), name)


def _scan_json(text: str) -> dict[str, int]:
    offsets: dict[str, int] = {}
    stack = [_Scope("", is_list=False)]
    for kind, part, at in _tokens(text):
        scope = stack[-1]
        if kind == "mark" and part in "{[":
            _open_json(stack, part, at, offsets)
        elif kind == "mark" and part in "}]":
            if len(stack) > 1:
                stack.pop()
        elif part == ",":
            scope.after_comma = True
        elif part == ":":
            continue
        elif scope.is_list:
            _element_json(scope, at, offsets)
        elif kind == "string" and scope.after_comma:
            scope.name, scope.after_comma = _snake(part[1:-1]), False
            offsets.setdefault(f"{scope.path}{scope.name}[0]", at)
    return offsets


def _element_json(scope: _Scope, at: int, offsets: dict[str, int]) -> str:
    path = f"{scope.path}{scope.name}[{scope.elements}]"
    scope.elements += 1
    if not path.endswith("[0]"):
        offsets.setdefault(path, at)
    return path


def _open_json(stack: list[_Scope], part: str, at: int, offsets: dict[str, int]) -> None:
    scope = stack[-1]
    if part == "[":
        stack.append(_Scope(scope.path, is_list=True, name=scope.name))
        return
    if scope.is_list:
        stack.append(_Scope(f"{_element_json(scope, at, offsets)}.", is_list=False))
    elif scope.name:
        stack.append(_Scope(f"{scope.path}{scope.name}[0].", is_list=False))
    else:
        stack.append(_Scope("", is_list=False))
