"""What the user's environment and this checkout say about the cache: on or off, where, and how files are restored."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from tzrec_build.errors import ConfigError

LAYOUT = "v1"
SWITCH: Mapping[str, bool] = {"on": True, "off": False}  # values of TZREC_CACHE
LINKS = (
    "auto",
    "copy",
    "hard",
)  # how an object gets into a work tree: shared extents or else a copy, a copy, one inode


def switched_off_by(env: Mapping[str, str], switch_file: str = "") -> str:
    """Say what switches the cache off, or "" when it is on; the environment goes before the file.

    >>> switched_off_by({"TZREC_CACHE": "off"})
    'TZREC_CACHE=off'

    Raises:
        ConfigError: the variable has a value that means nothing.
    """
    switch = env.get("TZREC_CACHE", "")
    if switch and switch not in SWITCH:
        raise ConfigError(f"TZREC_CACHE: must be 'on' or 'off', got {switch!r}")
    if switch:
        return "" if SWITCH[switch] else "TZREC_CACHE=off"
    return switch_file if switch_file and os.path.lexists(switch_file) else ""


def cache_root(env: Mapping[str, str]) -> Path:
    """Name the cache's folder: below ``$TZREC_CACHE_DIR``, else below ``tzrec-build`` in the user's cache folder.

    >>> str(cache_root({"HOME": "/home/ada"}))
    '/home/ada/.cache/tzrec-build/v1'

    Raises:
        ConfigError: the variable is a relative path.
    """
    home = env.get("HOME") or str(Path.home())
    caches = env.get("XDG_CACHE_HOME", "")
    default = os.path.join(caches if os.path.isabs(caches) else os.path.join(home, ".cache"), "tzrec-build")
    folder = env.get("TZREC_CACHE_DIR") or default
    if folder == "~" or folder.startswith("~/"):
        folder = home + folder[1:]
    if not os.path.isabs(folder):
        raise ConfigError(f"TZREC_CACHE_DIR: must be an absolute path, got {folder!r}")
    return Path(folder) / LAYOUT


def link_mode(env: Mapping[str, str]) -> str:
    """Say how files are restored, one of `LINKS`.

    >>> link_mode({})
    'auto'

    Raises:
        ConfigError: TZREC_CACHE_LINK has a value that means nothing.
    """
    mode = env.get("TZREC_CACHE_LINK") or LINKS[0]
    if mode not in LINKS:
        raise ConfigError(f"TZREC_CACHE_LINK: must be one of {', '.join(LINKS)}, got {mode!r}")
    return mode
