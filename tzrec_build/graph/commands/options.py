"""What our commands share: options behind the names, and clear words for a name or an option that does not exist."""

from __future__ import annotations

import getopt
import re
from typing import Any

from doit.cmdparse import CmdParseError
from doit.exceptions import InvalidCommand

_DOITS_WORDS = r"'(.*)' is not a task\."  # of doit's own commands, for a name that is none
_PARSING = r"(?s)Error parsing Command: (.*?) \(parsing options: .*"  # then the repr of every option


class ClearErrors:
    """Mixed into a command of doit: says which task or option was probably meant, and which pipelines are wrong."""

    name: str
    loader: Any
    task_list: Any

    def parse_execute(self, in_args: list[str]) -> Any:
        """Parse and execute as doit does; a wrong option is told without the list of all as Python objects."""
        try:
            return super().parse_execute(in_args)  # type: ignore[misc]
        except CmdParseError as err:
            found = re.fullmatch(_PARSING, str(err))
            if found is None:
                raise
            command = self.get_name()  # type: ignore[attr-defined]
            raise CmdParseError(f"{found[1]}; `doit help {command}` lists the options") from None

    def execute(self, params: Any, args: list[str]) -> Any:
        """Execute as doit does; a name that is no task is told with what was probably meant."""
        try:
            return super().execute(params, args)  # type: ignore[misc]
        except InvalidCommand as err:
            found = re.fullmatch(_DOITS_WORDS, str(err))
            name = err.not_found or (found and found[1])
            if not name:
                raise
            from tzrec_build.graph.commands.selection import unknown

            more = ("command", self.loader.cmd_names) if self.name == "run" else ()  # bare `doit` takes both
            raise InvalidCommand(unknown(name, self.task_list, *more)) from None


class OptionsAnywhere(ClearErrors):
    """Mixed into a command of doit, which otherwise takes everything behind the first name for a name."""

    cmdparser: Any

    def parse_execute(self, in_args: list[str]) -> Any:
        """Put the options first, then go on as doit does; a wrong option is doit's to report."""
        try:
            options, names = getopt.gnu_getopt(in_args, self.cmdparser.get_short(), self.cmdparser.get_long())
        except getopt.GetoptError:
            return super().parse_execute(in_args)
        flat = [part for name, value in options for part in ([name, value] if value else [name])]
        return super().parse_execute([*flat, "--", *names] if names else flat)
