"""The tasks of a workspace as bytes and back: a no-op reads them in 2 ms, where TOML, checks, configs and rules take 100 ms."""

from __future__ import annotations

import marshal
import os
import sys
import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from tzrec_build.errors import CorruptError
from tzrec_build.graph.rows import Row

VERSION = 3  # raise with any change of what is written: fields are stored by position
MARK = b"tzrec tasks %d, python %x\n" % (VERSION, sys.hexversion)
SUM_BYTES = 4  # CRC-32 of what follows: marshal may end the process on damaged bytes


class Seen(NamedTuple):
    """What the tasks were made from; they hold while all of it is the same.

    Attributes:
        root: the checkout.
        toml: absolute path of every TOML file, in order.
        files: those, the configs and the code that reads them -> xxh3-128, b"" where there is none.
        env: environment variables that [each] names, with the values seen.
        globs: (folder, pattern, matches) of every glob in [each].
    """

    root: str
    toml: tuple[str, ...]
    files: tuple[tuple[str, bytes], ...]
    env: tuple[tuple[str, str], ...]
    globs: tuple[tuple[str, str, tuple[str, ...]], ...]


class Compiled(NamedTuple):
    """All that doit is told.

    Attributes:
        seen: what it was made from.
        rows: every task.
        defaults: names of those that bare ``doit`` builds.
        settings: values of workspace.toml that a build needs (resources, max_cost_s).
    """

    seen: Seen
    rows: tuple[Row, ...]
    defaults: tuple[str, ...]
    settings: dict[str, Any]


def dumps(compiled: Compiled) -> bytes:
    """Write compiled tasks as a version line and marshalled plain tuples."""
    rows = tuple(tuple(row) for row in compiled.rows)
    plain: Any = (tuple(compiled.seen), rows, compiled.defaults, compiled.settings)
    body = marshal.dumps(plain)
    return MARK + zlib.crc32(body).to_bytes(SUM_BYTES) + body


def loads(data: bytes) -> Compiled:
    """Read what `dumps` wrote.

    Raises:
        CorruptError: other bytes, or of another version; compile anew then.
    """
    if not data.startswith(MARK):
        raise CorruptError(f"compiled tasks: must begin with {MARK!r}, got {data[: len(MARK)]!r}; compile anew")
    start = len(MARK) + SUM_BYTES
    body = memoryview(data)[start:]
    if zlib.crc32(body).to_bytes(SUM_BYTES) != data[len(MARK) : start]:
        raise CorruptError("compiled tasks: must be the bytes that were written, got another checksum; compile anew")
    seen, rows, defaults, settings = marshal.loads(body)  # noqa: S302 - our own file, checked above
    return Compiled(Seen(*seen), tuple([Row(*row) for row in rows]), defaults, settings)


def toml_files(root: str) -> tuple[str, ...]:
    """Every TOML file of a workspace that there is now."""
    base = f"{root}/workspace"
    try:
        names = sorted(os.listdir(base))
    except OSError:
        return ()
    found = [f"{base}/workspace.toml"] if "workspace.toml" in names else []
    found += [path for name in names if name[0] != "." and os.path.lexists(path := f"{base}/{name}/pipeline.toml")]
    return tuple(found)


def still_holds(seen: Seen, root: str, environment: Mapping[str, str]) -> bool:
    """Tell whether compiled tasks are still those of their surroundings, apart from the content of files.

    Looks at the place, the set of TOML files, the environment variables and the globs of [each]; the caller compares the
    digests of `Seen.files`.
    """
    if seen.root != root or toml_files(root) != seen.toml:
        return False
    if any(environment.get(name, "") != value for name, value in seen.env):
        return False
    if not seen.globs:
        return True
    from tzrec_build.graph.expand import list_files

    return all(list_files(folder, pattern) == found for folder, pattern, found in seen.globs)
