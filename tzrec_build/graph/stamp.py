"""Stamps: a record as five short digests, one a part, so that a no-op compares 80 bytes a task and decodes no record."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from typing import Any

PART_BYTES = 16
PARTS = ("params", "code", "env", "inputs", "outputs")  # order of their digests in a stamp


def values_digest(values: Mapping[str, object]) -> bytes:
    """Digest of a part that maps names to texts: params, code, env."""
    return text_digest(json.dumps(values, sort_keys=True))


def text_digest(text: str) -> bytes:
    """Digest of a text; a file name may hold bytes that are no UTF-8."""
    return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=PART_BYTES).digest()


def files_text(files: Iterable[tuple[str, str]]) -> str:
    """Files of a folder or pattern, with their contents, as a text that tells any two such lists apart."""
    items = [f"{name}\0{content}\0" for name, content in files]
    return f"{len(items)}\0{''.join(items)}"


def seen_from(folder: str, names: list[str]) -> list[str]:
    """Names of the files in a folder, for its content.

    A single file with the folder's own name would look like a file in the place of the folder.

    >>> seen_from("data/x", ["x"]), seen_from("data/x", ["x", "y"]), seen_from("data/x", ["y"])
    (['./x'], ['x', 'y'], ['y'])
    """
    return [f"./{names[0]}"] if names == [os.path.basename(folder)] else names


def inputs_text(inputs: Mapping[str, list[dict[str, str]]]) -> str:
    """The inputs part as such a text; `judged.py` builds the same one without the dictionaries."""
    return "".join(
        f"{name}\0{len(paths)}\0{''.join(files_text(files.items()) for files in paths)}"
        for name, paths in inputs.items()
    )


def stamp_of(record: Mapping[str, Any]) -> bytes:
    """The stamp of a record; empty when parts are missing or it is partial, so that the record itself is looked at."""
    if "partial" in record or any(part not in record for part in PARTS):
        return b""
    return b"".join(
        (
            *(values_digest(record[part]) for part in PARTS[:3]),
            text_digest(inputs_text(record["inputs"])),
            text_digest(files_text(record["outputs"].items())),
        )
    )
