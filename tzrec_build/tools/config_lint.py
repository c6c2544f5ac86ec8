"""`config lint`: check configs by the table of rules; every finding of every file is listed."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass

from tzrec_build.config.lint import LEVELS, RULES, findings
from tzrec_build.config.lint_data import declared_columns
from tzrec_build.config.load import parse_config, read_config_text
from tzrec_build.config.positions import positions
from tzrec_build.config.subject import Subject
from tzrec_build.errors import ConfigError, DataError, suggestion
from tzrec_build.protos.tzrec.data_pb2 import DataConfig

UNREADABLE = "syntax"  # the rule of a file that does not parse


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding with its place in a file; `line` and `column` count from 1, 0 where the file could not be read."""

    file: str
    line: int
    column: int
    level: str
    rule: str
    path: str
    message: str
    remedy: str


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    parser.add_argument("files", metavar="FILE", nargs="+", help="configs, text or .json")
    parser.add_argument(
        "--data", default="", help="table whose columns the configs are checked against: .parquet or .csv files"
    )
    parser.add_argument("--ignore", default="", help="rules to leave out, by comma")
    parser.add_argument("--strict", action="store_true", help="exit with 2 on warnings and unsupported parts as well")
    parser.add_argument("--json", action="store_true", help="print a list of objects")
    parser.add_argument(
        "--allow_unknown", "--allow-unknown", action="store_true", help="leave out fields that the schema does not have"
    )


def run(args: argparse.Namespace) -> int:
    """Print all findings; returns 2 when a config has errors (with --strict: any finding)."""
    ignored = _parse_ignored(args.ignore)
    found = [
        finding
        for file in args.files
        for finding in lint_file(file, args.data, allow_unknown=args.allow_unknown)
        if finding.rule not in ignored
    ]
    if args.json:
        import json

        print(json.dumps([asdict(finding) for finding in found], indent=2, ensure_ascii=False))
    else:
        _print(found, len(args.files))
    return 2 if any(args.strict or finding.level == "error" for finding in found) else 0


def lint_file(file: str, data: str = "", *, allow_unknown: bool = False) -> list[Finding]:
    """Check one file.

    Args:
        file: config, text or .json; one that does not parse is one finding of the rule ``syntax``.
        data: a table for the rule ``missing-column``, "" for none.
        allow_unknown: leave out fields that the schema does not have.
    Raises:
        DataError: the table cannot be read.
    """
    try:
        text = read_config_text(file)
        config = parse_config(text, file, allow_unknown=allow_unknown)
    except ConfigError as err:
        return [Finding(file, 0, 0, "error", UNREADABLE, "", str(err), "")]
    columns = read_columns(data, config.data_config) if data else None
    index = positions(text)
    found = []
    for problem in findings(Subject(config, text, columns)):
        message, _, remedy = problem.text.rpartition("; ")
        line, column = index.place(problem.field_path)
        level = LEVELS[problem.rule]
        found.append(Finding(file, line, column, level, problem.rule, problem.field_path, message, remedy))
    return sorted(found, key=lambda finding: (finding.line, finding.column))


def read_columns(data: str, form: DataConfig) -> Mapping[str, str]:
    """Read the names of the columns that all files of a table have; of CSV files without a header those that are declared.

    Raises:
        DataError: a file is missing, or is no table.
    """
    from tzrec_build.data.paths import find_files, table_kind  # only with --data

    files = find_files(data)
    if table_kind(files) == "parquet":
        return _common(_parquet_columns(file) for file in files)
    if form.with_header:
        return _common(_csv_header(file, form.delimiter) for file in files)
    declared = declared_columns(form)
    if not declared:
        raise DataError(
            f"{files[0]}: a CSV needs data_config.with_header or input_fields, got neither; set one of them"
        )
    return dict.fromkeys(declared, "declared")


def _csv_header(file: str, delimiter: str) -> dict[str, str]:
    import csv

    with open(file, encoding="utf-8-sig", newline="") as lines:
        try:
            return dict.fromkeys(next(csv.reader(lines, delimiter=delimiter or ","), []), "text")
        except (csv.Error, UnicodeDecodeError, TypeError) as err:
            raise DataError(f"{file}: not readable as CSV, {err}; check the delimiter") from err


def _parquet_columns(file: str) -> dict[str, str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return {column.name: str(column.type) for column in pq.read_schema(file)}
    except pa.ArrowException as err:
        raise DataError(f"{file}: not readable as Parquet, {err}; write it again") from err


def _common(tables: Iterator[dict[str, str]]) -> dict[str, str]:
    first, *rest = tables
    return {name: kind for name, kind in first.items() if all(name in table for table in rest)}


def _parse_ignored(text: str) -> set[str]:
    names = {name.strip() for name in text.split(",") if name.strip()}
    known = [rule.name for rule in RULES]
    for name in sorted(names):
        if name not in known:
            raise ConfigError(f"--ignore: must name rules, got {name!r}{suggestion(name, known)}")
    return names


def _print(found: list[Finding], files: int) -> None:
    for finding in found:
        place = f"{finding.file}:{finding.line}:{finding.column}: " if finding.line else ""
        remedy = f"; {finding.remedy}" if finding.remedy else ""
        print(f"{place}{finding.level}: {finding.message}{remedy} [{finding.rule}]")
    counts = Counter(finding.level for finding in found)
    print(f"{files} file(s): " + (", ".join(f"{counts[level]} {level}" for level in sorted(counts)) or "clean"))
