"""What a build was about to publish when it was killed: finished outputs are never made twice, an old artifact is never lost.

Table ``intents`` of the state file: one row for each task whose outputs are finished and not published yet. It is written before
the cache gets the outputs and removed after the record is; paths are relative to the state folder, so that a checkout may move.
"""

from __future__ import annotations

import json
import os
import sqlite3
from dataclasses import dataclass
from typing import Any

from tzrec_build.faults import fault_point
from tzrec_build.graph import locks
from tzrec_build.graph.digests import Digests
from tzrec_build.graph.publish import aside
from tzrec_build.graph.spec import RECORDS
from tzrec_build.graph.state import State

_TABLE = "create table if not exists intents(task text primary key, key text, out text, target text, record text)"
_ROWS = "select task, key, out, target, record from intents where ?='' or task=?"


@dataclass(frozen=True, slots=True)
class Intent:
    """One publication.

    Attributes:
        task: the task.
        key: its action key.
        out: folder with the finished outputs, absolute.
        target: folder of the artifact, absolute.
        record: what will be recorded; holds the outputs.
    """

    task: str
    key: str
    out: str
    target: str
    record: dict[str, Any]

    def outputs_in(self, folder: str, digests: Digests) -> bool:
        """Whether a folder holds exactly the outputs."""
        return os.path.isdir(folder) and digests.tree(folder, skip=RECORDS) == self.record["outputs"]


def write(state: State, intent: Intent) -> None:
    """Note what is about to be published."""
    out, target = (os.path.relpath(path, state.folder) for path in (intent.out, intent.target))
    row = (intent.task, intent.key, out, target, json.dumps(intent.record, separators=(",", ":")))
    try:
        state.connection().execute("insert or replace into intents values(?,?,?,?,?)", row)
    except sqlite3.OperationalError:
        state.connection().execute(_TABLE)
        state.connection().execute("insert or replace into intents values(?,?,?,?,?)", row)


def drop(state: State, task: str) -> None:
    """It is published, or never will be."""
    state.connection().execute("delete from intents where task=?", (task,))


def pending(state: State, task: str = "") -> list[Intent]:
    """What builds that were killed left behind, of one task or of all."""
    try:
        rows = state.connection().execute(_ROWS, (task, task)).fetchall()
    except sqlite3.OperationalError as err:
        if "no such table" in str(err):
            return []
        raise
    base = state.folder
    return [
        Intent(name, key, os.path.normpath(f"{base}/{out}"), os.path.normpath(f"{base}/{target}"), json.loads(record))
        for name, key, out, target, record in rows
    ]


def settle(state: State, digests: Digests, intent: Intent) -> bool:
    """Bring a publication that was cut off to an end, as far as that needs no cache and no new look at the inputs.

    Returns:
        Whether the finished outputs are the artifact now, and on record. Else the row stays only where the work folder still
        holds them whole; the artifact is the old one, or none.
    """
    old = aside(intent.out)
    if not os.path.lexists(intent.target) and os.path.isdir(old):  # killed between two renames
        whole = intent.outputs_in(intent.out, digests)
        os.rename(intent.out if whole else old, intent.target)
    if intent.outputs_in(intent.target, digests):
        state.set_record(intent.task, intent.record)
        drop(state, intent.task)
        return True
    if not intent.outputs_in(intent.out, digests):
        drop(state, intent.task)
    return False


def settle_all(state: State, digests: Digests) -> None:
    """Settle what killed builds left, at the start of a build; a task that another build makes now is left to it."""
    for intent in pending(state):
        lock = locks.take(state.folder, intent.task)
        if lock is not None:
            try:
                for current in pending(state, intent.task):  # its owner may have ended meanwhile
                    settle(state, digests, current)
            finally:
                lock.release()


def record(state: State, task: str, value: dict[str, Any]) -> None:
    """Commit the record of an artifact that is in place now."""
    fault_point("record.before")
    state.set_record(task, value)
    fault_point("record.after")
    drop(state, task)
