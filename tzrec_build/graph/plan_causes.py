"""From a record and a snapshot to the causes between them (`causes.py`), also where a snapshot is of files that will be."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from tzrec_build.graph import texts
from tzrec_build.graph.causes import (
    Cause,
    Contents,
    InputFiles,
    code_causes,
    environment_causes,
    input_causes,
    output_causes,
    parameter_causes,
)
from tzrec_build.graph.digests import is_glob
from tzrec_build.graph.fresh import Judge, Snapshot
from tzrec_build.graph.preview import Files
from tzrec_build.graph.spec import TaskSpec

_SHA = "sha256:"  # marks the content of a file that is not on disk yet (`Judge.snapshot(made=)`)


class Teller:
    """Tells the causes for which tasks are stale.

    Args:
        judge: the judge of this process.
        place: absolute path of a file -> where the content that it will have can be read, or None.
    """

    def __init__(self, judge: Judge, place: Callable[[str], str | None]) -> None:
        self._judge, self._place = judge, place
        state = judge.state
        self._contents = Contents(
            size=lambda content: texts.sizes(state, [content]).get(content),
            old_text=lambda content: texts.text(state, content),
            new_text=self._new_text,
            new_size=self._new_size,
        )

    def causes(
        self,
        spec: TaskSpec,
        record: Mapping[str, Any] | None,
        snapshot: Snapshot,
        made: Mapping[str, Files],
        *,
        every: bool,
        hidden: Collection[str] = (),
    ) -> tuple[Cause, ...]:
        """The first cause, or every one.

        Args:
            spec: the task.
            record: of its last good run.
            snapshot: its parts as they are, or will be.
            made: the artifacts that the snapshot took from a listing.
            every: not the first alone.
            hidden: artifact folders whose content cannot be known yet.
        """
        if record is None:
            return (Cause("record", spec.name, "never built here"),)
        if not isinstance(record.get("outputs"), dict):
            return (Cause("record", spec.name, "its record is damaged"),)
        if "partial" in record:
            return (Cause("record", spec.name, f"partial, salvaged at step {record['partial']}"),)
        found = self._all(spec, record, snapshot, made, hidden)
        if every:
            return tuple(found)
        first = next(found, None)
        return () if first is None else (first,)

    def _all(
        self,
        spec: TaskSpec,
        record: Mapping[str, Any],
        snapshot: Snapshot,
        made: Mapping[str, Files],
        hidden: Collection[str],
    ) -> Iterator[Cause]:
        yield from self._inputs(spec, record.get("inputs", {}), snapshot, made, hidden)
        yield from parameter_causes(record.get("params", {}), snapshot.params)
        yield from code_causes(record.get("code", {}), snapshot.code)
        yield from environment_causes(record.get("env", {}), snapshot.env)
        yield from output_causes(spec.out, record["outputs"], self._judge.outputs(spec))

    def _inputs(
        self,
        spec: TaskSpec,
        before: Mapping[str, list[Mapping[str, str]]],
        snapshot: Snapshot,
        made: Mapping[str, Files],
        hidden: Collection[str],
    ) -> Iterator[Cause]:
        known = {entry.name: entry for entry in spec.inputs}
        for name in sorted({*before, *known}):
            old = before.get(name, [])
            if name not in known:
                yield Cause("input", name, f"input {name}: is no longer read")
                continue
            if name not in before:
                yield Cause("input", name, f"input {name}: is new")
                continue
            new = snapshot.inputs[name]
            if len(old) != len(new):
                text = f"input {name}: {len(old)} paths → {len(new)} paths"
                yield Cause("input", name, text, f"{len(old)} paths", f"{len(new)} paths")
                continue
            for path, one, other in zip(known[name].paths, old, new, strict=True):
                if not _inside(_absolute(spec, path), hidden):
                    yield from input_causes(self._files(spec, path, one, other, made), self._contents)

    def _files(
        self, spec: TaskSpec, path: str, old: Mapping[str, str], new: Mapping[str, str], made: Mapping[str, Files]
    ) -> InputFiles:
        base = _base(spec, path, made)

        def absolute(name: str) -> str:
            return os.path.normpath(os.path.join(spec.folder, base, name))

        def shown(name: str) -> str:
            return os.path.normpath(os.path.join(base, name))

        if any(_SHA in content for content in new.values()):
            new = {name: self._as_recorded(content, old.get(name), absolute(name)) for name, content in new.items()}
        return InputFiles(old, new, shown, absolute)

    def _as_recorded(self, content: str, old: str | None, path: str) -> str:
        """The recorded content where the file will be what it was then; told by the file on disk, if it still is that one."""
        if old is None or self._judge.digests.content(path) != old:
            return content
        sha = self._judge.digests.sha256(path)
        return old if content == f"{'x' if old[0] == 'x' else ''}{_SHA}{sha}" else content

    def _new_text(self, path: str) -> str | None:
        place = self._place(path)
        try:
            if place is None or not path.endswith(texts.KEPT_SUFFIXES) or os.path.getsize(place) > texts.KEPT_BYTES:
                return None
            with open(place, encoding="utf-8") as file:
                return file.read()
        except (OSError, UnicodeDecodeError):
            return None  # the words get poorer, the cause stays

    def _new_size(self, path: str) -> int | None:
        place = self._place(path)
        try:
            return None if place is None else os.path.getsize(place)
        except OSError:
            return None


def _absolute(spec: TaskSpec, path: str) -> str:
    return os.path.normpath(os.path.join(spec.folder, path))


def _inside(path: str, folders: Collection[str]) -> bool:
    return any(path == folder or path.startswith(folder + "/") for folder in folders)


def _base(spec: TaskSpec, path: str, made: Mapping[str, Files]) -> str:
    """What the names of a path's files are relative to: the folder itself, that of a file, or the part of a glob without marks."""
    if is_glob(path):
        return texts.base_of(spec.folder, path)
    absolute = _absolute(spec, path)
    for folder, files in made.items():
        if absolute.startswith(folder + "/"):
            return os.path.dirname(path) if absolute[len(folder) + 1 :] in files else path
    return path if absolute in made else texts.base_of(spec.folder, path)
