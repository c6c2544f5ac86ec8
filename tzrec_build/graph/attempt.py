"""Runs the command of a task: slots, retries, a log, and only what its key describes to work from."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tzrec_build.errors import BuildError
from tzrec_build.faults import fault_point
from tzrec_build.graph import child, publish
from tzrec_build.graph.digests import find
from tzrec_build.graph.fresh import Judge, Snapshot
from tzrec_build.graph.frozen import EditedError
from tzrec_build.graph.frozen_inputs import freeze_inputs
from tzrec_build.graph.resume import note_attempt, resume_flags
from tzrec_build.graph.spec import RECORDS, TaskSpec

if TYPE_CHECKING:
    from tzrec_build.graph.action import Workshop

FIRST_PAUSE_S = 0.5  # before the second attempt; each further pause is twice as long
LONGEST_PAUSE_S = 60.0
USER_ERROR = 2  # exit code of our own tools for a wrong config or flag: trying again cannot help
Frozen = AbstractContextManager[tuple[str, Mapping[str, str]]]


@dataclass(frozen=True, slots=True)
class Work:
    """Where a task works.

    Attributes:
        key: its action key.
        folder: its work folder, relative to the pipeline's folder.
    """

    key: str
    folder: str


def run(shop: Workshop, spec: TaskSpec, before: Snapshot, work: Work) -> None:
    """Run the command until it has ended well; the outputs are then in ``out`` of the work folder, checked.

    One of our own tools runs from a copy of the package and of its small inputs, so that later edits do not touch it. What a
    command could still see change is looked at again at the end.

    Raises:
        BuildError: it failed, made no promised output, or an input changed meanwhile.
    """
    console = shop.console
    shop.judge.fingerprints.check_present(spec)
    _check_named_files(spec)
    with shop.slots.held(spec.resources, lambda line: console.progress(spec.name, line)), _code(shop, spec) as frozen:
        code_root, digests = frozen
        _check_code(shop.judge, before, digests)
        copies = freeze_inputs(spec, before.inputs, work.folder) if spec.module else {}
        note_attempt(spec, work.folder, work.key, before.parts())
        path = code_root if code_root == shop.code_root else f"{code_root}{os.pathsep}{shop.code_root}"
        _attempts(shop, spec, work.folder, path, copies)
    console.phase(spec.name, "checking")
    out = os.path.join(spec.folder, work.folder, "out")
    publish.check_promised(spec, out)
    publish.drop_empty_folders(out)
    records = os.path.join(out, RECORDS)
    os.makedirs(records, exist_ok=True)
    os.replace(os.path.join(spec.folder, work.folder, "log"), os.path.join(records, "log"))
    _check_unchanged(shop.judge, spec, before, work.folder, {*copies, *digests})


def _check_named_files(spec: TaskSpec) -> None:
    """Raise BuildError when the command of a step names a file that is not in its key: an edit of it would rerun nothing."""
    for i, word in enumerate(() if spec.module else spec.argv):
        path = os.path.normpath(os.path.join(spec.folder, word))
        is_program = not i and "/" not in word  # looked for on PATH
        if is_program or "{" in word or not path.startswith(f"{_checkout_of(spec)}/") or not os.path.isfile(path):
            continue
        code = {os.path.normpath(os.path.join(spec.folder, name)) for name in spec.code}
        if path not in code and path not in _declared(spec):
            raise BuildError(
                f"{spec.name}: command names the file {word!r}, which no input declares: an edit of it would rerun nothing; "
                f"add NAME = {word!r} to inputs"
            )


def _checkout_of(spec: TaskSpec) -> str:
    """The folder with ``workspace/NAME/`` in it: what lies elsewhere is the machine's."""
    return os.path.dirname(os.path.dirname(spec.folder))


def _declared(spec: TaskSpec) -> set[str]:
    return {file for entry in spec.inputs for path in entry.paths for _, file in find(spec.folder, path)}


def _code(shop: Workshop, spec: TaskSpec) -> Frozen:
    return shop.code.held() if spec.module else nullcontext((shop.code_root, {}))


def _check_code(judge: Judge, before: Snapshot, digests: Mapping[str, str]) -> None:
    """See that the copied code is what the key was taken from; files of the user's own are looked at again at the end."""
    for path, digest in before.code.items():
        xxh = digests.get(path)
        if xxh is None or not path.endswith(".py"):
            continue
        if not judge.closure.has_digest(bytes.fromhex(xxh), digest):
            raise EditedError(f"{path}: was edited while the task started; run again")


def _attempts(shop: Workshop, spec: TaskSpec, work: str, path: str, copies: Mapping[str, str]) -> None:
    from tzrec_build.graph.action import expand_argv

    shown = _showing(shop, spec, copies)
    last = spec.retries + 1
    for number in range(1, last + 1):
        publish.fresh_out(spec, work)
        shop.console.phase(spec.name, "running")
        fault_point("run.before")
        command = child.Command(
            argv=(*expand_argv(spec, f"{work}/out", copies), *resume_flags(spec, work)),
            cwd=spec.folder,
            env=child.environment(spec.env, spec.threads, path),
            log_path=os.path.join(spec.folder, work, "log"),
            timeout_s=spec.timeout_s,
            heading=f"--- attempt {number} of {last} ---" if number > 1 else "",
        )
        try:
            child.run(command, shown, lambda pid: shop.console.started_child(spec.name, pid))
        except child.CommandError as err:
            if number == last or err.code is None or (spec.module and err.code == USER_ERROR):
                raise type(err)(_renamed(str(err), copies), err.code) from err
            _pause_after(shop, spec, number, str(err))
        else:
            fault_point("run.after")
            return


def _pause_after(shop: Workshop, spec: TaskSpec, number: int, text: str) -> None:
    pause_s = min(FIRST_PAUSE_S * 2 ** (number - 1), LONGEST_PAUSE_S)
    cause = text.partition(";")[0]
    shop.console.phase(spec.name, "retrying")
    shop.console.progress(
        spec.name, f"attempt {number} of {spec.retries + 1} {cause}; the next one follows in {pause_s:g} s"
    )
    if child.pause(pause_s):
        raise child.CommandError("stopped", None)


def _showing(shop: Workshop, spec: TaskSpec, copies: Mapping[str, str]) -> Callable[[str], None]:
    return lambda line: shop.console.progress(spec.name, _renamed(line, copies))


def _renamed(text: str, copies: Mapping[str, str]) -> str:
    """Name what a person knows, not its copy."""
    for path, copied in copies.items():
        text = text.replace(copied, path)
    return text


def _check_unchanged(judge: Judge, spec: TaskSpec, before: Snapshot, work: str, frozen: set[str]) -> None:
    """Raise BuildError when something changed that the command could see: all but the copied inputs and code files."""
    judge.look_again()
    # A tool ran from its copy: its code need not even parse now, somebody may be in the middle of an edit.
    now = judge.snapshot(replace(spec, module="", kinds=()) if spec.module else spec)
    old, new = _seen(spec, before, frozen), _seen(spec, now, frozen)
    changed = [name for name in sorted({*old, *new}) if old.get(name) != new.get(name)]
    if changed:
        raise BuildError(
            f"{spec.name}: changed while it ran: {', '.join(changed)}; its outputs are kept in {work}/out, run again"
        )


def _seen(spec: TaskSpec, snapshot: Snapshot, frozen: set[str]) -> dict[str, object]:
    """What of a snapshot a command could see while it ran: words for a message -> content."""
    code_frozen = bool(spec.module)
    seen: dict[str, object] = {
        f"inputs {entry.name} {path}": content
        for entry in spec.inputs
        for path, content in zip(entry.paths, snapshot.inputs[entry.name], strict=True)
        if path not in frozen
    }
    seen.update(
        {f"code {path}": digest for path, digest in snapshot.code.items() if not (code_frozen and path in frozen)}
    )
    seen.update({f"env {name}": value for name, value in snapshot.env.items()})
    return seen
