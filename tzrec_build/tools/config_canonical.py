"""`config canonical`: configs in canonical form: fields by number, two spaces, no comments."""

from __future__ import annotations

import argparse

from tzrec_build.config.load import file_text, parse_config, read_config_text
from tzrec_build.errors import ConfigError
from tzrec_build.files import write_text


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    parser.add_argument("files", metavar="FILE", nargs="+", help="configs, text or .json")
    parser.add_argument(
        "--check", action="store_true", help="write nothing, name the files that differ, exit with 1 for any"
    )
    parser.add_argument("--write", action="store_true", help="rewrite the files: comments are lost")


def run(args: argparse.Namespace) -> int:
    """Print, check or rewrite; returns 1 when --check found a file that differs."""
    if args.check and args.write:
        raise ConfigError("--check: writes nothing, got --write as well; give one of them")
    if len(args.files) > 1 and not (args.check or args.write):
        raise ConfigError(f"FILE: one config can be printed, got {len(args.files)}; add --check or --write")
    texts = {path: read_config_text(path) for path in args.files}
    forms = {
        path: file_text(parse_config(text, path), path) for path, text in texts.items()
    }  # all parse before one is written
    differ = [path for path in forms if forms[path] != texts[path]]
    if args.write:
        for path in differ:
            write_text(path, forms[path])
            print(f"{path}: rewritten")
    elif args.check:
        for path in differ:
            print(f"{path}: not in canonical form")
        return 1 if differ else 0
    else:
        print(forms[args.files[0]], end="")
    return 0
