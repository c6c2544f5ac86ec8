"""Several wrong places of one config, raised together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tzrec_build.config.positions import positions
from tzrec_build.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Problem:
    """One wrong place: the rule that was broken, the field's path, and `rule, got value; next step` in words."""

    rule: str
    field_path: str
    text: str


def located(problems: Iterable[Problem], path: str, text: str) -> list[str]:
    """Write each problem as ``FILE:LINE: text``, by line; problems of one line in the order given."""
    index = positions(text)
    lines = [(index.place(problem.field_path)[0], problem.text) for problem in problems]
    return [f"{path}:{line}: {words}" for line, words in sorted(lines, key=lambda pair: pair[0])]


def raise_problems(problems: Sequence[Problem], path: str, text: str) -> None:
    """Raise one ConfigError with a line for each problem; do nothing when there is none."""
    if problems:
        raise ConfigError("\n".join(located(problems, path, text)))


def excerpt(path: str, text: str, line: int, column: int) -> tuple[str, str]:
    r"""Give ``FILE:LINE:COL`` and the line of text with a caret under the column (a long line is cut around it).

    >>> excerpt("a.config", "x: 1\nyy: 2\n", 2, 4)
    ('a.config:2:4', '  yy: 2\n     ^')
    """
    lines = text.split("\n")
    shown = lines[line - 1] if 0 < line <= len(lines) else ""
    start = max(0, column - 1 - 60)
    cut = shown[start : start + 120].replace("\t", " ").rstrip("\r")
    return f"{path}:{line}:{column}", f"  {cut}\n  {' ' * (column - 1 - start)}^"
