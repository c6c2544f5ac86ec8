"""Options that may also stand behind the names: ``doit why train:x -v``."""

from __future__ import annotations

import getopt
from typing import Any


class OptionsAnywhere:
    """Mixed into a command of doit, which otherwise takes everything behind the first name for a name."""

    cmdparser: Any

    def parse_execute(self, in_args: list[str]) -> Any:
        """Put the options first, then go on as doit does; a wrong option is doit's to report."""
        try:
            options, names = getopt.gnu_getopt(in_args, self.cmdparser.get_short(), self.cmdparser.get_long())
        except getopt.GetoptError:
            return super().parse_execute(in_args)  # type: ignore[misc]
        flat = [part for name, value in options for part in ([name, value] if value else [name])]
        return super().parse_execute([*flat, "--", *names] if names else flat)  # type: ignore[misc]
