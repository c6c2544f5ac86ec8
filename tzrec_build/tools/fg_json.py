"""Tool `fg_json`: the description of all features for the feature generator, with the files that it names."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tzrec_build.files import write_text
from tzrec_build.logs import logger
from tzrec_build.tools.entry import run_tool


@dataclass(frozen=True, slots=True)
class Spec:
    """What to describe; `reserves` are columns that the generator passes on untouched."""

    pipeline_config_path: str
    fg_output_dir: str
    reserves: tuple[str, ...] = ()
    remove_bucketizer: bool = False


def run_fg_json(spec: Spec) -> None:
    """Copy the assets, then write `fg.json`, in TorchEasyRec's form: four spaces, ASCII only, no newline at the end.

    Raises:
        ConfigError: the config is wrong, a vocabulary file is missing, or a part is not supported yet.
    """
    from tzrec_build.config.load import parse_pipeline_config, read_config_text
    from tzrec_build.config.support import check_supported
    from tzrec_build.features.create import create_features
    from tzrec_build.features.fg import copy_assets, fg_json

    text = read_config_text(spec.pipeline_config_path)
    config = parse_pipeline_config(text, spec.pipeline_config_path)
    check_supported(config, spec.pipeline_config_path, text)
    features = create_features(config)
    described = fg_json(features, spec.reserves, remove_bucketizer=spec.remove_bucketizer)
    folder = Path(spec.fg_output_dir)
    copied = {} if spec.remove_bucketizer else copy_assets(features, folder)
    write_text(folder / "fg.json", json.dumps(described, indent=4))
    logger.info("fg.json: %d features, %d files beside it, in %s", len(features), len(set(copied.values())), folder)


def make_parser() -> argparse.ArgumentParser:
    """Flags of the tool."""
    parser = argparse.ArgumentParser(prog="tzrec-build fg_json", description=__doc__)
    parser.add_argument("--pipeline_config_path", required=True, help="config with the features")
    parser.add_argument("--fg_output_dir", required=True, help="folder for fg.json and its assets")
    parser.add_argument("--reserves", default="", help="columns to pass on, joined by commas; default none")
    parser.add_argument("--remove_bucketizer", action="store_true", help="leave out what turns values into ids")
    return parser


def main(argv: Sequence[str]) -> int:
    """Run the tool; returns the exit code."""

    def run(args: argparse.Namespace) -> None:
        reserves = tuple(filter(None, (name.strip() for name in args.reserves.split(","))))
        run_fg_json(Spec(args.pipeline_config_path, args.fg_output_dir, reserves, args.remove_bucketizer))

    return run_tool(make_parser(), run, argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
