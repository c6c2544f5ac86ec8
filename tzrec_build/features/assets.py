"""Files that a feature needs at serving time, named by their content beside fg.json."""

from __future__ import annotations

import hashlib
from pathlib import Path

_CHUNK_BYTES = 1 << 20


def asset_name(path: Path) -> str:
    """Name of the copy beside fg.json: ``<stem>_<md5 of the content><ext>``."""
    content = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            content.update(chunk)
    return f"{path.stem}_{content.hexdigest()}{path.suffix}"
