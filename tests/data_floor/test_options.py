from __future__ import annotations

import pyarrow as pa
import pytest
from google.protobuf import text_format

from tzrec_build.data.options import csv_options
from tzrec_build.errors import ConfigError
from tzrec_build.protos.tzrec import data_pb2


def options(text: str):
    return csv_options(text_format.Parse(text, data_pb2.DataConfig()))


def test_fields() -> None:
    made = options(
        'delimiter: "\\t" input_fields { input_name: "a" input_type: INT64 } input_fields { input_name: "b" }'
    )
    assert made.delimiter == "\t"
    assert made.fields == (("a", pa.int64()), ("b", None))
    made = options('input_fields_str: "a:bigint; b : double;" input_fields { input_name: "c" }')
    assert made.fields == (("a", pa.int64()), ("b", pa.float64()))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('delimiter: "||" with_header: true', "delimiter: must be one character, got '||'"),
        ("", "input_fields: must name the columns of CSV files without a header"),
        ('input_fields_str: "a"', "must be name:TYPE parts split by ';', got 'a'"),
        ('input_fields_str: "a:INTT64"', "unknown type 'INTT64'; did you mean 'INT64'"),
        ('input_fields_str: "a:ARRAY<INT64>"', "column 'a': CSV cannot hold ARRAY<INT64>; declare STRING"),
    ],
)
def test_errors(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message.replace("|", r"\|")):
        options(text)
