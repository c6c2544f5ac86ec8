"""`config diff`: what differs between two configs in meaning."""

from __future__ import annotations

import argparse

from tzrec_build.config.diff import Change, diff_configs
from tzrec_build.config.load import parse_config, read_config_text


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    parser.add_argument("old", metavar="OLD", help="config, text or .json")
    parser.add_argument("new", metavar="NEW", help="the other config")
    parser.add_argument("--json", action="store_true", help="print a list of objects with path, old and new")
    parser.add_argument("--exit-code", "--exit_code", action="store_true", help="exit with 1 when the configs differ")
    parser.add_argument(
        "--allow_unknown", "--allow-unknown", action="store_true", help="leave out fields that the schema does not have"
    )


def run(args: argparse.Namespace) -> int:
    """Print the differences; returns 1 when there are some and --exit-code asks for it."""
    old, new = (
        parse_config(read_config_text(path), path, allow_unknown=args.allow_unknown) for path in (args.old, args.new)
    )
    changes = diff_configs(old, new)
    if args.json:
        import json

        rows = [{"path": change.path, "old": change.old, "new": change.new} for change in changes]
        print(json.dumps(rows, indent=2, ensure_ascii=False))
    else:
        print_changes(changes)
    return 1 if changes and args.exit_code else 0


def print_changes(changes: list[Change]) -> None:
    """Print one line for each change: ``+`` added, ``-`` removed, ``~`` another value or place."""
    for change in changes:
        print(change_line(change))


def change_line(change: Change) -> str:
    """Write a change in one line.

    >>> change_line(Change("data_config.batch_size", "8", "16"))
    '~ data_config.batch_size: 8 → 16'
    >>> change_line(Change("model_dir", "", '"m"'))
    '+ model_dir: "m"'
    """
    if not change.old:
        return f"+ {change.path}: {change.new}"
    if not change.new:
        return f"- {change.path}: {change.old}"
    return f"~ {change.path}: {change.old} → {change.new}"
