"""A loaded workspace as bytes and back: 50 pipelines load in about 1 ms, where TOML and its checks take 100 ms."""

from __future__ import annotations

import marshal
import os
import zlib
from collections.abc import Callable, Mapping
from typing import Any

from tzrec_build.errors import CorruptError
from tzrec_build.graph.grammar import (
    BenchmarkSpec,
    CacheSpec,
    ConfigSpec,
    DataSpec,
    EvalSpec,
    ExportSpec,
    FgSpec,
    HitrateSpec,
    IndexSpec,
    PickSpec,
    PipelineSpec,
    PredictSpec,
    SelectSpec,
    StepSpec,
    TrainSpec,
    Workspace,
)

VERSION = 2  # raise with any change of grammar.py: fields are stored by position
MARK = b"tzrec workspace %d\n" % VERSION
SUM_BYTES = 4  # CRC-32 of what follows: marshal may end the process on damaged bytes
LEAVES: Mapping[str, Callable[..., Any]] = {  # field of PipelineSpec -> what its value, if any, is made with
    "config": ConfigSpec,
    "data": DataSpec,
    "train": TrainSpec,
    "pick": PickSpec,
    "select": SelectSpec,
    "fg": FgSpec,
    "export": ExportSpec,
    "index": IndexSpec,
    "hitrate": HitrateSpec,
    "benchmark": BenchmarkSpec,
}
LISTS: Mapping[str, Callable[..., Any]] = {"evals": EvalSpec, "predicts": PredictSpec, "steps": StepSpec}


def dumps(workspace: Workspace) -> bytes:
    """Write a workspace as a version line and marshalled plain tuples."""
    fields = [_plain(getattr(workspace, name)) for name in Workspace.__slots__]
    at = Workspace.__slots__.index("pipelines")
    fields[at] = tuple(
        tuple(_plain(getattr(pipeline, name)) for name in PipelineSpec.__slots__) for pipeline in workspace.pipelines
    )
    body = marshal.dumps(tuple(fields))
    return MARK + zlib.crc32(body).to_bytes(SUM_BYTES) + body


def _plain(value: Any) -> Any:
    """Turn named tuples into tuples: marshal takes the very type only."""
    return tuple(_plain(item) for item in value) if isinstance(value, tuple) else value


def loads(data: bytes) -> Workspace:
    """Read what `dumps` wrote.

    Raises:
        CorruptError: other bytes, or of another version; load the TOML files then.
    """
    if not data.startswith(MARK):
        raise CorruptError(f"compiled workspace: must begin with {MARK!r}, got {data[: len(MARK)]!r}; load it anew")
    start = len(MARK) + SUM_BYTES
    body = data[start:]
    if zlib.crc32(body).to_bytes(SUM_BYTES) != data[len(MARK) : start]:
        raise CorruptError(
            "compiled workspace: must be the bytes that were written, got another checksum; load it anew"
        )
    fields = dict(zip(Workspace.__slots__, marshal.loads(body), strict=True))  # noqa: S302 - our own file, checked above
    fields["cache"] = CacheSpec(*fields["cache"])
    fields["pipelines"] = tuple([_pipeline(row) for row in fields["pipelines"]])
    return Workspace(**fields)


def _pipeline(row: tuple[Any, ...]) -> PipelineSpec:
    fields = dict(zip(PipelineSpec.__slots__, row, strict=True))
    for name, leaf in LEAVES.items():
        if fields[name] is not None:
            fields[name] = leaf(*fields[name])
    for name, leaf in LISTS.items():
        if fields[name]:
            fields[name] = tuple([leaf(*item) for item in fields[name]])
    return PipelineSpec(**fields)


def still_holds(workspace: Workspace, root: str, environment: Mapping[str, str]) -> bool:
    """Tell whether a compiled workspace is still that of its surroundings, apart from the content of its TOML files.

    Looks at the place, the set of files, the environment variables and the globs of [each]; the caller compares the
    digests of `workspace.files`.
    """
    if workspace.root != root:
        return False
    found = []
    base = f"{root}/workspace"
    if os.path.lexists(f"{base}/workspace.toml"):
        found.append(f"{base}/workspace.toml")
    try:
        names = sorted(os.listdir(base))
    except OSError:
        return False
    found += [path for name in names if name[0] != "." and os.path.lexists(path := f"{base}/{name}/pipeline.toml")]
    if tuple(found) != workspace.files:
        return False
    if any(environment.get(name, "") != value for name, value in workspace.env):
        return False
    if not workspace.globs:
        return True
    from tzrec_build.graph.expand import list_files

    return all(list_files(folder, pattern) == seen for folder, pattern, seen in workspace.globs)
