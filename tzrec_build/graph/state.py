"""What the build remembers between runs: one SQLite file, committed at every change, and doit's backend on top of it.

Tables (``workspace/.state/state.db``):

* ``files``: path, device, inode, size, mtime_ns, ctime_ns -> xxh3-128 (16 bytes), SHA-256 (hex text or null until first needed)
* ``code``: xxh3-128 of a source file -> AST digest, imported module names
* ``facts``: key -> what the graph needs to know of a config (JSON)
* ``records``: task -> the state of its last good run (JSON, see `fresh.py`)
* ``ignored``: tasks that ``doit ignore`` named
"""

from __future__ import annotations

import json
import os
import sqlite3
import sys
import threading
from typing import Any

from tzrec_build.errors import BuildError

SCHEMA_VERSION = 1
_DAMAGED = ("not a database", "malformed")
_TABLES = """
create table if not exists files(path text primary key, dev int, ino int, size int, mtime int, ctime int, xxh blob, sha text);
create table if not exists code(xxh blob primary key, ast text, imports text);
create table if not exists facts(key text primary key, body text);
create table if not exists records(task text primary key, body text);
create table if not exists ignored(task text primary key);
"""

FileRow = tuple[int, int, int, int, int, bytes, str | None]


class State:
    """The state file, read whole at the start; every write is committed at once (WAL, so a kill -9 loses nothing committed).

    Threads each get a connection of their own. A damaged file is put aside with a warning and started anew: that costs a
    rehash, and a restore where the cache is on, never a wrong "up to date".
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.path = os.path.join(folder, "state.db")
        self._local = threading.local()
        self._write_lock = threading.Lock()
        os.makedirs(folder, exist_ok=True)
        try:
            self._load()
        except sqlite3.DatabaseError as err:
            if not any(mark in str(err) for mark in _DAMAGED):
                raise BuildError(f"{self.path}: cannot be opened ({err}); check disk space and permissions") from err
            self._put_aside(err)
            self._load()

    def _connection(self) -> sqlite3.Connection:
        con: sqlite3.Connection | None = getattr(self._local, "con", None)
        if con is None:
            con = sqlite3.connect(self.path, timeout=30, isolation_level=None)
            con.execute("pragma journal_mode=wal")
            con.execute("pragma synchronous=normal")
            self._local.con = con
        return con

    def _load(self) -> None:
        con = self._connection()
        (version,) = con.execute("pragma user_version").fetchone()
        if version not in (0, SCHEMA_VERSION):
            raise BuildError(
                f"{self.path}: written by another version of tzrec-build (format {version}, this one reads {SCHEMA_VERSION}); "
                "use that version, or remove the file: artifacts in the cache are then restored"
            )
        if version == 0:
            con.executescript(_TABLES)
            con.execute(f"pragma user_version={SCHEMA_VERSION}")
        self.files: dict[str, FileRow] = {row[0]: row[1:] for row in con.execute("select * from files")}
        self.code: dict[bytes, tuple[str, str]] = {row[0]: row[1:] for row in con.execute("select * from code")}
        self.records: dict[str, str] = dict(con.execute("select * from records"))
        self.ignored: set[str] = {row[0] for row in con.execute("select task from ignored")}

    def _put_aside(self, err: sqlite3.DatabaseError) -> None:
        self._local = threading.local()  # the connection that failed is closed with it
        aside = self.path + ".damaged"
        print(
            f"{self.path}: damaged ({err}); moved to {aside} and started anew, inputs are hashed again", file=sys.stderr
        )
        os.replace(self.path, aside)
        for tail in ("-wal", "-shm"):
            if os.path.exists(self.path + tail):
                os.unlink(self.path + tail)

    def _write(self, statement: str, row: tuple[object, ...]) -> None:
        with self._write_lock:
            self._connection().execute(statement, row)

    def set_file(self, path: str, row: FileRow) -> None:
        """Remember the digests of a file as it was when its stat values were these."""
        self.files[path] = row
        self._write("insert or replace into files values(?,?,?,?,?,?,?,?)", (path, *row))

    def move_file(self, old: str, new: str) -> None:
        """Keep what is known of a file under its new path."""
        row = self.files.pop(old, None)
        self._write("delete from files where path=?", (old,))
        if row is not None:
            self.set_file(new, row)

    def set_code(self, xxh: bytes, ast_digest: str, imports: str) -> None:
        """Remember what one source text parses to."""
        self.code[xxh] = (ast_digest, imports)
        self._write("insert or replace into code values(?,?,?)", (xxh, ast_digest, imports))

    def facts(self, key: str) -> dict[str, Any] | None:
        """Facts of a config under `key`, or None when they are not known yet."""
        row = self._connection().execute("select body from facts where key=?", (key,)).fetchone()
        return json.loads(row[0]) if row else None

    def set_facts(self, key: str, facts: dict[str, Any]) -> None:
        """Remember the facts of a config."""
        self._write("insert or replace into facts values(?,?)", (key, json.dumps(facts)))

    def set_record(self, task: str, record: dict[str, Any]) -> None:
        """Commit the record of a task that has just been published."""
        body = json.dumps(record, separators=(",", ":"))
        self.records[task] = body
        self._write("insert or replace into records values(?,?)", (task, body))

    def forget(self, task: str) -> None:
        """Drop the record of a task; its artifact stays on disk."""
        self.records.pop(task, None)
        self._write("delete from records where task=?", (task,))

    def set_ignored(self, task: str, *, ignored: bool) -> None:
        """Mark a task as ignored, or not any longer."""
        if ignored:
            self.ignored.add(task)
            self._write("insert or replace into ignored values(?)", (task,))
        elif task in self.ignored:
            self.ignored.discard(task)
            self._write("delete from ignored where task=?", (task,))


_opened: dict[str, State] = {}
_folder = ""
_running = False


def use_folder(folder: str) -> None:
    """Say where the state lives; called once by dodo.py before doit makes the backend."""
    global _folder  # noqa: PLW0603 - doit builds the backend itself and passes it nothing of ours
    _folder = folder


def open_state() -> State:
    """The state of this process, opened at first use."""
    if _folder not in _opened:
        _opened[_folder] = State(_folder)
    return _opened[_folder]


def set_running() -> None:
    """Note that a build runs: from now on doit's `remove` means "this task failed", which must not forget good state."""
    global _running  # noqa: PLW0603
    _running = True


class Backend:
    """doit's state backend, reduced to constants: our own record table is the only truth, and `Fresh` its only judge.

    What is left to doit is `ignore`; `remove` outside of a run is ``doit forget`` or ``doit clean --forget``.
    """

    desc = "tzrec-build state, committed per task"

    def __init__(self, name: str, codec: object, module_name: str | None = None) -> None:  # noqa: ARG002 - doit's signature
        self.name = name

    def get(self, task: str, key: str) -> object:
        """Constants that make doit's own checks pass; the ignore mark is real."""
        if key == "ignore:":
            return "1" if task in open_state().ignored else None
        return None if key.endswith(":") else 0

    def set(self, task: str, key: str, value: object) -> None:
        """Keep the ignore mark only."""
        if key == "ignore:":
            open_state().set_ignored(task, ignored=bool(value))

    def in_(self, task: str) -> bool:
        """Whether a good run of the task is on record."""
        return task in open_state().records

    def remove(self, task: str) -> None:
        """Forget a task when a person asked for it; a failed task keeps its last good record."""
        if not _running:
            open_state().forget(task)
            open_state().set_ignored(task, ignored=False)

    def remove_all(self) -> None:
        """Forget everything."""
        for task in [*open_state().records, *open_state().ignored]:
            self.remove(task)

    def dump(self) -> None:
        """Nothing is left to write at the end: each record was committed when its task finished."""
