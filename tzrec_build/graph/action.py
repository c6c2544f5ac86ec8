"""Makes one artifact: key first, then restore or run, then verify, cache, swap, record. A kill at any point costs at most a rerun."""

from __future__ import annotations

import os
import shlex
import sqlite3
import sys
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol

from tzrec_build.errors import BuildError, CorruptError
from tzrec_build.faults import fault_point
from tzrec_build.graph import attempt, intents, locks, publish, texts
from tzrec_build.graph.arguments import expand_command
from tzrec_build.graph.digests import find, is_glob, walk
from tzrec_build.graph.fresh import Judge
from tzrec_build.graph.frozen import TRIES, EditedError, FrozenCode
from tzrec_build.graph.slots import Slots
from tzrec_build.graph.spec import RECORDS, Input, TaskSpec


class Cache(Protocol):
    """What the build needs of the action cache (`tzrec_build.store.action_cache`)."""

    def lookup(self, key: str) -> Any:
        """The manifest under an action key, or None."""

    def restore(self, manifest: Any, folder: Any, *, immutable: bool = False) -> None:
        """Put the outputs of a manifest into a folder without files; CorruptError when a byte is wrong."""

    def publish(
        self, key: str, folder: Any, files: list[str], provenance: dict[str, Any], *, digests: dict[str, str] = ...
    ) -> Any:
        """Keep the outputs under an action key; never fails the build."""


class Console(Protocol):
    """What an action tells while it runs (`tzrec_build.graph.reporter`)."""

    def progress(self, task: str, line: str) -> None:
        """One line of a running task."""

    def phase(self, task: str, name: str) -> None:
        """What a task does now: waiting, key, restoring, running, retrying, checking, caching or publishing."""

    def started_child(self, task: str, pid: int) -> None:
        """The command of a task runs as process `pid`."""

    def finished(self, task: str, how: str, elapsed_s: float) -> None:
        """A task was built or restored."""


@dataclass(frozen=True, slots=True)
class Workshop:
    """What all actions of a run share.

    Attributes:
        judge: takes snapshots and keys, holds the state.
        cache: the action cache, or None when it is off.
        console: where progress goes.
        code_root: folder of the package, which every tool imports from.
        forced: whether ``doit -a`` asked to run whatever record and cache say.
        slots: the slots of the workspace ([resources]).
        code: copies of the package that our own tools run from.
    """

    judge: Judge
    cache: Cache | None
    console: Console
    code_root: str
    forced: bool
    slots: Slots
    code: FrozenCode


def expand_argv(spec: TaskSpec, out: str, copies: Mapping[str, str] = MappingProxyType({})) -> tuple[str, ...]:
    """The command with its placeholders filled in: ``{out}``, ``{inputs.NAME}``, ``{outputs.NAME}``, ``{params.NAME}``.

    Our own tools take several paths as one comma list; a user's step gets them as arguments of their own. "python" in front
    means the interpreter of this environment.

    Args:
        spec: the task.
        out: where it writes.
        copies: path of an input -> path of the copy that stands for it.
    Raises:
        ConfigError: a placeholder names no input, output or parameter of the task.
    """
    values: dict[str, Sequence[str]] = {"out": [out], "threads": [str(spec.threads)]}
    for entry in spec.inputs:
        values[f"inputs.{entry.name}"] = _given(entry, copies) if spec.module else _found(spec, entry)
    values.update({f"outputs.{name}": [f"{out}/{file}"] for name, file in spec.outputs})
    values.update({f"params.{name}": [str(value)] for name, value in spec.params})
    argv = expand_command(spec.argv, values, spec.name)
    if not argv or argv[0] != "python":
        return tuple(argv)
    # -P: with `-m` the working folder would come first on the path, and a user's json.py hide the real one
    return (sys.executable, *(("-P",) if spec.module else ()), *argv[1:])


def _given(entry: Input, copies: Mapping[str, str]) -> list[str]:
    return [",".join(copies.get(path, path) for path in entry.paths)]


def _found(spec: TaskSpec, entry: Input) -> list[str]:
    """Paths of a step's input: a glob as the files that it matches, anything else as it was written."""
    paths = []
    for path in entry.paths:
        if is_glob(path):
            paths += [os.path.relpath(file, spec.folder) for _, file in find(spec.folder, path)]
        else:
            paths.append(path)
    return paths


def shown_command(spec: TaskSpec) -> str:
    """The command that a person could run in the pipeline's folder, for ``doit info``."""
    argv = expand_argv(spec, spec.out)
    shown = ("tzrec-build", spec.module.rsplit(".", 1)[-1], *argv[4:]) if spec.module else argv
    return shlex.join(shown)


def attempt_make(workshop: Workshop, spec: TaskSpec) -> str:
    """Make the artifact; returns "", or the one message of an error that is the user's."""
    try:
        make(workshop, spec)
    except BuildError as error:
        text = str(error)
        return text if text.startswith(spec.name) else f"{spec.name}: {text}"
    except (OSError, sqlite3.Error) as error:
        where = f"{error.filename}: " if isinstance(error, OSError) and error.filename else ""
        what = error.strerror if isinstance(error, OSError) else str(error)
        return f"{spec.name}: {where}{what}; check disk space and permissions"
    except Exception:  # noqa: BLE001 - in a thread of doit's, which would end the whole build without saying where
        return f"{spec.name}: this is a bug in tzrec-build, please report the lines below\n{traceback.format_exc()}"
    return ""


def make(shop: Workshop, spec: TaskSpec) -> None:
    """Make the artifact of one task.

    The key is taken before the command runs; afterwards everything in it that the command could still see change is looked at
    again, and if it did the task fails and its outputs stay in the work folder.

    Raises:
        BuildError: an input is missing, the command failed, an output is missing, or an input changed meanwhile.
    """
    start_s = time.monotonic()
    waited: list[str] = []
    shop.console.phase(spec.name, "waiting")
    with locks.held(shop.judge.state.folder, spec.name, lambda line: _wait(shop, spec, waited, line)) as lock:
        _note_change(shop.judge)
        try:
            how = "up to date" if _is_settled(shop, spec, waited) else _make_of_now(shop, spec, lock, start_s)
        finally:
            _note_change(shop.judge)
    shop.console.finished(spec.name, how, time.monotonic() - start_s)


def _wait(shop: Workshop, spec: TaskSpec, waited: list[str], line: str) -> None:
    waited.append(line)
    shop.console.progress(spec.name, line)


_generation = threading.Lock()


def _note_change(judge: Judge) -> None:
    """An action starts or ends: what was judged before may no longer hold."""
    with _generation:
        judge.generation += 1


def _is_settled(shop: Workshop, spec: TaskSpec, waited: list[str]) -> bool:
    """Whether nothing is left to do: a killed build had all but recorded it, or the build that we waited for made it."""
    state, settled = shop.judge.state, False
    for intent in intents.pending(state, spec.name):
        settled |= intents.settle(state, shop.judge.digests, intent)
    known = state.records.get(spec.name)
    state.reload(spec.name)
    made_elsewhere = state.records.get(spec.name) != known  # by another build, after this one was planned
    if shop.forced or not (settled or waited or made_elsewhere):
        return False
    shop.judge.look_again()
    return shop.judge.reason(spec) is None


def _make_of_now(shop: Workshop, spec: TaskSpec, lock: locks.Lock, start_s: float) -> str:
    """Make it from what is there now; taken anew when a person saves a file in the moment between key and copy."""
    for left in reversed(range(TRIES)):
        try:
            return _make(shop, spec, lock, start_s)
        except EditedError:
            if not left:
                raise
    raise RuntimeError("bug: no try left, and none that ended")


def _make(shop: Workshop, spec: TaskSpec, lock: locks.Lock, start_s: float) -> str:
    judge, console = shop.judge, shop.console
    console.phase(spec.name, "key")
    judge.look_again()
    before = judge.snapshot(spec)
    judge.check_inputs(spec, before)
    key = judge.key(spec, before)
    fault_point("key.after")
    work = publish.work_folder(spec, key)
    out = os.path.join(spec.folder, work, "out")
    how, outputs, manifest = "built", _finished_before(shop, spec, key), None
    if outputs is None:
        manifest = None if shop.forced else _restore(shop, spec, key, work)
        if manifest is not None:
            how = "restored"
        else:
            attempt.run(shop, spec, before, attempt.Work(key, work))
        outputs = judge.outputs(spec, out)
    elapsed_s = round(time.monotonic() - start_s, 3)
    record = {**before.parts(), "outputs": outputs, "key": key, "how": how, "elapsed_s": elapsed_s}
    target = os.path.join(spec.folder, spec.out)
    intents.write(judge.state, intents.Intent(spec.name, key, out, target, record))
    if how == "built" and shop.cache is not None and spec.cache != "none":
        console.phase(spec.name, "caching")
        manifest = _keep(shop, key, out, {"task": spec.name, "elapsed_s": elapsed_s})
    for output in manifest.outputs if manifest else ():  # so that a task which reads it hashes it no second time
        judge.digests.note_sha256(f"{out}/{output.path}", output.sha256)
    console.phase(spec.name, "publishing")
    lock.check()
    publish.swap(spec, out)
    for path in outputs:
        judge.digests.moved(f"{out}/{path}", os.path.join(target, path))
    intents.record(judge.state, spec.name, record)
    texts.note_inputs(judge.state, spec, before.inputs)
    publish.drop_work(spec, work)
    return how


def _keep(shop: Workshop, key: str, out: str, provenance: dict[str, Any]) -> Any:
    """Put what was built into the cache; the manifest, or None when the disk refused."""
    if shop.cache is None:
        raise RuntimeError("bug: there is no cache to keep outputs in")
    files = walk(out, skip=RECORDS)
    known = {path: sha for path in files if (sha := shop.judge.digests.known_sha256(f"{out}/{path}"))}
    return shop.cache.publish(key, _path(out), files, provenance, digests=known)


def _finished_before(shop: Workshop, spec: TaskSpec, key: str) -> dict[str, str] | None:
    """Outputs that a killed build had finished for the same key, still whole in the work folder."""
    for intent in intents.pending(shop.judge.state, spec.name):
        if intent.key == key and not shop.forced:
            outputs: dict[str, str] = intent.record["outputs"]
            return outputs
        intents.drop(shop.judge.state, spec.name)
    return None


def _path(folder: str) -> Any:
    from pathlib import Path

    return Path(folder)


def _restore(shop: Workshop, spec: TaskSpec, key: str, work: str) -> Any:
    """The manifest whose outputs lie in the work folder now; None when the task must be built."""
    manifest = shop.cache.lookup(key) if shop.cache else None
    if shop.cache is None or manifest is None:
        return None
    try:
        shop.cache.restore(manifest, _path(publish.fresh_out(spec, work)), immutable=spec.immutable)
    except CorruptError as err:
        from tzrec_build.logs import logger

        logger.warning("%s: cache entry is damaged, it is built again (%s)", spec.name, err)
        return None
    return manifest
