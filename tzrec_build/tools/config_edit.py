"""`config edit`: set fields of a config by their path."""

from __future__ import annotations

import argparse

from tzrec_build.config.diff import diff_configs
from tzrec_build.config.edit import edit_config
from tzrec_build.config.edit_keys import parse_assignment
from tzrec_build.config.load import file_text, missing_fields, parse_config, read_config_text, resolve_compat
from tzrec_build.config.problems import raise_problems
from tzrec_build.errors import ConfigError
from tzrec_build.files import write_text


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    parser.add_argument("file", metavar="FILE", help="config, text or .json")
    parser.add_argument("edits", metavar="PATH=VALUE", nargs="*", help="an edit; several are made in order")
    parser.add_argument(
        "--edit_config_json", default="", help="JSON object of edits: path -> value, made before the others"
    )
    parser.add_argument("--output", default="", help="file to write instead of printing the edited config")
    parser.add_argument(
        "--in_place", action="store_true", help="write FILE itself, in canonical form: comments are lost"
    )
    parser.add_argument("--dry_run", action="store_true", help="print what would change, write nothing")
    parser.add_argument(
        "--allow_unknown", "--allow-unknown", action="store_true", help="leave out fields that the schema does not have"
    )


def run(args: argparse.Namespace) -> None:
    """Edit, then print, write or compare."""
    if args.output and args.in_place:
        raise ConfigError(f"--output: cannot stand beside --in_place, got {args.output!r}; give one of them")
    if args.in_place and args.allow_unknown and not args.dry_run:
        raise ConfigError("--in_place: would lose the fields that --allow_unknown skips, got both; give --output")
    edits: dict[str, object] = {}
    if args.edit_config_json:
        from tzrec_build.tools.project_config import parse_edits

        edits.update(parse_edits(args.edit_config_json))
    pairs = [*edits.items(), *map(parse_assignment, args.edits)]
    if not pairs:
        raise ConfigError("PATH=VALUE: at least one edit must be given, got none; write data_config.batch_size=64")
    text = read_config_text(args.file)
    config = parse_config(text, args.file, allow_unknown=args.allow_unknown)
    edited = config
    for key, value in pairs:  # one by one: the same path may be edited twice
        edited = edit_config(edited, {key: value})
    resolve_compat(edited)
    raise_problems(missing_fields(edited), args.file, text)
    if args.dry_run:
        from tzrec_build.tools.config_diff import print_changes

        print_changes(diff_configs(config, edited))
    elif args.output or args.in_place:
        target = args.output or args.file
        write_text(target, file_text(edited, target))
    else:
        print(file_text(edited, args.file), end="")
