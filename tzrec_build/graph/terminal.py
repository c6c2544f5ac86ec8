"""A few lines at the bottom of a terminal that are drawn anew in place; text above them scrolls on as usual."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TextIO

_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]")
COLOURS: Mapping[str, str] = {"good": "32", "info": "36", "bad": "31", "dim": "2"}


def plain(text: str) -> str:
    r"""Text without escape sequences and control characters, which would move the cursor.

    >>> plain("\x1b[1mloss\x1b[0m\t0.5\x07")
    'loss 0.5'
    """
    return _CONTROLS.sub("", _ESCAPES.sub("", text).replace("\t", " "))


def columns_of(text: str) -> int:
    """How many columns a terminal gives the text: two to each wide character, none to a combining one.

    >>> columns_of("day"), columns_of("日本"), columns_of("e" + chr(0x301))
    (3, 4, 1)
    """
    return len(text) if text.isascii() else sum(map(_columns, text))


def _columns(char: str) -> int:
    import unicodedata

    if unicodedata.combining(char) or unicodedata.category(char) in {"Mn", "Me", "Cf"}:
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def cut(text: str, columns: int) -> str:
    """The text, or as much of it as fits with ".." behind.

    >>> cut("train:movielens", 9), cut("日本語", 5), cut("abc", 3)
    ('train:m..', '日..', 'abc')
    """
    if columns_of(text) <= columns:
        return text
    room = max(columns - 2, 0)
    kept = ""
    for char in text:
        room -= 1 if char.isascii() else _columns(char)
        if room < 0:
            break
        kept += char
    return (kept + "..")[: max(columns, 0)] if columns < 2 else kept + ".."


def can_redraw(stream: TextIO, env: Mapping[str, str]) -> bool:
    """Whether the stream is a terminal that knows how to move its cursor."""
    return stream.isatty() and env.get("TERM", "") not in {"", "dumb"}


def has_colours(stream: TextIO, env: Mapping[str, str]) -> bool:
    """Whether to colour: a terminal, and nobody asked not to (NO_COLOR)."""
    return can_redraw(stream, env) and not env.get("NO_COLOR")


def size_of(stream: TextIO) -> tuple[int, int]:
    """Columns and rows; 80 x 24 for a terminal that does not say."""
    try:
        size = os.get_terminal_size(stream.fileno())
    except (OSError, ValueError):
        return 80, 24
    return size.columns or 80, size.lines or 24


def writable(text: str, stream: TextIO) -> str:
    """The text with what the stream's encoding lacks spelled out."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


class Region:
    """The lines at the bottom.

    Args:
        stream: the terminal.
        size: gives its columns and rows at this moment: it may be resized at any time.
        colours: whether `paint` colours.
    """

    def __init__(self, stream: TextIO, size: Callable[[], tuple[int, int]], *, colours: bool) -> None:
        self._stream, self._size, self._colours = stream, size, colours
        self._drawn: list[str] = []

    def paint(self, text: str, colour: str) -> str:
        """The text in one of `COLOURS`, or as it is."""
        return f"\x1b[{COLOURS[colour]}m{text}\x1b[0m" if self._colours and colour else text

    def draw(self, above: Sequence[str], lines: Sequence[str]) -> None:
        """Print whole lines `above`, and `lines` in the place of what was drawn before."""
        columns, rows = self._size()
        fit = [cut(line, max(columns - 1, 1)) for line in lines][: max(rows - 1, 1)]
        if not above and fit == self._drawn:
            return
        text = self._erase(columns) + "".join(f"{line}\n" for line in above)
        self._drawn = fit
        text += "\n".join(self.paint(line, "dim" if i == len(fit) - 1 else "") for i, line in enumerate(fit))
        self._stream.write(writable(text, self._stream))
        self._stream.flush()

    def _erase(self, columns: int) -> str:
        """Go back to the first drawn line; a terminal made narrower since has broken long lines into several."""
        if not self._drawn:
            return ""
        rows = sum(max(1, -(-columns_of(line) // columns)) for line in self._drawn)
        return "\r" + (f"\x1b[{rows - 1}A" if rows > 1 else "") + "\x1b[J"
