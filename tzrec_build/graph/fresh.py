"""The one judge of staleness: an artifact is up to date only if inputs, parameters, code, environment and outputs are unchanged.

doit takes states after an action and forgets them when another task fails; here the key is taken before the action, and the
record of the last good run is ours. The first difference found is the reason, as data; `str(reason)` is what a person reads.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from inspect import Parameter, Signature
from typing import TYPE_CHECKING, Any

from tzrec_build.errors import BuildError, DataError
from tzrec_build.graph.closure import Closure
from tzrec_build.graph.digests import Digests, find, walk
from tzrec_build.graph.distributions import Distributions
from tzrec_build.graph.fingerprints import Fingerprints
from tzrec_build.graph.overlay import Overlay
from tzrec_build.graph.reasons import Reason, changed_files, first_difference
from tzrec_build.graph.rows import Row, params_part, spec_of
from tzrec_build.graph.spec import RECORDS, Input, TaskSpec
from tzrec_build.graph.stamp import files_text, text_digest, values_digest
from tzrec_build.graph.state import State

if TYPE_CHECKING:
    from collections.abc import Callable

NOTHING = "0\0"  # `Digests.text` of a path at which nothing lies
KEY_VERSION = "action/1"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that can change the outputs of a task, as it is at one moment.

    Attributes:
        inputs: input name -> for each of its paths, in order, {file name below it: mode mark and xxh3-128}.
        params: "command", "threads", "outputs" and "params.NAME" -> value as JSON text (1, true and 1.0 are three values).
        code: source file -> AST digest.
        env: OS, Python, packages, declared variables -> version or value; None for a variable that is not set.
    """

    inputs: Mapping[str, list[dict[str, str]]]
    params: Mapping[str, str]
    code: Mapping[str, str]
    env: Mapping[str, str | None]

    def parts(self) -> dict[str, Any]:
        """The four parts as plain data, in the order in which they are judged."""
        return {"inputs": self.inputs, "params": self.params, "code": self.code, "env": self.env}


class Judge:
    """Takes snapshots of tasks and compares them with what was recorded at their last good run."""

    def __init__(self, state: State, root: str, site_packages: str, checkout: str = "") -> None:
        self.state = state
        self.digests = Digests(state)
        self.fingerprints = Fingerprints(self.digests, checkout or root)
        self._root = root
        self.closure = Closure(state, self.digests, root)
        self._packages = Distributions(state, site_packages)
        self.generation = 0  # raised when an action starts and when it ends: verdicts of before may no longer hold
        self._machine: dict[str, str] | None = None
        self._groups: dict[int, bytes] = {}  # Row.group -> digests of code and environment
        self._code_digests: dict[int, tuple[Mapping[str, str], bytes]] = {}  # by identity: the closure gives one object
        state.at_end.append(self.digests.settle)

    def look_again(self) -> None:
        """Forget which source files were looked at: they may have been edited since the start of this process."""
        self.closure = Closure(self.state, self.digests, self._root)
        self._groups, self._code_digests = {}, {}
        self.generation += 1

    def verdict(self, row: Row) -> Reason | None:
        """The same as `reason`, by the short form of the record: while nothing has changed no record is decoded."""
        recorded = self.state.records.get(row.name)
        if recorded and self._stamp(row, recorded) == recorded:
            return None
        # taken first: an edit after the comparison must not get into the stamp of what was compared
        stamp = b"" if recorded is None else self._stamp(row)
        reason = self.reason(spec_of(row))
        if reason is None:
            self.state.set_stamp(row.name, stamp)
        return reason

    def look_ahead(self, rows: Iterable[Row]) -> None:
        """Digest on several threads the files that these tasks read; with SHA-256 for tasks that were never built."""
        new: dict[str, None] = {}
        known: dict[str, None] = {}
        for row in rows:
            names = known if row.name in self.state.records else new
            for _, path, skip, pattern in row.pieces:
                if not path:
                    names.update({file: None for _, file in find(spec_of(row).folder, pattern)})
                elif os.path.isdir(path):
                    names.update({f"{path}/{name}": None for name in walk(path, skip)})
                else:
                    names[path] = None
        self.digests.look_ahead(new, with_sha=True)
        self.digests.look_ahead(known)

    def _stamp(self, row: Row, hoped: bytes = b"") -> bytes:
        """The stamp of what is there now; cut short at the first part that is not as in `hoped`."""
        stamp = row.params + (self._groups.get(row.group) or self._group(row))
        if hoped and not hoped.startswith(stamp):
            return stamp
        text = self.digests.text
        stamp += text_digest(
            "".join(
                [
                    head
                    # what is not here may be in the lock
                    + (
                        found
                        if path and ((found := text(path, skip)) != NOTHING or skip)
                        else self._piece(row, pattern)
                    )
                    for head, path, skip, pattern in row.pieces
                ]
            )
        )
        if hoped and not hoped.startswith(stamp):
            return stamp
        return stamp + text_digest(self.digests.folder_text(row.out, RECORDS))

    def _group(self, row: Row) -> bytes:
        spec = spec_of(row)
        code = self._code(spec)
        known = self._code_digests.get(id(code))
        if known is None:
            known = self._code_digests[id(code)] = (code, values_digest(code))
        self._groups[row.group] = found = known[1] + values_digest(self._environment(spec))
        return found

    def _code(self, spec: TaskSpec) -> Mapping[str, str]:
        return self.closure.of(spec)

    def _piece(self, row: Row, named: str) -> str:
        """Text of a pattern, or of a whole input whose content is not what stands for it."""
        spec = spec_of(row)
        for entry in spec.inputs:
            if entry.fingerprint != "content" and entry.name == named:
                return "".join(
                    files_text(self.fingerprints.contents(spec, entry, path, None).items()) for path in entry.paths
                )
        entry = next((entry for entry in spec.inputs if named in entry.paths), Input("", ()))
        return files_text(self.fingerprints.contents(spec, entry, named, None).items())

    def snapshot(self, spec: TaskSpec, made: Overlay | None = None) -> Snapshot:
        """The present state of everything that `spec` depends on; what is not there is an empty mapping.

        Args:
            spec: the task.
            made: artifacts as they would be, for a dry run: their files are taken from it, with a SHA-256 for content.
        """
        return Snapshot(
            inputs={
                entry.name: [self.fingerprints.contents(spec, entry, path, made) for path in entry.paths]
                for entry in spec.inputs
            },
            params=params_part(spec),
            code=self._code(spec),
            env=self._environment(spec),
        )

    def _environment(self, spec: TaskSpec) -> dict[str, str | None]:
        versions = self._packages.versions()
        env: dict[str, str | None] = {"system": f"{sys.platform}-{os.uname().machine}"}
        if spec.module or spec.argv[:1] == ("python",):
            env["python"] = f"{sys.version_info[0]}.{sys.version_info[1]}"
        plain: Callable[[str], str] = str if spec.exact_machine else _plain_version
        packages = spec.packages
        if spec.code:
            packages += self._packages.providers(self.closure.of_user(spec.code, spec.folder)[1])
        env.update({name: plain(versions.get(name, "absent")) for name in packages})
        if spec.exact_machine:
            env.update(self._this_machine())
        env.update({f"${name}": os.environ.get(name) for name in spec.env})
        return env

    def _this_machine(self) -> dict[str, str]:
        if self._machine is None:
            from tzrec_build.graph.machine import machine

            self._machine = machine()
        return self._machine

    def outputs(self, spec: TaskSpec, folder: str = "") -> dict[str, str]:
        """Content of a task's artifact (or of `folder` instead), its records left out."""
        return self.digests.tree(folder or os.path.join(spec.folder, spec.out), skip=RECORDS)

    def key(self, spec: TaskSpec, snapshot: Snapshot, made: Overlay | None = None) -> str:  # noqa: ARG002 - a snapshot knows
        """Action key (SHA-256, hex) of a snapshot: the same in every checkout, for every user, on every like machine.

        A file is named as seen from the path that names it, so that where a table lies does not count.
        """
        inputs = {
            entry.name: [
                self.fingerprints.named(spec, entry, path, snapshot.inputs[entry.name][i])
                for i, path in enumerate(entry.paths)
            ]
            for entry in spec.inputs
        }
        body = [KEY_VERSION, inputs, snapshot.params, snapshot.code, snapshot.env]
        return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

    def record(self, task: str) -> dict[str, Any] | None:
        """The record of a task's last good run, decoded now: its parts, outputs, key, how, elapsed_s; None without one."""
        return self.state.record(task)

    def check_inputs(self, spec: TaskSpec, snapshot: Snapshot) -> None:
        """Raise DataError for an input that is not there, naming the place that asks for it."""
        for entry in spec.inputs:
            for path, content in zip(entry.paths, snapshot.inputs[entry.name], strict=True):
                if not content and not entry.optional:
                    where = f" (named in {entry.named_in})" if entry.named_in else ""
                    remedy = (
                        "build the task that makes it" if path in entry.made else "put it there or correct the path"
                    )
                    raise DataError(f"{spec.name}: input {entry.name}: nothing at {path}{where}; {remedy}")

    def reason(self, spec: TaskSpec) -> Reason | None:
        """The first cause for which the artifact of `spec` is stale, or None when it is up to date."""
        if spec.name not in self.state.records:
            return Reason("", "never built here")
        record = self.record(spec.name)
        if record is None or not isinstance(record.get("outputs"), dict):
            return Reason("", "its record is damaged")
        if "partial" in record:
            return Reason("", f"partial, salvaged at step {record['partial']}")
        found = first_difference(record, self.snapshot(spec).parts())
        if found is not None:
            return found
        outputs = self.outputs(spec)
        return (
            None if record["outputs"] == outputs else changed_files(f"output {spec.out}/", record["outputs"], outputs)
        )


def _plain_version(version: str) -> str:
    """Leave out the local tag, so that a CPU and a CUDA build are one version."""
    return version.partition("+")[0]


class Fresh:
    """doit's uptodate object of one task."""

    __signature__ = Signature(
        [Parameter("task", Parameter.POSITIONAL_ONLY), Parameter("values", Parameter.POSITIONAL_ONLY)]
    )

    def __init__(self, judge: Judge, row: Row) -> None:
        self.judge, self.row = judge, row
        self.reason: Reason | None = None
        self._judged_at = -1  # generation of the judge

    def __call__(self, task: object, values: object) -> bool:  # noqa: ARG002 - doit's protocol
        """The verdict of now, and the reason for messages; the last one holds until an action starts or ends."""
        judge = self.judge
        if self._judged_at == judge.generation:
            return self.reason is None
        now = judge.generation
        try:
            self.reason = Reason("", self.row.error) if self.row.error else judge.verdict(self.row)
        except (
            BuildError,
            OSError,
        ) as err:  # the action meets the same obstacle, and reports it as this task's failure
            self.reason = Reason("", str(err))
        self._judged_at = now
        return self.reason is None

    def last(self) -> bool:
        """The last verdict of this process, judged now if there is none yet."""
        return self.reason is None if self._judged_at >= 0 else self(None, None)

    def __repr__(self) -> str:
        return str(self.reason) if self.reason else "up to date"


def expect(verdicts: Iterable[Fresh]) -> None:
    """Say which verdicts will be asked for: when a file must be read for one, all that they need is read on several threads."""
    wanted = list(verdicts)
    if wanted:
        judge = wanted[0].judge
        rows = [fresh.row for fresh in wanted]
        judge.digests.expected = lambda: judge.look_ahead(rows)


class GroupFresh:
    """doit's uptodate object of a group task: fresh when every member is."""

    __signature__ = Fresh.__signature__

    def __init__(self, members: list[Fresh]) -> None:
        self._members = members

    def __call__(self, task: object, values: object) -> bool:  # noqa: ARG002 - doit's protocol
        """Whether all members are up to date, by their last verdicts."""
        return not self._stale()

    def _stale(self) -> list[Fresh]:
        return [member for member in self._members if not member.last()]

    def __repr__(self) -> str:
        return f"{len(self._stale())} of {len(self._members)} stale"
