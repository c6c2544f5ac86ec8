"""Where a key of a TOML text stands. tomllib keeps no positions, so an error pays for a second pass; nothing else does."""

from __future__ import annotations

import re
from collections.abc import Mapping

Keys = tuple[str, ...]

TOKEN = re.compile(
    r'(?P<text>"""(?:\\.|[^\\])*?"{3,5}|\'\'\'.*?\'{3,5}|"(?:\\.|[^"\\\n])*"|\'[^\'\n]*\')'
    r"|(?P<comment>\#[^\n]*)"
    r"|(?P<newline>\n)"
    r"|(?P<mark>[\[\]{}=,.])"
    r"|(?P<space>[ \t\r]+)"
    r"|(?P<word>[^\s\[\]{}=,.\#\"']+|.)",
    re.DOTALL,
)


class Scanner:
    """Walks a text that tomllib has accepted and notes the line of every table header and every key.

    Only the shape is followed: what a value says never matters, except for the keys of the inline tables in it.
    """

    def __init__(self, text: str) -> None:
        self.tokens: list[tuple[str, str, int]] = []  # kind, text, line
        line = 1
        for found in TOKEN.finditer(text):
            kind = found.lastgroup or "word"
            if kind not in ("space", "comment"):
                self.tokens.append((kind, found[0], line))
            line += found[0].count("\n")
        self.tokens.append(("newline", "\n", line))
        self.at = 0
        self.lines: dict[Keys, int] = {}

    def scan(self) -> Mapping[Keys, int]:
        """Return dotted keys as tuples -> line, counted from 1; the first mention of a key wins."""
        table: Keys = ()
        while self.at < len(self.tokens):
            kind, text, line = self.tokens[self.at]
            if kind == "newline":
                self.at += 1
            elif text == "[" and kind == "mark":
                self.at += 2 if self._is_mark(self.at + 1, "[") else 1
                table = self._key("]")
                self._note(table, line)
                self._skip_line()
            else:
                self._pair(table)
        return self.lines

    def _is_mark(self, at: int, mark: str) -> bool:
        return at < len(self.tokens) and self.tokens[at][:2] == ("mark", mark)

    def _note(self, keys: Keys, line: int) -> None:
        for length in range(1, len(keys) + 1):
            self.lines.setdefault(keys[:length], line)

    def _skip_line(self) -> None:
        while self.tokens[self.at][0] != "newline":
            self.at += 1

    def _key(self, end: str) -> Keys:
        """Read a dotted key up to the mark `end`. A bare key such as 3.14 arrives as two words."""
        parts = []
        while self.at < len(self.tokens) - 1 and not self._is_mark(self.at, end):
            kind, text, _ = self.tokens[self.at]
            if kind == "text":
                parts.append(_unquote(text))
            elif kind == "word":
                parts.append(text)
            self.at += 1
        self.at += 1
        return tuple(parts)

    def _pair(self, table: Keys) -> None:
        """Read `key = value`, at a line's beginning or in an inline table."""
        line = self.tokens[min(self.at, len(self.tokens) - 1)][2]
        keys = table + self._key("=")
        self._note(keys, line)
        self._value(keys)

    def _value(self, keys: Keys) -> None:
        """Skip one value: up to the newline, comma or bracket that ends it, outside of any bracket of its own."""
        open_lists = 0
        while self.at < len(self.tokens):
            kind, text, _ = self.tokens[self.at]
            if kind == "newline" and not open_lists:
                return
            if kind == "mark" and text in "]}," and not open_lists:
                return
            if kind == "mark" and text == "{":
                self._inline_table(keys)
                continue
            if kind == "mark" and text in "[]":
                open_lists += 1 if text == "[" else -1
            self.at += 1

    def _inline_table(self, keys: Keys) -> None:
        self.at += 1
        while self.at < len(self.tokens) and not self._is_mark(self.at, "}"):
            if self.tokens[self.at][0] == "newline" or self._is_mark(self.at, ","):
                self.at += 1
            else:
                self._pair(keys)
        self.at += 1


def _unquote(text: str) -> str:
    """Give the key that a quoted key names; a wrong escape cannot occur in a text that tomllib accepted."""
    if text[0] == "'":
        return text[1:-1]
    import tomllib

    return str(tomllib.loads(f"key = {text}")["key"])


def key_lines(text: str) -> Mapping[Keys, int]:
    r"""Find the line of every key and table header of a TOML text that tomllib accepts.

    >>> key_lines('[select]\ntopk = 3\n"a.b" = { c = 1 }')[("select", "a.b", "c")]
    3
    """
    return Scanner(text).scan()


def line_of(lines: Mapping[Keys, int], keys: Keys) -> int:
    """Find the line of a key; one that is not written gets the line of its table, at last line 1.

    >>> line_of({("train",): 4}, ("train", "seed"))
    4
    """
    for length in range(len(keys), 0, -1):
        if keys[:length] in lines:
            return lines[keys[:length]]
    return 1
