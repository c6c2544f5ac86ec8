"""What every run of every task came to and how long it took: the recorded time of ``doit why``, of the time left, of the pictures.

Table ``runs`` of the state file, one row per run, the last `KEPT` of a task: task, how ("built", "restored", "failed",
"stopped"), start (seconds since 1970), elapsed_s, message (of a failure, "" otherwise). `forget` does not touch it.
"""

from __future__ import annotations

import sqlite3
from typing import NamedTuple, Protocol

KEPT = 20
_TABLE = "create table if not exists runs(task text, how text, start real, elapsed_s real, message text)"
_INDEX = "create index if not exists runs_of_task on runs(task)"
_DROP_OLD = """
delete from runs where task=?1
and rowid not in (select rowid from runs where task=?1 order by rowid desc limit ?2)
and rowid not in (select ifnull(max(rowid), -1) from runs where task=?1 and how='built')
"""


class Connected(Protocol):
    """Where the table lies: `tzrec_build.graph.state.State`."""

    def connection(self) -> sqlite3.Connection:
        """The connection of this thread; every statement is committed at once."""


class Run(NamedTuple):
    """One run of a task."""

    task: str
    how: str
    start: float
    elapsed_s: float
    message: str = ""


def note(state: Connected, run: Run) -> None:
    """Remember a run, and drop those of its task that are older than the last `KEPT`; its last build stays."""
    con = _tables(state)
    con.execute("insert into runs values(?,?,?,?,?)", run)
    con.execute(_DROP_OLD, (run.task, KEPT))


def last(state: Connected, task: str) -> Run | None:
    """The last run of a task, or None."""
    row = _tables(state).execute("select * from runs where task=? order by rowid desc limit 1", (task,)).fetchone()
    return Run(*row) if row else None


def last_all(state: Connected) -> dict[str, Run]:
    """The last run of every task."""
    rows = _tables(state).execute("select * from runs where rowid in (select max(rowid) from runs group by task)")
    return {row[0]: Run(*row) for row in rows}


def cost_s(state: Connected, task: str) -> float | None:
    """Seconds that the task took when it was last built here, or None when it never was."""
    row = (
        _tables(state)
        .execute("select elapsed_s from runs where task=? and how='built' order by rowid desc limit 1", (task,))
        .fetchone()
    )
    return row[0] if row else None


def costs_s(state: Connected) -> dict[str, float]:
    """`cost_s` of every task that has one."""
    rows = _tables(state).execute(
        "select task, elapsed_s from runs where rowid in (select max(rowid) from runs where how='built' group by task)"
    )
    return dict(rows.fetchall())


def _tables(state: Connected) -> sqlite3.Connection:
    con = state.connection()
    con.execute(_TABLE)
    con.execute(_INDEX)
    return con
