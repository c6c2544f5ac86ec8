"""Tool `feature_info`: a config with the sizes of features that were found by looking at the data."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from tzrec_build.config.feature_update import UpdateReport, update_features
from tzrec_build.config.load import load_pipeline_config, save_pipeline_config
from tzrec_build.data.paths import find_files
from tzrec_build.errors import ConfigError, NotSupportedError
from tzrec_build.files import write_json
from tzrec_build.protos.tzrec.pipeline_pb2 import EasyRecConfig
from tzrec_build.tools.entry import run_tool
from tzrec_build.tools.feature_info_table import load_infos

READERS = {"CsvReader": (".csv",), "ParquetReader": (".parquet",), "OdpsReader": ()}


@dataclass(frozen=True, slots=True)
class Spec:
    """A config and the table about its features."""

    template_model_config_path: str
    config_table_path: str


def apply_feature_info(spec: Spec) -> tuple[EasyRecConfig, EasyRecConfig, UpdateReport]:
    """Read config and table, and update the config.

    Returns:
        The config as it was, the new one, and what happened.
    Raises:
        ConfigError: the config is wrong, or a row does not fit it; all such rows are listed.
        DataError: the table cannot be read, or rows are wrong; all are listed.
    """
    config = load_pipeline_config(spec.template_model_config_path)
    infos, notes = load_infos(spec.config_table_path)
    new, report = update_features(config, infos)
    report.notes[:0] = notes
    return config, new, report


def report_lines(report: UpdateReport) -> list[str]:
    """Write a report for people: the counts, then everything that did not match."""
    counts = f"{len(report.updated)} feature(s) updated, {len(report.dropped)} dropped"
    lines = [counts + (f": {', '.join(report.dropped)}" if report.dropped else "")]
    lines += report.notes
    lines += [f"row without a feature in the config: {row}" for row in report.unmatched_rows]
    if report.unmatched_features:
        lines.append(f"feature(s) without a row, left as they are: {', '.join(report.unmatched_features)}")
    return lines


def report_json(report: UpdateReport, files: Sequence[str]) -> dict[str, list[str]]:
    """Give a report as JSON values; the table's files go by their names, so that it is the same wherever they lie."""

    def short(text: str) -> str:
        for file in files:
            text = text.replace(f"{file}:", f"{os.path.basename(file)}:")
        return text

    return {name: [short(text) for text in texts] for name, texts in asdict(report).items()}


def make_parser() -> argparse.ArgumentParser:
    """Flags of the tool."""
    parser = argparse.ArgumentParser(prog="tzrec-build feature_info", description=__doc__)
    parser.add_argument("--template_model_config_path", required=True, help="config to update, text or .json")
    parser.add_argument(
        "--config_table_path", required=True, help="table with the columns feature, feature_info, message"
    )
    parser.add_argument("--model_config_path", default="", help="config to write")
    parser.add_argument("--report_path", default="", help="report to write as JSON (default: print it only)")
    parser.add_argument(
        "--reader_type", default="", help="CsvReader or ParquetReader; the files' names decide when it is not given"
    )
    parser.add_argument("--odps_data_quota_name", default="", help="only for MaxCompute tables, which are refused")
    parser.add_argument("--dry_run", action="store_true", help="print what would change, write nothing")
    return parser


def _check_flags(args: argparse.Namespace) -> None:
    path = args.config_table_path
    if args.reader_type == "OdpsReader" or path.startswith("odps://") or args.odps_data_quota_name:
        raise NotSupportedError(
            "MaxCompute tables", f"--config_table_path {path}; download the table as .csv or .parquet"
        )
    if args.reader_type and args.reader_type not in READERS:
        raise ConfigError(f"--reader_type: must be one of {', '.join(READERS)}, got {args.reader_type!r}; leave it out")
    if args.reader_type and not any(suffix in path.lower() for suffix in READERS[args.reader_type]):
        raise ConfigError(f"--reader_type: must fit the table's name, got {args.reader_type} for {path}; leave it out")
    if not args.model_config_path and not args.dry_run:
        raise ConfigError("--model_config_path: must name the config to write, got none; give it, or --dry_run")


def _run(args: argparse.Namespace) -> None:
    _check_flags(args)
    config, new, report = apply_feature_info(Spec(args.template_model_config_path, args.config_table_path))
    if args.dry_run:
        from tzrec_build.config.diff import diff_configs
        from tzrec_build.tools.config_diff import print_changes

        print_changes(diff_configs(config, new))
    else:
        save_pipeline_config(new, args.model_config_path)
        if args.report_path:
            write_json(args.report_path, report_json(report, find_files(args.config_table_path)))
    print("\n".join(report_lines(report)), file=sys.stderr if args.dry_run else sys.stdout)


def main(argv: Sequence[str]) -> int:
    """Run the tool; returns the exit code."""
    return run_tool(make_parser(), _run, argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
