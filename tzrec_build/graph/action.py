"""Makes one artifact: key first, then restore or run, then verify, cache, swap, record. A kill at any point costs at most a rerun."""

from __future__ import annotations

import os
import shlex
import sqlite3
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from doit.action import BaseAction
from doit.exceptions import TaskFailed

from tzrec_build.errors import BuildError, CorruptError
from tzrec_build.graph import child, publish, texts
from tzrec_build.graph.digests import find, is_glob, walk
from tzrec_build.graph.expand import expand_command
from tzrec_build.graph.fresh import Judge, Snapshot
from tzrec_build.graph.spec import RECORDS, Input, TaskSpec


class Cache(Protocol):
    """What the build needs of the action cache (`tzrec_build.store.action_cache`)."""

    def lookup(self, key: str) -> Any:
        """The manifest under an action key, or None."""

    def restore(self, manifest: Any, folder: Any, *, immutable: bool = False) -> None:
        """Put the outputs of a manifest into an empty folder; CorruptError when a byte is wrong."""

    def publish(
        self, key: str, folder: Any, files: list[str], provenance: dict[str, Any], *, digests: dict[str, str] = ...
    ) -> Any:
        """Keep the outputs under an action key; never fails the build."""


class Console(Protocol):
    """What an action tells while it runs (`tzrec_build.graph.reporter`)."""

    def progress(self, task: str, line: str) -> None:
        """One line of a running task."""

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
    """

    judge: Judge
    cache: Cache | None
    console: Console
    code_root: str
    forced: bool


def expand_argv(spec: TaskSpec, out: str) -> tuple[str, ...]:
    """The command with its placeholders filled in: ``{out}``, ``{inputs.NAME}``, ``{outputs.NAME}``, ``{params.NAME}``.

    Our own tools take several paths as one comma list; a user's step gets them as arguments of their own. "python" in front
    means the interpreter of this environment.

    Raises:
        ConfigError: a placeholder names no input, output or parameter of the task.
    """
    values: dict[str, Sequence[str]] = {"out": [out], "threads": [str(spec.threads)]}
    for entry in spec.inputs:
        values[f"inputs.{entry.name}"] = [",".join(entry.paths)] if spec.module else _found(spec, entry)
    values.update({f"outputs.{name}": [f"{out}/{file}"] for name, file in spec.outputs})
    values.update({f"params.{name}": [str(value)] for name, value in spec.params})
    argv = expand_command(spec.argv, values, spec.name)
    if not argv or argv[0] != "python":
        return tuple(argv)
    # -P: with `-m` the working folder would come first on the path, and a user's json.py hide the real one
    return (sys.executable, *(("-P",) if spec.module else ()), *argv[1:])


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


class Make(BaseAction):  # type: ignore[misc]
    """doit action that makes one artifact."""

    def __init__(self, workshop: Callable[[], Workshop], spec: TaskSpec) -> None:
        self._workshop, self._spec = workshop, spec
        self.task: object = None
        self.out = self.err = ""
        self.result: object = None
        self.values: dict[str, object] = {}

    def execute(self, out: object = None, err: object = None) -> TaskFailed | None:  # noqa: ARG002 - doit's protocol
        """Make the artifact; a user's error becomes a failed task with one message."""
        try:
            make(self._workshop(), self._spec)
        except BuildError as error:
            text = str(error)
            return TaskFailed(text if text.startswith(self._spec.name) else f"{self._spec.name}: {text}")
        except (OSError, sqlite3.Error) as error:
            where = f"{error.filename}: " if isinstance(error, OSError) and error.filename else ""
            what = error.strerror if isinstance(error, OSError) else str(error)
            return TaskFailed(f"{self._spec.name}: {where}{what}; check disk space and permissions")
        return None

    @property
    def spec(self) -> TaskSpec:
        """What it makes; for the commands that explain a task."""
        return self._spec

    @property
    def workshop(self) -> Workshop:
        """What it shares with the others."""
        return self._workshop()

    def __str__(self) -> str:
        return shown_command(self._spec)


def make(shop: Workshop, spec: TaskSpec) -> None:
    """Make the artifact of one task.

    The key is taken before the command runs; afterwards everything in it is looked at again, and if an input or the code
    changed meanwhile the task fails and its outputs stay in the work folder.

    Raises:
        BuildError: an input is missing, the command failed, an output is missing, or an input changed meanwhile.
    """
    start_s = time.monotonic()
    judge = shop.judge
    with publish.task_lock(judge.state.folder, spec.name, lambda line: shop.console.progress(spec.name, line)):
        judge.look_again()
        before = judge.snapshot(spec)
        judge.check_inputs(spec, before)
        key = judge.key(spec, before)
        work = publish.work_folder(spec, key)
        how = "restored"
        manifest = None if shop.forced else _restore(shop, spec, key, work)
        if manifest is None:
            how = "built"
            _run(shop, spec, work)
            _check_unchanged(judge, spec, before, work)
        out = os.path.join(spec.folder, work, "out")
        outputs = judge.outputs(spec, out)
        if how == "built" and shop.cache is not None and spec.cache != "none":
            provenance = {"task": spec.name, "elapsed_s": round(time.monotonic() - start_s, 3)}
            files = walk(out, skip=RECORDS)
            known = {path: sha for path in files if (sha := judge.digests.known_sha256(f"{out}/{path}"))}
            manifest = shop.cache.publish(key, _path(out), files, provenance, digests=known)
        for output in manifest.outputs if manifest else ():  # so that a task which reads it hashes it no second time
            judge.digests.note_sha256(f"{out}/{output.path}", output.sha256)
        publish.swap(spec, out)
        for path in outputs:
            judge.digests.moved(f"{out}/{path}", os.path.join(spec.folder, spec.out, path))
        elapsed_s = time.monotonic() - start_s
        record = {**before.parts(), "outputs": outputs, "key": key, "how": how, "elapsed_s": round(elapsed_s, 3)}
        judge.state.set_record(spec.name, record)
        judge.generation += 1
        texts.note_inputs(judge.state, spec, before.inputs)
        publish.drop_work(spec, work)
    shop.console.finished(spec.name, how, elapsed_s)


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
        shop.console.progress(spec.name, f"cache entry is damaged, building instead ({err})")
        return None
    return manifest


def _run(shop: Workshop, spec: TaskSpec, work: str) -> None:
    out = publish.fresh_out(spec, work)
    command = child.Command(
        argv=expand_argv(spec, f"{work}/out"),
        cwd=spec.folder,
        env=child.environment(spec.env, spec.threads, shop.code_root),
        log_path=os.path.join(spec.folder, work, "log"),
        timeout_s=spec.timeout_s,
    )
    child.run(command, lambda line: shop.console.progress(spec.name, line))
    publish.check_promised(spec, out)
    log_folder = os.path.join(out, RECORDS)
    os.makedirs(log_folder, exist_ok=True)
    os.replace(command.log_path, os.path.join(log_folder, "log"))


def _check_unchanged(judge: Judge, spec: TaskSpec, before: Snapshot, work: str) -> None:
    judge.look_again()
    after = judge.snapshot(spec)
    if after.parts() == before.parts():
        return
    changed = [
        f"{part} {name}"
        for part, values in before.parts().items()
        for name in sorted({*values, *after.parts()[part]})
        if values.get(name) != after.parts()[part].get(name)
    ]
    raise BuildError(
        f"{spec.name}: changed while it ran: {', '.join(changed)}; its outputs are kept in {work}/out, run again"
    )
