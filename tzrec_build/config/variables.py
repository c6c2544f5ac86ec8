"""Environment variables with which TorchEasyRec changes its results, and which no code here obeys yet: refused when set."""

from __future__ import annotations

from collections.abc import Mapping

from tzrec_build.errors import NotSupportedError

_OFF = frozenset({"", "0", "false", "False"})
REFUSED: Mapping[str, str] = {  # variable -> what it asks for
    "USE_FARM_HASH_TO_BUCKETIZE": "FarmHash bucket ids",
    "USE_HASH_NODE_ID": "text ids in graph samplers",
    "USE_RTP": "RTP names and export",
    "INPUT_TILE": "user-side tiling",
}


def check_variables(environment: Mapping[str, str]) -> None:
    """Raise NotSupportedError when the environment asks TorchEasyRec for something that we would silently not do.

    >>> check_variables({"USE_RTP": "0"})
    >>> check_variables({"USE_RTP": "1"})
    Traceback (most recent call last):
    tzrec_build.errors.NotSupportedError: not supported yet: RTP names and export in environment variable USE_RTP; unset it
    """
    for name, what in REFUSED.items():
        if environment.get(name, "") not in _OFF:
            raise NotSupportedError(what, f"environment variable {name}; unset it")
