"""Which Python of the user's own a step's command starts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from tzrec_build.graph.digests import is_glob
from tzrec_build.graph.spec import Input

_PYTHON = re.compile(r"(?:.*/)?python(?:3(?:\.\d+)?)?")
_WITH_VALUE = ("-W", "-X", "--check-hash-based-pycs")  # options of the interpreter that take the next argument
_INPUT = re.compile(r"\{inputs\.([A-Za-z_][A-Za-z0-9_]*)\}")


def started_code(command: Sequence[str], inputs: Iterable[Input]) -> tuple[str, ...]:
    """Name the script or module that a command starts, as `TaskSpec.code` has it: none for another program, or for ``python -c``.

    Args:
        command: as StepSpec has it, placeholders and all.
        inputs: of the step, for a script that is named as one; a script that another task makes is left out.

    >>> started_code(["python", "-u", "clean.py", "x"], []), started_code(["python3.12", "-m", "pkg.tool"], [])
    (('clean.py',), ('pkg.tool',))
    >>> started_code(["python", "{inputs.script}"], [Input("script", ("run",))]), started_code(["sh", "clean.py"], [])
    (('./run',), ())
    """
    if not command or not _PYTHON.fullmatch(command[0]):
        return ()
    rest = iter(command[1:])
    for word in rest:
        if word == "-m":
            module = next(rest, "")
            return (module,) if module and "{" not in module else ()
        if word in _WITH_VALUE:
            next(rest, "")
        elif word.startswith("-"):
            if word.startswith("-c"):
                return ()
        else:
            return _script(word, {entry.name: entry for entry in inputs})
    return ()


def _script(word: str, inputs: dict[str, Input]) -> tuple[str, ...]:
    named = _INPUT.fullmatch(word)
    if named:
        entry = inputs.get(named[1])
        if entry is None or len(entry.paths) != 1 or entry.made or is_glob(entry.paths[0]):
            return ()
        word = entry.paths[0]
    if "{" in word:
        return ()
    return (word if "/" in word or word.endswith(".py") else f"./{word}",)
