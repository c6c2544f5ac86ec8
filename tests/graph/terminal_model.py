"""A terminal for tests: enough of one to read what a person would see."""

from __future__ import annotations

import re
import unicodedata

_TOKEN = re.compile(r"\x1b\[([0-9;]*)([A-Za-z])|([\r\n])|([^\x1b\r\n])")


class Vt:
    """Rows of cells; text that reaches the right edge goes on in the next row, as real terminals do."""

    def __init__(self, columns: int) -> None:
        self.columns = columns
        self.rows: list[list[str]] = [[]]
        self.y = self.x = 0
        self.colours: list[str] = []

    @property
    def lines(self) -> list[str]:
        """What is on the screen, scrolled-off lines included."""
        return ["".join(row).rstrip() for row in self.rows]

    def feed(self, text: str) -> None:
        """Take what a program prints."""
        end = 0
        for match in _TOKEN.finditer(text):
            assert match.start() == end, f"unknown sequence at {text[end : end + 10]!r}"
            end = match.end()
            number, command, move, char = match.groups()
            if command:
                self._command(number, command)
            elif move:
                self.x = 0
                if move == "\n":
                    self._down()
            else:
                self._put(char)
        assert end == len(text)

    def _command(self, number: str, command: str) -> None:
        if command == "A":
            self.y -= int(number)
            assert self.y >= 0
        elif command == "J":
            self.rows[self.y] = self.rows[self.y][: self.x]
            del self.rows[self.y + 1 :]
        else:
            assert command == "m", command
            self.colours.append(number)

    def _down(self) -> None:
        self.y += 1
        if self.y == len(self.rows):
            self.rows.append([])

    def _put(self, char: str) -> None:
        if unicodedata.combining(char):
            return
        width = 2 if unicodedata.east_asian_width(char) in "WF" else 1
        if self.x + width > self.columns:
            self.x = 0
            self._down()
        row = self.rows[self.y]
        row += [" "] * (self.x + width - len(row))
        row[self.x : self.x + width] = [char, *[""] * (width - 1)]
        self.x += width

    def resize(self, columns: int) -> None:
        """Make it narrower or wider: rows that no longer fit are broken, the cursor stays behind its text."""
        broken: list[list[str]] = []
        for row in self.rows:
            broken += [row[i : i + columns] for i in range(0, max(len(row), 1), columns)]
        self.columns, self.rows = columns, broken
        self.y, self.x = len(broken) - 1, len(broken[-1])
