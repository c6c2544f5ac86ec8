"""The argument list of a command: what ``{inputs.NAME}`` and the like become when the command is run."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from tzrec_build.errors import ConfigError, suggestion

PLACEHOLDER = re.compile(r"\{(\{)?([A-Za-z_][A-Za-z0-9_.]*)([+-][0-9]+)?\}(?(1)\})")


def expand_command(command: Sequence[str], values: Mapping[str, Sequence[str]], where: str) -> list[str]:
    """Make the argument list of a step: no shell, so that no file name is ever taken for syntax.

    Args:
        command: as StepSpec has it.
        values: "inputs.raw", "outputs.table", "params.x", "threads" -> its texts.
        where: of the step, for a message.

    Returns:
        An argument that is one placeholder becomes as many arguments as it has texts; inside of a longer argument the
        texts are joined by commas, as every tool here takes lists.

    Raises:
        ConfigError: a placeholder that `values` does not have.

    >>> expand_command(["cp", "{inputs.a}", "--to={outputs.b}"], {"inputs.a": ["x", "y"], "outputs.b": ["z"]}, "")
    ['cp', 'x', 'y', '--to=z']
    """

    def replace(found: re.Match[str]) -> str:
        return found[0][1:-1] if found[1] else ",".join(_texts_of(found, values, where))

    arguments: list[str] = []
    for argument in command:
        whole = PLACEHOLDER.fullmatch(argument)
        if whole and not whole[1]:
            arguments.extend(_texts_of(whole, values, where))
        else:
            arguments.append(PLACEHOLDER.sub(replace, argument))
    return arguments


def _texts_of(found: re.Match[str], values: Mapping[str, Sequence[str]], where: str) -> Sequence[str]:
    name = found[2] + (found[3] or "")
    if name not in values:
        raise ConfigError(f"{where}: unknown placeholder {found[0]}{suggestion(name, values)}")
    return values[name]
