"""What the build remembers between runs: one SQLite file, committed at every change, and doit's backend on top of it.

Tables (``workspace/.state/state.db``, format 2):

* ``files``: path -> device, inode, size, mtime_ns, ctime_ns, xxh3-128 (16 bytes), SHA-256 (see `SHA_CHARS`; null until first
  needed). A folder has a row under ``PATH//`` with its listing in the place of the digest
* ``code``: xxh3-128 of a source file -> AST digest, imported module names
* ``facts``: key -> what the graph needs to know of a config (JSON)
* ``records``: task -> stamp, a short form of its last good run that a no-op compares (see `fresh.py`; empty = not known)
* ``bodies``: task -> that run as JSON, read when something has changed
* ``ignored``: tasks that ``doit ignore`` named

Whoever needs a table more makes it at its first use: ``state.connection().execute("create table if not exists ...")``.
"""

from __future__ import annotations

import json
import os
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from tzrec_build.errors import BuildError
from tzrec_build.graph.stamp import stamp_of

SCHEMA_VERSION = 2
BUSY_S = 30.0  # how long a build waits for another one's write
SHA_CHARS = 64  # of SHA-256 in hex; 8 more follow in the table, a CRC-32: a wrong digest there would miss the cache
_NOT_DAMAGE = (
    "unable to open",
    "locked",
    "readonly",
    "disk",
    "full",
    "attempt to write",
)  # any other error of SQLite is
_TABLES = """
create table if not exists files(path text primary key, dev int, ino int, size int, mtime int, ctime int, xxh blob, sha text) without rowid;
create table if not exists code(xxh blob primary key, ast text, imports text) without rowid;
create table if not exists facts(key text primary key, body text);
create table if not exists records(task text primary key, stamp blob) without rowid;
create table if not exists bodies(task text primary key, body text);
create table if not exists ignored(task text primary key);
"""
_FROM_1 = """
alter table records rename to records_1;
drop table files;
drop table code;
"""  # digests are taken again: format 1 has no check of its SHA-256

FileRow = tuple[int, int, int, int, int, bytes, str | None]


class StateError(BuildError, sqlite3.OperationalError):
    """The state file cannot be read or written, by no fault of its content: the disk is full, broken or read-only."""


class _Connection(sqlite3.Connection):
    """A connection whose complaints name the file and what to do."""

    def __init__(self, path: str, **options: Any) -> None:
        super().__init__(path, **options)
        self._path = path

    def execute(self, *args: Any) -> sqlite3.Cursor:
        return self._told(super().execute, *args)

    def executemany(self, *args: Any) -> sqlite3.Cursor:
        return self._told(super().executemany, *args)

    def _told(self, method: Callable[..., sqlite3.Cursor], *args: Any) -> sqlite3.Cursor:
        try:
            return method(*args)
        except StateError:
            raise
        except sqlite3.OperationalError as err:
            raise StateError(f"{self._path}: cannot be used ({err}); check disk space and permissions") from err


class State:
    """The state file, its short tables read whole at the start; every write is committed at once (WAL, so a kill -9 loses
    nothing committed).

    Threads each get a connection of their own. A damaged file is put aside with a warning and started anew: that costs a
    rehash, and a restore where the cache is on, never a wrong "up to date".
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.path = os.path.join(folder, "state.db")
        self._local = threading.local()
        self._write_lock = threading.RLock()
        self.files: dict[str, FileRow] = {}
        self.code: dict[bytes, tuple[str, str]] = {}
        self.records: dict[str, bytes] = {}
        self.ignored: set[str] = set()
        self.at_end: list[Callable[[], None]] = []  # called when a build has ended
        os.makedirs(folder, exist_ok=True)
        try:
            self._load()
        except sqlite3.DatabaseError as err:
            self._start_anew(err)
            self._load()

    def connection(self) -> sqlite3.Connection:
        """This thread's connection; every statement is its own transaction unless it says ``begin``."""
        con: sqlite3.Connection | None = getattr(self._local, "con", None)
        if con is None:
            con = sqlite3.connect(self.path, timeout=BUSY_S, isolation_level=None, factory=_Connection)
            _switch_to_wal(con)
            con.execute("pragma synchronous=normal")
            self._local.con = con
        return con

    def close(self) -> None:
        """Close this thread's connection; the last one to be closed folds the WAL into the file."""
        con: sqlite3.Connection | None = self._local.__dict__.pop("con", None)
        if con is not None:
            con.close()

    def _load(self) -> None:
        con = self.connection()
        (version,) = con.execute("pragma user_version").fetchone()
        if version not in (0, 1, SCHEMA_VERSION):
            self._put_aside(f"written by another version of tzrec-build (format {version})", f".format{version}")
            con, version = self.connection(), 0
        if version != SCHEMA_VERSION:
            self._make_tables(con)
        self.files = {row[0]: row[1:] for row in con.execute("select * from files") if type(row[6]) is bytes}
        self.code = {row[0]: row[1:] for row in con.execute("select * from code") if type(row[0]) is bytes}
        self.records = dict(con.execute("select * from records"))
        self.ignored = {row[0] for row in con.execute("select task from ignored")}

    def _make_tables(self, con: sqlite3.Connection) -> None:
        """Make what a new file needs, once however many builds open it now; a file of format 1 keeps its records."""
        con.execute("begin immediate")
        (version,) = con.execute("pragma user_version").fetchone()
        steps = [_FROM_1] if version == 1 else []
        steps.append(_TABLES)
        if version == 1:
            print(
                f"{self.path}: format 1 is now format {SCHEMA_VERSION}; files are hashed again, once", file=sys.stderr
            )
            steps.append("insert or ignore into bodies select task, body from records_1;")
            steps.append("insert or ignore into records select task, x'' from records_1; drop table records_1;")
        for statement in f"{' '.join(steps)} pragma user_version={SCHEMA_VERSION}; commit".split(";"):
            con.execute(statement)

    def _start_anew(self, err: sqlite3.DatabaseError) -> None:
        if isinstance(err, StateError):
            raise err
        if "disk image" not in str(err) and any(mark in str(err) for mark in _NOT_DAMAGE):
            raise BuildError(f"{self.path}: cannot be opened ({err}); check disk space and permissions") from err
        self._put_aside(f"damaged ({err})", ".damaged")

    def _put_aside(self, why: str, suffix: str) -> None:
        self._local = threading.local()  # every connection to the old file is closed with it
        print(
            f"{self.path}: {why}; moved to {self.path}{suffix} and started anew, inputs are hashed again",
            file=sys.stderr,
        )
        os.replace(self.path, self.path + suffix)
        for tail in ("-wal", "-shm"):
            if os.path.exists(self.path + tail):
                os.unlink(self.path + tail)

    def _write(self, statement: str, row: tuple[object, ...]) -> None:
        self._write_all([(statement, [row])])

    def _write_all(self, statements: list[tuple[str, list[tuple[object, ...]]]]) -> None:
        """Commit some changes together; damage that shows only now is put aside, and what is in memory is written anew."""
        with self._write_lock:
            try:
                self._commit(statements)
            except sqlite3.DatabaseError as err:
                if isinstance(err, sqlite3.OperationalError):
                    raise
                self._start_anew(err)
                self._make_tables(self.connection())
                files: list[tuple[object, ...]] = [(path, *row) for path, row in self.files.items()]
                self._commit([("insert or replace into files values(?,?,?,?,?,?,?,?)", files), *statements])

    def _commit(self, statements: list[tuple[str, list[tuple[object, ...]]]]) -> None:
        con = self.connection()
        if len(statements) == 1 and len(statements[0][1]) == 1:
            con.execute(statements[0][0], statements[0][1][0])
            return
        con.execute("begin immediate")
        try:
            for statement, rows in statements:
                con.executemany(statement, rows)
        except sqlite3.Error:
            con.execute("rollback")
            raise
        con.execute("commit")

    def set_file(self, path: str, row: FileRow) -> None:
        """Remember the digests of a file as it was when its stat values were these."""
        self.files[path] = row
        if not path.isascii() and not _storable(path):
            return  # known to this process only: SQLite keeps no such text
        self._write("insert or replace into files values(?,?,?,?,?,?,?,?)", (path, *row))

    def move_file(self, old: str, new: str) -> None:
        """Keep what is known of a file under its new path."""
        row = self.files.pop(old, None)
        if not _storable(old):
            return
        self._write("delete from files where path=?", (old,))
        if row is not None:
            self.set_file(new, row)

    def drop_files(self, paths: Iterable[str]) -> None:
        """Forget files that are no more."""
        rows: list[tuple[object, ...]] = [(path,) for path in paths if _storable(path)]
        for (path,) in rows:
            self.files.pop(str(path), None)
        if rows:
            self._write_all([("delete from files where path=?", rows)])

    def set_code(self, xxh: bytes, ast_digest: str, imports: str) -> None:
        """Remember what one source text parses to."""
        self.code[xxh] = (ast_digest, imports)
        self._write("insert or replace into code values(?,?,?)", (xxh, ast_digest, imports))

    def facts(self, key: str) -> dict[str, Any] | None:
        """Facts of a config under `key`, or None when they are not known yet."""
        row = self.connection().execute("select body from facts where key=?", (key,)).fetchone()
        return json.loads(row[0]) if row else None

    def set_facts(self, key: str, facts: dict[str, Any]) -> None:
        """Remember the facts of a config."""
        self._write("insert or replace into facts values(?,?)", (key, json.dumps(facts)))

    def record(self, task: str) -> dict[str, Any] | None:
        """The record of a task's last good run; None when there is none, or it cannot be read."""
        try:
            row = self.connection().execute("select body from bodies where task=?", (task,)).fetchone()
            record = json.loads(row[0]) if row else None
        except (sqlite3.DatabaseError, ValueError, TypeError):
            return None
        return record if isinstance(record, dict) else None

    def reload(self, task: str) -> None:
        """Take over what another process recorded of a task; from a damaged file nothing, and the next write mends it."""
        try:
            row = self.connection().execute("select stamp from records where task=?", (task,)).fetchone()
        except sqlite3.DatabaseError:
            return
        if row is None:
            self.records.pop(task, None)
        else:
            self.records[task] = row[0]

    def was_cut_off(self) -> bool:
        """Whether a killed build left a publication that is not finished (table ``intents``)."""
        try:
            return self.connection().execute("select 1 from intents limit 1").fetchone() is not None
        except sqlite3.OperationalError:
            return False  # no such table: there never was a build

    def set_record(self, task: str, record: dict[str, Any]) -> None:
        """Commit the record of a task that has just been published."""
        body, stamp = json.dumps(record, separators=(",", ":")), stamp_of(record)
        self.records[task] = stamp
        self._write_all(
            [
                ("insert or replace into records values(?,?)", [(task, stamp)]),
                ("insert or replace into bodies values(?,?)", [(task, body)]),
            ]
        )

    def set_stamp(self, task: str, stamp: bytes) -> None:
        """Note the short form of a record that was found to hold."""
        self.records[task] = stamp
        self._write("update records set stamp=? where task=?", (stamp, task))

    def forget(self, task: str) -> None:
        """Drop the record of a task; its artifact stays on disk."""
        self.records.pop(task, None)
        self._write_all(
            [("delete from records where task=?", [(task,)]), ("delete from bodies where task=?", [(task,)])]
        )

    def set_ignored(self, task: str, *, ignored: bool) -> None:
        """Mark a task as ignored, or not any longer."""
        if ignored:
            self.ignored.add(task)
            self._write("insert or replace into ignored values(?)", (task,))
        elif task in self.ignored:
            self.ignored.discard(task)
            self._write("delete from ignored where task=?", (task,))


def _storable(path: str) -> bool:
    """Whether a path is UTF-8; a file name may be any bytes."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def _switch_to_wal(con: sqlite3.Connection) -> None:
    """Log ahead of writing; SQLite does not wait by itself while another build does the same to a new file."""
    deadline_s = time.monotonic() + BUSY_S
    while True:
        try:
            con.execute("pragma journal_mode=wal")
        except StateError as err:
            if "locked" not in str(err) or time.monotonic() > deadline_s:
                raise
            time.sleep(0.01)
        else:
            return


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
            from tzrec_build.graph import intents

            for intent in intents.pending(open_state(), task):  # what a killed build had all but recorded
                intents.drop(open_state(), intent.task)
            open_state().forget(task)
            open_state().set_ignored(task, ignored=False)

    def remove_all(self) -> None:
        """Forget everything."""
        for task in [*open_state().records, *open_state().ignored]:
            self.remove(task)

    def dump(self) -> None:
        """Each record was committed when its task finished; what is left is the house-keeping of a build that changed something."""
        for step in open_state().at_end if _running else ():
            step()
