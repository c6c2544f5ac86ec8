"""Tasks in the form in which they are cached: what a no-op needs of each is at hand, its whole `TaskSpec` is decoded on demand."""

from __future__ import annotations

import marshal
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from tzrec_build.graph.spec import RECORDS, Input, TaskSpec


class Row(NamedTuple):
    """One task.

    Attributes:
        name: doit's name.
        doc: one line for ``doit list``.
        inside: the pipeline's folder as seen from the checkout.
        out: the artifact's folder, absolute.
        target: the same as seen from the checkout.
        task_deps: names of the tasks that make its inputs.
        file_deps: its paths as seen from the checkout, patterns as they are.
        params: digest of its parameters and command (`stamp.values_digest`).
        group: number of the tasks with the same code and environment.
        pieces: for each path of its inputs (text before it in `stamp.inputs_text`; absolute path, "" for a pattern; folder
            left out of it; pattern).
        spec: the marshalled `TaskSpec`.
        error: why the task cannot be made, or "".
    """

    name: str
    doc: str
    inside: str
    out: str
    target: str
    task_deps: tuple[str, ...]
    file_deps: frozenset[str]
    params: bytes
    group: int
    pieces: tuple[tuple[str, str, str, str], ...]
    spec: bytes
    error: str = ""


def params_part(spec: TaskSpec) -> dict[str, str]:
    """The params part of a snapshot: a text for the command, the outputs and each parameter."""
    import json

    params = {"command": list(spec.argv), "threads": spec.threads, "outputs": spec.outputs}
    params.update({f"params.{name}": value for name, value in spec.params})
    return {name: json.dumps(value, sort_keys=True) for name, value in params.items()}


def make_rows(specs: Iterable[TaskSpec], root: str) -> list[Row]:
    """Rows of all tasks of a checkout."""
    from tzrec_build.graph.stamp import values_digest

    groups: dict[object, int] = {}
    rows = []
    for spec in specs:
        shown = [os.path.normpath(os.path.join(spec.folder, path)) for entry in spec.inputs for path in entry.paths]
        out = os.path.normpath(os.path.join(spec.folder, spec.out))
        rows.append(
            Row(
                name=spec.name,
                doc=spec.doc,
                inside=os.path.relpath(spec.folder, root),
                out=out,
                target=out.removeprefix(root + "/"),
                task_deps=spec.task_deps,
                file_deps=frozenset(path.removeprefix(root + "/") for path in shown),
                params=values_digest(params_part(spec)),
                group=groups.setdefault(_surroundings(spec), len(groups)),
                pieces=_pieces(spec),
                spec=marshal.dumps(_plain(spec)),
            )
        )
    return rows


def _surroundings(spec: TaskSpec) -> object:
    """All that code and environment of a task can follow from."""
    own = {"name", "doc", "out", "argv", "inputs", "params", "outputs", "task_deps", "headline"}
    kept = tuple(getattr(spec, name) for name in TaskSpec.__slots__ if name not in own)
    return (spec.argv[:1] == ("python",), *kept)


def _pieces(spec: TaskSpec) -> tuple[tuple[str, str, str, str], ...]:
    from tzrec_build.graph.digests import is_glob

    pieces = []
    head = ""  # an input without paths has a head only: it goes in front of the next one
    for entry in spec.inputs:
        head += f"{entry.name}\0{len(entry.paths)}\0"
        if entry.fingerprint != "content":
            pieces.append((head, "", "", entry.name))
            head = ""
            continue
        for path in entry.paths:
            absolute = "" if is_glob(path) else os.path.normpath(os.path.join(spec.folder, path))
            pieces.append((head, absolute, RECORDS if path in entry.made else "", path))
            head = ""
    return tuple(pieces)


def _plain(value: Any) -> Any:
    """Dataclasses and named tuples as tuples: marshal takes the very types only."""
    if isinstance(value, TaskSpec | Input):
        return tuple(_plain(getattr(value, name)) for name in type(value).__slots__)
    if isinstance(value, tuple):
        return tuple(_plain(item) for item in value)
    return value


def spec_of(row: Row) -> TaskSpec:
    """The whole task."""
    fields = dict(zip(TaskSpec.__slots__, marshal.loads(row.spec), strict=True))  # noqa: S302 - our own file, its sum checked
    fields["inputs"] = tuple(Input(*entry) for entry in fields["inputs"])
    return TaskSpec(**fields)


class Specs(Mapping[str, TaskSpec]):
    """Tasks by name, each decoded when it is first asked for."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self._rows = {row.name: row for row in rows}
        self._specs: dict[str, TaskSpec] = {}

    def __getitem__(self, name: str) -> TaskSpec:
        if name not in self._specs:
            self._specs[name] = spec_of(self._rows[name])
        return self._specs[name]

    def __contains__(self, name: object) -> bool:
        return name in self._rows

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)
