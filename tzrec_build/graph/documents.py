"""One TOML file of the workspace, read once, and the list of everything that is wrong in such files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tzrec_build.errors import ConfigError, NotSupportedError
from tzrec_build.graph.positions import Keys, key_lines, line_of

MAX_DEPTH = 20  # of tables in tables; the grammar needs 4


class Document:
    """A TOML file: what it says, and where. `name` is the path as messages show it, relative to the root."""

    __slots__ = ("_lines", "_text", "data", "name")

    def __init__(self, name: str, text: str, data: dict[str, Any]) -> None:
        self.name = name
        self.data = data
        self._text = text
        self._lines: Mapping[Keys, int] | None = None

    def at(self, keys: Keys) -> str:
        """Say ``FILE:LINE`` of a key, or of its table when the key is not written."""
        if self._lines is None:
            self._lines = key_lines(self._text)
        return f"{self.name}:{line_of(self._lines, keys)}"

    def has(self, keys: Keys) -> bool:
        """Tell whether a key is written in this file."""
        value: object = self.data
        for key in keys:
            if not isinstance(value, dict) or key not in value:
                return False
            value = value[key]
        return True


class Problems:
    """Collects what is wrong, so that one run shows all of it; the same text is kept once."""

    def __init__(self) -> None:
        self.reported = 0  # how often `add` was called, repetitions included
        self._wrong: dict[str, None] = {}
        self._not_built: dict[tuple[str, str], None] = {}

    def add(self, where: str, text: str) -> None:
        """Note that something is wrong; `where` is ``FILE:LINE``."""
        self.reported += 1
        self._wrong.setdefault(f"{where}: {text}")

    def add_not_built(self, where: str, what: str) -> None:
        """Note that something right is not built yet."""
        self._not_built.setdefault((what, where))

    def raise_wrong(self) -> None:
        """Raise one ConfigError with a line for each thing that is wrong, if any is."""
        if self._wrong:
            raise ConfigError("\n".join(self._wrong))

    def raise_not_built(self) -> None:
        """Raise one NotSupportedError with a line for each part that is not built, if any is."""
        if not self._not_built:
            return
        (what, where), *others = self._not_built
        raise NotSupportedError(what, "\n".join([where, *(f"not supported yet: {a} in {b}" for a, b in others)]))


def locate(root: str, source: str, keys: Keys) -> str:
    """Say ``FILE:LINE`` of a key once everything is loaded: reads the files again, which only an error is worth.

    Args:
        root: the project's folder.
        source: the pipeline's file, relative to it.
        keys: a key of it, or of [defaults] in workspace.toml; () = the file's first line.
    """
    own = read_document(f"{root}/{source}", source, Problems())
    if own and keys and not own.has(keys):
        name = f"{source.partition('/')[0]}/workspace.toml"
        shared = read_document(f"{root}/{name}", name, Problems())
        if shared and shared.has(("defaults", *keys)):
            return shared.at(("defaults", *keys))
    return own.at(keys) if own else f"{source}:1"


def show(value: object) -> str:
    """Write a TOML value for a message: short, on one line, safe for any depth.

    >>> show("a"), show([1]), show(True)
    ("'a'", 'a list', 'true')
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return "an empty list" if not value else "a list"
    if isinstance(value, int) and abs(value) >= 2**63:
        return "an integer of more than 64 bits"
    if isinstance(value, int | float):
        return str(value)
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 80 else text[:76] + "..." + text[-1]


def read_document(path: str, name: str, problems: Problems) -> Document | None:
    """Read and parse one TOML file; what hinders that goes to `problems`, with line and column where there is one."""
    import tomllib

    try:
        with open(path, "rb") as source:
            text = source.read().decode().replace("\r\n", "\n")
        data = tomllib.loads(text)
        if _depth(data) <= MAX_DEPTH:
            return Document(name, text, data)
        problems.add(f"{name}:1", f"tables must not be nested deeper than {MAX_DEPTH} levels; write fewer levels")
    except OSError as error:
        problems.add(name, f"cannot be read: {error.strerror}; check that it is a file you may read")
    except UnicodeDecodeError as error:
        problems.add(name, f"must be UTF-8 text, got byte {error.object[error.start]:#04x} at offset {error.start}")
    except (ValueError, RecursionError) as error:
        where, said = _syntax_error(name, text, error)
        problems.add(where, f"not valid TOML: {said}")
    return None


def _syntax_error(name: str, text: str, error: Exception) -> tuple[str, str]:
    """Split a message of tomllib into the place (``FILE:LINE:COL`` where known) and the rest."""
    if isinstance(error, RecursionError):
        return f"{name}:1", "nested too deep"
    said = str(error)
    found = re.search(r" \(at line (\d+), column (\d+)\)$", said)
    if found:
        where = f"{name}:{found[1]}:{found[2]}"
        said = said[: found.start()]
    else:
        lines = text.split("\n")
        where = f"{name}:{len(lines)}:{len(lines[-1]) + 1}" if said.endswith("(at end of document)") else f"{name}:1"
        said = said.removesuffix(" (at end of document)")
    return where, said[:1].lower() + said[1:]


def _depth(data: object) -> int:
    """Count levels of tables and lists without recursion: dotted keys can nest deeper than Python's stack."""
    deepest, stack = 0, [(data, 1)]
    while stack:
        value, depth = stack.pop()
        deepest = max(deepest, depth)
        if isinstance(value, dict | list):
            stack.extend((item, depth + 1) for item in (value.values() if isinstance(value, dict) else value))
    return deepest
