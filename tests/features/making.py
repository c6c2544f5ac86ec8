"""Small helpers of the feature tests: a feature, or a whole config, from its text."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
from google.protobuf import text_format

from tzrec_build.features.create import create_features
from tzrec_build.features.feature import Feature
from tzrec_build.protos.tzrec import pipeline_pb2

SEP = "\x1d"


def config(text: str) -> pipeline_pb2.EasyRecConfig:
    return text_format.Parse(text, pipeline_pb2.EasyRecConfig())


def features(text: str, fg_mode: str = "FG_DAG", data: str = "", base_dir: Path | str = ".") -> list[Feature]:
    return create_features(config(f"data_config {{ fg_mode: {fg_mode} {data} }}\n{text}"), base_dir)


def feature(text: str, fg_mode: str = "FG_DAG", data: str = "", base_dir: Path | str = ".") -> Feature:
    return features(f"feature_configs {{ {text} }}", fg_mode, data, base_dir)[0]


def rows(encoded: Any) -> list[list[Any]]:
    """Values of each row, as Python lists."""
    result, at = [], 0
    for length in encoded.lengths.tolist():
        result.append(encoded.values[at : at + length].tolist())
        at += length
    assert at == len(encoded.values)
    return result


def encode(made: Feature, **columns: Any) -> Any:
    arrays: Mapping[str, pa.Array] = {
        name: value if isinstance(value, pa.Array) else pa.array(value) for name, value in columns.items()
    }
    return made.encode(arrays)
