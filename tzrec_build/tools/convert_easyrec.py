"""Tool `convert_easyrec`: a TorchEasyRec config from an EasyRec config, with a receipt for every field."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tzrec_build.errors import ConfigError
from tzrec_build.files import write_json, write_text
from tzrec_build.tools.entry import run_tool

if TYPE_CHECKING:
    from tzrec_build.config.easyrec.fg_json import FgJson

REPORT_NAME = "conversion_report.json"
REPORT_VERSION = 1


@dataclass(frozen=True, slots=True)
class Spec:
    """What to convert, with which schema, and where to.

    `fg_json_path` "" takes the one that the config names; `use_old_fg` goes by the config and only looks expressions up.
    """

    easyrec_config_path: str
    output_tzrec_config_path: str
    report_path: str = ""
    table_path: str = ""
    fg_json_path: str = ""
    use_old_fg: bool = False
    easyrec_package_path: str = ""
    easyrec_package_sha256: str = ""
    strict: bool = False


def run_convert(spec: Spec) -> dict[str, Any]:
    """Convert one config; write the result and its receipt.

    Returns:
        The receipt, see `tzrec_build.config.easyrec.receipt.report`. It is written also when the conversion fails.

    Raises:
        ConfigError: a file is wrong; something has no counterpart (all of it is named); with `strict`, a field was dropped.
    """
    from tzrec_build.config.easyrec.convert import convert
    from tzrec_build.config.easyrec.files import raise_refusals, read_easyrec
    from tzrec_build.config.easyrec.receipt import report, table
    from tzrec_build.config.load import canonical_text

    path = spec.easyrec_config_path
    source = read_easyrec(path, spec.easyrec_package_path, spec.easyrec_package_sha256)
    converted = convert(source, _fg_json(spec, source), use_old_fg=spec.use_old_fg)
    head = {"version": REPORT_VERSION, "source": os.path.basename(path), "strict": spec.strict}
    content = report(converted.receipt, converted.leaves, head)
    write_json(spec.report_path or _beside(spec.output_tzrec_config_path), content)
    if spec.table_path:
        write_text(spec.table_path, table(content))
    raise_refusals(converted, path)
    if spec.strict and content["counts"]["dropped"]:
        _raise_drops(content, path)
    write_text(spec.output_tzrec_config_path, canonical_text(converted.config))
    return content


def _fg_json(spec: Spec, source: Any) -> FgJson | None:
    if not spec.fg_json_path and not getattr(source, "fg_json_path", ""):
        return None
    from tzrec_build.config.easyrec.fg_json import find_fg_json  # few configs have one

    return find_fg_json(spec.fg_json_path, source, spec.easyrec_config_path)


def _beside(output: str) -> str:
    return os.path.join(os.path.dirname(output), REPORT_NAME)


def _raise_drops(content: dict[str, Any], path: str) -> None:
    rows = [row for row in content["fields"] if row["result"] == "dropped"]
    lines = [f"{path}: {row['source']} = {row['value']} is dropped: {row['note']}" for row in rows]
    raise ConfigError(
        "\n".join([*lines, f"{path}: --strict allows no dropped field, got {len(rows)}; remove them or --strict"])
    )


def main(argv: Sequence[str]) -> int:
    """Run the tool; see --help."""
    parser = argparse.ArgumentParser(
        prog="convert_easyrec",
        description="Convert an EasyRec config to a TorchEasyRec config, with a receipt for every field.",
    )
    parser.add_argument("--easyrec_config_path", required=True, help="the EasyRec config, text format")
    parser.add_argument("--output_tzrec_config_path", required=True, help="the config to write")
    parser.add_argument(
        "--report_path", default="", help=f"the receipt to write (default: {REPORT_NAME} beside the config)"
    )
    parser.add_argument("--table_path", default="", help="the receipt as text to write (default: print it only)")
    parser.add_argument(
        "--fg_json_path", default="", help="EasyRec's fg.json (default: the one that the config names, if any)"
    )
    parser.add_argument(
        "--use_old_fg",
        action="store_true",
        help="features of the config, only their inputs from fg.json; else features of fg.json",
    )
    parser.add_argument(
        "--easyrec_package_path",
        default="",
        help="EasyRec wheel, zip or tar, path or URL, whose schema to use (default: ours)",
    )
    parser.add_argument("--easyrec_package_sha256", default="", help="digest that the package must have")
    parser.add_argument("--strict", action="store_true", help="fail when a field is dropped")
    return run_tool(parser, _run, argv)


def _run(args: argparse.Namespace) -> None:
    from tzrec_build.config.easyrec.receipt import table

    if args.easyrec_package_sha256 and not args.easyrec_package_path:
        raise ConfigError("--easyrec_package_sha256: needs --easyrec_package_path, got none; give both or neither")
    spec = Spec(
        args.easyrec_config_path,
        args.output_tzrec_config_path,
        args.report_path,
        args.table_path,
        args.fg_json_path,
        args.use_old_fg,
        args.easyrec_package_path,
        args.easyrec_package_sha256,
        args.strict,
    )
    print(table(run_convert(spec)), end="")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
