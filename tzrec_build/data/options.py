"""How a table is read: batch size, order, share of the rows, the form of CSV files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from tzrec_build.errors import ConfigError, suggestion
from tzrec_build.protos.tzrec import data_pb2

_SCALARS: Mapping[str, pa.DataType] = {
    "INT32": pa.int32(),
    "INT64": pa.int64(),
    "STRING": pa.string(),
    "FLOAT": pa.float32(),
    "DOUBLE": pa.float64(),
}
_ALIASES = {"BIGINT": "INT64", "INT": "INT32"}


@dataclass(frozen=True, slots=True)
class CsvOptions:
    """The form of CSV files.

    Attributes:
        delimiter: one character between fields.
        with_header: the first line names the columns; else `fields` names them.
        fields: (column, type or None to infer it) in file order.
    """

    delimiter: str = ","
    with_header: bool = True
    fields: tuple[tuple[str, pa.DataType | None], ...] = ()


@dataclass(frozen=True, slots=True)
class ReaderOptions:
    """How to read a table.

    Attributes:
        batch_size: rows of each slice.
        drop_remainder: drop a last slice that is shorter.
        shuffle: mix the order of whole slices.
        shuffle_buffer_size: slices held for mixing.
        seed: of the mixing, together with epoch and rank.
        rank: which reader this is, of `world_size`; each gets one contiguous part of the rows.
        csv: form of CSV files.
    """

    batch_size: int = 1024
    drop_remainder: bool = False
    shuffle: bool = False
    shuffle_buffer_size: int = 32
    seed: int = 0
    rank: int = 0
    world_size: int = 1
    csv: CsvOptions = field(default_factory=CsvOptions)


def csv_options(config: data_pb2.DataConfig) -> CsvOptions:
    """The CSV fields of a data_config.

    Raises:
        ConfigError: a delimiter of more than one character, a malformed input_fields_str, a list or map type.
    """
    if len(config.delimiter) != 1:
        raise ConfigError(f"data_config.delimiter: must be one character, got {config.delimiter!r}")
    if config.input_fields_str:
        fields = tuple(_parse_field(part) for part in config.input_fields_str.split(";") if part.strip())
    else:
        fields = tuple(
            (
                item.input_name,
                _arrow_type(item.input_name, data_pb2.FieldType.Name(item.input_type))
                if item.HasField("input_type")
                else None,
            )
            for item in config.input_fields
        )
    if not config.with_header and not fields:
        raise ConfigError(
            "data_config.input_fields: must name the columns of CSV files without a header, or set with_header: true"
        )
    return CsvOptions(config.delimiter, config.with_header, fields)


def _parse_field(part: str) -> tuple[str, pa.DataType | None]:
    name, colon, kind = part.partition(":")
    kind = kind.upper().replace(" ", "")
    if not name.strip() or not colon or not kind:
        raise ConfigError(f"data_config.input_fields_str: must be name:TYPE parts split by ';', got {part!r}")
    return name.strip(), _arrow_type(name.strip(), _ALIASES.get(kind, kind))


def _arrow_type(name: str, kind: str) -> pa.DataType:
    if kind in _SCALARS:
        return _SCALARS[kind]
    if kind.startswith(("ARRAY", "MAP")):
        raise ConfigError(
            f"data_config.input_fields: column {name!r}: CSV cannot hold {kind}; declare STRING and split by the feature's separator, or use Parquet"
        )
    raise ConfigError(f"data_config.input_fields: column {name!r}: unknown type {kind!r}{suggestion(kind, _SCALARS)}")
