"""What inputs were like at the last build: size of every file, text of the small ones, so that a change can be told in words.

Table ``contents`` of the state file: content (as in a record, xxh3-128 in hex) -> size in bytes, compressed text or null.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol

from tzrec_build.graph.digests import is_glob
from tzrec_build.graph.spec import TaskSpec

KEPT_SUFFIXES = (".config", ".json", ".toml", ".csv", ".txt", ".yaml", ".py", ".sh")
KEPT_BYTES = 256 * 1024
SPARE_ROWS = 10_000  # so many contents that no record names may stay
_LAST = ""  # no content: the row that holds how many were kept when the table was last pruned
_TABLE = "create table if not exists contents(content text primary key, size int, body blob)"


class Connected(Protocol):
    """Where the table lies: `tzrec_build.graph.state.State`."""

    def connection(self) -> sqlite3.Connection:
        """The connection of this thread; every statement is committed at once."""


def note(state: Connected, files: Mapping[str, str]) -> None:
    """Keep size and text of files.

    Args:
        state: the state of the workspace.
        files: content, as `Digests.content` gives it -> path of a file that had it a moment ago.
    """
    con = _table(state)
    wanted = {_bare(content): path for content, path in files.items()}
    known = {row[0] for row in _select(con, "content", list(wanted))}
    rows = [
        (content, *found)
        for content, path in wanted.items()
        if content not in known and (found := _read(content, path))
    ]
    if rows:
        with con:
            con.execute("begin")
            con.executemany("insert or ignore into contents values(?,?,?)", rows)


def note_inputs(state: Connected, spec: TaskSpec, inputs: Mapping[str, list[dict[str, str]]]) -> None:
    """Keep size and text of everything that a task has read.

    Args:
        state: the state of the workspace.
        spec: the task.
        inputs: its inputs as in a snapshot, input name -> for each path {file name: content}.
    """
    files = {}
    for entry in spec.inputs:
        for path, contents in zip(entry.paths, inputs[entry.name], strict=True):
            base = os.path.join(spec.folder, base_of(spec.folder, path))
            files.update({content: os.path.normpath(f"{base}/{name}") for name, content in contents.items()})
    if files:
        note(state, files)


def base_of(folder: str, path: str) -> str:
    """What the names of a path's files are relative to: the folder itself, that of a file, or the part of a glob without marks."""
    if is_glob(path):
        parts = path.split("/")
        literal = next(i for i, part in enumerate(parts) if is_glob(part))
        return "/".join(parts[:literal]) or ("/" if path.startswith("/") else ".")
    return path if os.path.isdir(os.path.join(folder, path)) else os.path.dirname(path) or "."


def sizes(state: Connected, contents: Iterable[str]) -> dict[str, int]:
    """Size in bytes of each content that is known."""
    bare = {_bare(content): content for content in contents}
    return {bare[row[0]]: row[1] for row in _select(_table(state), "content, size", list(bare))}


def text(state: Connected, content: str) -> str | None:
    """The text of a content, or None when it was not kept."""
    import zlib

    row = _table(state).execute("select body from contents where content=?", (_bare(content),)).fetchone()
    return None if row is None or row[0] is None else zlib.decompress(row[0]).decode()


def prune(state: Connected, live: Callable[[], Iterable[str]]) -> int:
    """Drop contents that no record names, once the table has more than doubled since the last time; says how many went.

    Args:
        state: the state of the workspace.
        live: gives the contents that records name; asked only when it is time.
    """
    con = _table(state)
    (rows,) = con.execute("select count(*) from contents").fetchone()
    kept_before = con.execute("select size from contents where content=?", (_LAST,)).fetchone()
    if rows <= SPARE_ROWS + 2 * (kept_before[0] if kept_before else 0):
        return 0
    kept = {_bare(content) for content in live()} | {_LAST}
    gone = [row for row in con.execute("select content from contents") if row[0] not in kept]
    with con:
        con.execute("begin")
        con.executemany("delete from contents where content=?", gone)
        con.execute("insert or replace into contents values(?,?,null)", (_LAST, rows - len(gone)))
    return len(gone)


def recorded(records: Iterable[Mapping[str, Any] | None]) -> Iterator[str]:
    """Every content of an input that records name."""
    for record in records:
        for paths in (record or {}).get("inputs", {}).values():
            for contents in paths:
                yield from contents.values()


def _bare(content: str) -> str:
    """The digest alone: whether a file is executable makes no difference to its text."""
    return content.removeprefix("x")


def _read(content: str, path: str) -> tuple[int, bytes | None] | None:
    """Size and text of a file; None when it is gone, or no longer has this content."""
    try:
        size = os.path.getsize(path)
        if size > KEPT_BYTES or not path.endswith(KEPT_SUFFIXES):
            return size, None
        with open(path, "rb") as file:
            data = file.read()
        data.decode()
    except UnicodeDecodeError:
        return size, None
    except OSError:
        return None  # only words of a later message depend on it
    import zlib

    import xxhash

    return (size, zlib.compress(data)) if xxhash.xxh3_128_hexdigest(data) == content else None


def _select(con: sqlite3.Connection, columns: str, contents: list[str]) -> list[tuple[str, int]]:
    """Rows of these contents, in portions that SQLite takes as parameters."""
    found: list[tuple[str, int]] = []
    for start in range(0, len(contents), 500):
        some = contents[start : start + 500]
        marks = ",".join("?" * len(some))
        found += con.execute(f"select {columns} from contents where content in ({marks})", some).fetchall()  # noqa: S608 - marks only
    return found


def _table(state: Connected) -> sqlite3.Connection:
    con = state.connection()
    con.execute(_TABLE)
    return con
