"""Parts of the grammar that are read and checked but not built yet: the one table to shorten when a part is built."""

from __future__ import annotations

from typing import NamedTuple


class NotBuilt(NamedTuple):
    """One row: the key of a table, with the values that do work (none: setting it at all is refused)."""

    table: str
    key: str
    built: tuple[object, ...] = ()


NOT_BUILT: tuple[NotBuilt, ...] = (
    NotBuilt("data", "fingerprint", ("content", "stat", "lock")),
    NotBuilt("train", "processes", (1,)),
    NotBuilt("train", "nodes", (1,)),
    NotBuilt("train", "launcher"),
    NotBuilt("train", "cache", ("full", "none")),
    NotBuilt("export", "mode", ("script",)),
    NotBuilt("cache", "remote"),
)
URLS_BUILT: tuple[str, ...] = ()  # schemes ("https", "odps", ...) that path texts may use
