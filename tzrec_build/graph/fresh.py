"""The one judge of staleness: an artifact is up to date only if inputs, parameters, code, environment and outputs are unchanged.

doit takes states after an action and forgets them when another task fails; here the key is taken before the action, and the
record of the last good run is ours. The first difference found is the reason, as data; `str(reason)` is what a person reads.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from inspect import Parameter, Signature
from typing import TYPE_CHECKING, Any

from tzrec_build.errors import BuildError, DataError
from tzrec_build.graph.closure import Closure
from tzrec_build.graph.digests import Digests, find
from tzrec_build.graph.overlay import Overlay, find_made
from tzrec_build.graph.reasons import Reason, changed_files, first_difference
from tzrec_build.graph.spec import RECORDS, Input, TaskSpec
from tzrec_build.graph.state import State

if TYPE_CHECKING:
    from collections.abc import Callable

KEY_VERSION = "action/1"
_TWINS = {
    "fbgemm-gpu-cpu": "fbgemm-gpu",
    "faiss-cpu": "faiss",
    "faiss-gpu": "faiss",
}  # CPU and CUDA builds are one name


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

    def __init__(self, state: State, root: str, site_packages: str) -> None:
        self.state = state
        self.digests = Digests(state)
        self._root = root
        self.closure = Closure(state, self.digests, root)
        self._site_packages = site_packages
        self.generation = 0  # raised when an action starts and when it ends: verdicts of before may no longer hold
        self._versions: dict[str, str] | None = None
        self._machine: dict[str, str] | None = None

    def look_again(self) -> None:
        """Forget which source files were looked at: they may have been edited since the start of this process."""
        self.closure = Closure(self.state, self.digests, self._root)
        self.generation += 1

    def snapshot(self, spec: TaskSpec, made: Overlay | None = None) -> Snapshot:
        """The present state of everything that `spec` depends on; what is not there is an empty mapping.

        Args:
            spec: the task.
            made: artifacts as they would be, for a dry run: their files are taken from it, with a SHA-256 for content.
        """
        params = {"command": list(spec.argv), "threads": spec.threads, "outputs": spec.outputs}
        params.update({f"params.{name}": value for name, value in spec.params})
        return Snapshot(
            inputs={
                entry.name: [self._content(spec, entry, path, made) for path in entry.paths] for entry in spec.inputs
            },
            params={name: json.dumps(value, sort_keys=True) for name, value in params.items()},
            code=self.closure.digests(spec.module, spec.kinds) if spec.module else {},
            env=self._environment(spec),
        )

    def _content(self, spec: TaskSpec, entry: Input, path: str, made: Overlay | None) -> dict[str, str]:
        listed = find_made(spec.folder, path, made) if made else None
        if listed is not None:
            return {name: ("x" if executable else "") + f"sha256:{sha}" for name, executable, sha in listed}
        contents = {name: self.digests.content(file) for name, file in _files(spec, entry, path)}
        return {name: content for name, content in contents.items() if content is not None}

    def _environment(self, spec: TaskSpec) -> dict[str, str | None]:
        versions = self._installed()
        env: dict[str, str | None] = {"system": f"{sys.platform}-{platform.machine()}"}
        if spec.module or spec.argv[:1] == ("python",):
            env["python"] = f"{sys.version_info[0]}.{sys.version_info[1]}"
        plain: Callable[[str], str] = str if spec.exact_machine else _plain_version
        env.update({name: plain(versions.get(name, "absent")) for name in spec.packages})
        if spec.exact_machine:
            env.update(self._this_machine())
        env.update({f"${name}": os.environ.get(name) for name in spec.env})
        return env

    def _installed(self) -> dict[str, str]:
        """Package -> version with its local tag, from the names of the dist-info folders: 100 times cheaper than importlib.metadata."""
        if self._versions is None:
            versions = {}
            for entry in os.listdir(self._site_packages):
                if entry.endswith(".dist-info"):
                    name, _, version = entry.removesuffix(".dist-info").partition("-")
                    name = name.replace("_", "-").lower()
                    versions[_TWINS.get(name, name)] = version
            self._versions = versions  # whole or not at all: other threads read it
        return self._versions

    def _this_machine(self) -> dict[str, str]:
        if self._machine is None:
            from tzrec_build.graph.machine import machine

            self._machine = machine()
        return self._machine

    def outputs(self, spec: TaskSpec, folder: str = "") -> dict[str, str]:
        """Content of a task's artifact (or of `folder` instead), its records left out."""
        return self.digests.tree(folder or os.path.join(spec.folder, spec.out), skip=RECORDS)

    def key(self, spec: TaskSpec, snapshot: Snapshot, made: Overlay | None = None) -> str:
        """Action key (SHA-256, hex) of a snapshot: the same in every checkout, for every user, on every like machine.

        A file is named as seen from the path that names it, so that where a table lies does not count.
        """
        inputs = {
            entry.name: [
                self._named(spec, entry, path, snapshot.inputs[entry.name][i], made)
                for i, path in enumerate(entry.paths)
            ]
            for entry in spec.inputs
        }
        body = [KEY_VERSION, inputs, snapshot.params, snapshot.code, snapshot.env]
        return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

    def _named(
        self, spec: TaskSpec, entry: Input, path: str, content: Mapping[str, str], made: Overlay | None
    ) -> list[tuple[str, bool, str]]:
        """Files of one path as (name, executable, SHA-256)."""
        listed = find_made(spec.folder, path, made) if made else None
        if listed is not None:
            return listed
        files = _files(spec, entry, path)
        return [(name, content.get(name, "")[:1] == "x", self.digests.sha256(file)) for name, file in files]

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


def _files(spec: TaskSpec, entry: Input, path: str) -> list[tuple[str, str]]:
    return find(spec.folder, path, skip=RECORDS if path in entry.made else "")


class Fresh:
    """doit's uptodate object of one task."""

    __signature__ = Signature(
        [Parameter("task", Parameter.POSITIONAL_ONLY), Parameter("values", Parameter.POSITIONAL_ONLY)]
    )

    def __init__(self, judge: Callable[[], Judge], spec: TaskSpec) -> None:
        self._judge, self._spec = judge, spec
        self.reason: Reason | None = None
        self._judged_at = -1  # generation of the judge

    def __call__(self, task: object, values: object) -> bool:  # noqa: ARG002 - doit's protocol
        """The verdict of now, and the reason for messages; the last one holds until an action starts or ends."""
        judge = self._judge()
        if self._judged_at == judge.generation:
            return self.reason is None
        now = judge.generation
        try:
            self.reason = judge.reason(self._spec)
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
