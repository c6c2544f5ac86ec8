"""Tool `config`: look at configs and change them by hand. Each command is a module of its own, imported when called."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Mapping, Sequence

from tzrec_build.errors import ConfigError, suggestion
from tzrec_build.tools.entry import run_tool

COMMANDS: Mapping[str, tuple[str, str]] = {  # command -> module with add_flags(parser) and run(args), what it does
    "show": ("tzrec_build.tools.config_show", "print a config, or a part of it, in canonical form"),
    "diff": ("tzrec_build.tools.config_diff", "what differs between two configs in meaning"),
    "lint": ("tzrec_build.tools.config_lint", "check configs by the table of rules, list all findings"),
    "edit": ("tzrec_build.tools.config_edit", "set fields by their path"),
    "canonical": (
        "tzrec_build.tools.config_canonical",
        "print or rewrite configs in canonical form, or check that they are",
    ),
}


class _Parser(argparse.ArgumentParser):
    """A parser that takes flags between the files and edits of one command."""

    def parse_args(self, args: Sequence[str] | None = None, namespace: None = None) -> argparse.Namespace:  # type: ignore[override]
        """Parse flags and positional arguments in any order."""
        return self.parse_intermixed_args(args, namespace)


def make_parser(command: str) -> argparse.ArgumentParser:
    """Flags of one command, or of the tool itself for ""."""
    if not command:
        rows = "\n".join(f"  {name:<10} {words}" for name, (_, words) in COMMANDS.items())
        parser = argparse.ArgumentParser(
            prog="tzrec-build config",
            description=f"commands:\n{rows}\n\ntzrec-build config COMMAND --help shows its flags",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        parser.add_argument("command", metavar="COMMAND", help=f"one of {', '.join(COMMANDS)}")
        return parser
    module, words = COMMANDS[command]
    parser = _Parser(prog=f"tzrec-build config {command}", description=words)
    importlib.import_module(module).add_flags(parser)
    return parser


def main(argv: Sequence[str]) -> int:
    """Run one command; returns the exit code."""
    command = argv[0] if argv and argv[0] in COMMANDS else ""
    if not command:
        return run_tool(make_parser(""), _refuse, argv[:1])
    return run_tool(make_parser(command), importlib.import_module(COMMANDS[command][0]).run, argv[1:])


def _refuse(args: argparse.Namespace) -> None:
    raise ConfigError(f"there is no command {args.command!r}{suggestion(args.command, COMMANDS)}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
