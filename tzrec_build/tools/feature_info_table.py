"""The table of feature infos: one row a feature, what was found out about it as JSON, and a message."""

from __future__ import annotations

import csv
import itertools
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tzrec_build.config.feature_update import FeatureInfo
from tzrec_build.data.paths import find_files, table_kind
from tzrec_build.errors import DataError, suggestion

DROP_MARK = "DROP IT"  # in the message: the feature is to be dropped
KEYS = ("embedding_dim", "boundary", "hash_bucket_size")
MAX_WIDTH = 2**20  # a wider row is a slip, and its table would fit nowhere
MAX_ROWS = 2**63 - 1


@dataclass(frozen=True, slots=True)
class _Row:
    where: str
    feature: str
    info: str
    message: str


def load_infos(path: str) -> tuple[list[FeatureInfo], list[str]]:
    """Read a table from .csv or .parquet files with the columns ``feature``, ``feature_info`` and, if any, ``message``.

    Returns:
        The rows in order, and notes about values that were not used.
    Raises:
        DataError: the table cannot be read, or rows are wrong; all wrong rows are listed with file and row (or line).
    """
    files = find_files(path)
    read = _csv_rows if table_kind(files) == "csv" else _parquet_rows
    infos: list[FeatureInfo] = []
    notes: list[str] = []
    problems: list[str] = []
    for file in files:
        for row in read(file):
            try:
                infos.append(_parse_row(row, notes))
            except ValueError as err:
                problems.append(f"{row.where}: {err}")
    if problems:
        raise DataError("\n".join(problems))
    return infos, notes


def _csv_rows(file: str) -> Iterator[_Row]:
    csv.field_size_limit(2**30)  # long lists of boundaries
    with open(file, encoding="utf-8-sig", newline="") as lines:
        reader = csv.reader(lines, strict=True)
        try:
            header = next(reader, [])
            _check_columns(file, header)
            end = reader.line_num
            for cells in reader:
                start, end = end + 1, reader.line_num
                if not cells:
                    continue
                if len(cells) != len(header):
                    got = f"got {len(cells)} cells for {len(header)} columns"
                    raise DataError(
                        f"{file}:{start}: a row must have a cell for each column, {got}; quote cells with commas"
                    )
                values = dict(zip(header, cells, strict=True))
                yield _Row(f"{file}:{start}", values["feature"], values["feature_info"], values.get("message", ""))
        except (csv.Error, UnicodeDecodeError) as err:
            raise DataError(
                f"{file}:{reader.line_num}: not readable as CSV, {err}; write UTF-8 with quoted JSON"
            ) from err


def _parquet_rows(file: str) -> Iterator[_Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        names = pq.read_schema(file).names
        _check_columns(file, names)
        table = pq.read_table(file, columns=[name for name in ("feature", "feature_info", "message") if name in names])
        columns = {name: table[name].cast(pa.string()).to_pylist() for name in table.column_names}
    except (pa.ArrowException, OSError) as err:
        raise DataError(f"{file}: not readable as a table of texts, {err}; write it again") from err
    messages = columns.get("message") or [None] * table.num_rows
    rows = zip(columns["feature"], columns["feature_info"], messages, strict=True)
    for i, (feature, info, message) in enumerate(rows, 1):
        yield _Row(f"{file}: row {i}", feature or "", info or "", message or "")


def _check_columns(file: str, names: list[str]) -> None:
    for name in ("feature", "feature_info"):
        if name not in names:
            near = suggestion(name, names) if names else "; write a header"
            raise DataError(f"{file}: the table must have the column {name!r}, got none of that name{near}")


def _parse_row(row: _Row, notes: list[str]) -> FeatureInfo:
    """Read one row; raises ValueError with `rule, got value; next step`."""
    if not row.feature.strip():
        raise ValueError("a row must name a feature, got none; fill in the column feature")
    name = row.feature.strip()
    if DROP_MARK in row.message:
        return FeatureInfo(row.where, name, drop=True)
    values = _parse_json(row.info)
    unknown = sorted(set(values) - set(KEYS))
    if unknown:
        notes.append(f"{row.where}: not used of {name!r}: {', '.join(unknown)}")
    if not set(values) & set(KEYS):
        raise ValueError(f"feature_info must hold {', '.join(KEYS[:-1])} or {KEYS[-1]}, got {row.info[:80]!r}; add one")
    boundaries = _boundaries(values["boundary"]) if "boundary" in values else ()
    size = _whole(values, "hash_bucket_size", MAX_ROWS)
    if boundaries and size:
        notes.append(f"{row.where}: not used of {name!r}: hash_bucket_size, because boundary is there")
        size = 0
    return FeatureInfo(
        row.where,
        name,
        embedding_dim=_whole(values, "embedding_dim", MAX_WIDTH),
        boundaries=boundaries,
        hash_bucket_size=size,
    )


def _parse_json(text: str) -> Mapping[str, object]:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as err:
        raise ValueError(f"feature_info must be a JSON object, got {text[:80]!r}, {err}; mend it") from err
    if not isinstance(values, dict):
        raise ValueError(f"feature_info must be a JSON object, got {text[:80]!r}; write {{...}}")  # noqa: TRY004 - of a row
    return values


def _whole(values: Mapping[str, object], key: str, most: int) -> int:
    """Read a whole number, or a text of one; 0 when absent."""
    if key not in values:
        return 0
    value = values[key]
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, str) and value.strip().isascii() and value.strip().isdigit() and len(value) < 30:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise ValueError(f"{key} must be a whole number from 1 to {most}, got {_short(value)}; correct it")
    return value


def _boundaries(value: object) -> tuple[float, ...]:
    if not isinstance(value, list) or not value:
        raise ValueError(f"boundary must be a list of numbers, got {_short(value)}; write [1, 2]")
    numbers = tuple(_number(element) for element in value)
    for low, high in itertools.pairwise(numbers):
        if not low < high:
            raise ValueError(f"boundary must rise, got {high:g} after {low:g}; sort it")
    return numbers


def _number(value: object) -> float:
    try:
        number = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError):
        number = math.nan
    if not abs(number) <= 3.4e38:  # boundaries are 32 bit floats
        raise ValueError(f"boundary must be a list of finite numbers, got {_short(value)} in it; correct it")
    return number


def _short(value: object) -> str:
    return repr(value)[:80]
