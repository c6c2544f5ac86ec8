"""Errors that a user can cause; each kind owns its exit code (70 is kept for our own bugs, 3 is doit's)."""

from __future__ import annotations

from collections.abc import Iterable


class BuildError(Exception):
    """Base of every error that a user can cause; shown as one line, without a traceback.

    The text reads ``where: what is wrong, got value; what to do``.
    """

    exit_code = 1


class ConfigError(BuildError):
    """A config, a workspace file or a flag is wrong."""

    exit_code = 2


class NotSupportedError(ConfigError):
    """A valid config asks for a part that is not built yet.

    Args:
        what: the field or part by its name in the config.
        where: ``FILE:LINE`` of the place that asks for it.
    """

    def __init__(self, what: str, where: str) -> None:
        super().__init__(f"not supported yet: {what} in {where}")
        self.what = what
        self.where = where


class DataError(BuildError):
    """A table, a checkpoint or another data file is missing, damaged or of the wrong shape."""


class CorruptError(BuildError):
    """Bytes kept by the build (store, state) are not the bytes that were put there."""

    exit_code = 4


def suggestion(name: str, known: Iterable[str]) -> str:
    """Say which known name was probably meant, as the tail of an error message.

    >>> suggestion("topkk", ["topk", "runs"])
    "; did you mean 'topk'?"
    >>> suggestion("zzz", ["topk", "runs"])
    '; known: runs, topk'
    """
    import difflib  # 2 ms that only an error is worth

    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; known: {', '.join(names)}"
