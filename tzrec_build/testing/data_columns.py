"""Which columns the features of a config read, and from what values made-up data may choose."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from tzrec_build.protos.tzrec import data_pb2
from tzrec_build.protos.tzrec.pipeline_pb2 import EasyRecConfig

MAX_VALUES = 1000  # distinct values of one column: more would be seen too rarely to learn from
_ENCODED = frozenset({data_pb2.FG_NONE, data_pb2.FG_BUCKETIZE})
_SIDES = ("user", "item", "context")

Kind = Literal["id", "word", "number"]


@dataclass(frozen=True, slots=True)
class Column:
    """One column to make.

    `values` are the distinct values of an id (int64) or word (str) column, or a sorted sample of the numbers of a number column.
    """

    name: str
    side: str  # user, item or context: values belong to the row's user, its item, or to the row alone
    kind: Kind
    values: npt.NDArray[Any]
    value_dim: int = 1  # numbers per row
    sequence_delim: str = ""  # "" unless a row holds a sequence
    sequence_length: int = 0
    source: str = ""  # of a sequence of items: the item column that the history is written in
    as_list: bool = False  # a sequence as a list column instead of text


def make_columns(config: EasyRecConfig) -> list[Column]:
    """List the columns that the features of a config read, each name once (the first feature that reads it decides).

    Under FG_NONE and FG_BUCKETIZE these are the features' own names, else the names in the expressions.
    """
    encoded = config.data_config.fg_mode in _ENCODED
    found: dict[str, Column] = {}
    for column in _columns(config, encoded=encoded):
        found.setdefault(column.name, column)
    return list(found.values())


def _columns(config: EasyRecConfig, *, encoded: bool) -> Iterator[Column]:
    is_none = config.data_config.fg_mode == data_pb2.FG_NONE
    for feature in config.feature_configs:
        kind = feature.WhichOneof("feature") or ""
        body = getattr(feature, kind)
        if kind == "sequence_feature":
            for member in body.features:
                inner = getattr(member, member.WhichOneof("feature") or "")
                yield from _feature_columns(inner, encoded=encoded, ids_only=is_none, block=body)
        elif kind.startswith("sequence_"):
            yield from _feature_columns(body, encoded=encoded, ids_only=is_none, block=body)
        else:
            yield from _feature_columns(body, encoded=encoded, ids_only=is_none, block=None)


def _feature_columns(body: Any, *, encoded: bool, ids_only: bool, block: Any) -> Iterator[Column]:
    """Make the columns of one feature; `block` is the message with the sequence settings, None for a plain feature."""
    references = _references(body)
    if encoded or not references:
        side = references[0][0] if references else "context"
        references = [(side, body.feature_name)]
    kind, values = _values(body, ids_only=ids_only)
    for side, name in references:
        if block is None:
            yield Column(name, side, kind, values, _value_dim(body, kind))
            continue
        prefix = f"{block.sequence_name}__" if "sequence_name" in block.DESCRIPTOR.fields_by_name else ""
        yield Column(
            prefix + name,
            "user",
            kind,
            values,
            _value_dim(body, kind),
            sequence_delim=block.sequence_delim,
            sequence_length=block.sequence_length,
            source=name if side == "item" else "",
            as_list=ids_only,
        )


def _references(body: Any) -> list[tuple[str, str]]:
    texts = [body.expression] if isinstance(body.expression, str) else list(body.expression)
    pairs = [text.split(":", 1) for text in texts if ":" in text]
    return [(side if side in _SIDES else "context", name) for side, name in pairs]


def _value_dim(body: Any, kind: Kind) -> int:
    return max(int(body.value_dim), 1) if kind == "number" else 1


def _values(body: Any, *, ids_only: bool) -> tuple[Kind, npt.NDArray[Any]]:
    """Choose the values of a feature's column: ids of its table under FG_NONE, raw values elsewhere."""
    fields = body.DESCRIPTOR.fields_by_name
    boundaries = list(body.boundaries) if "boundaries" in fields else []
    words = list(body.vocab_list) + list(body.vocab_dict) if "vocab_list" in fields else []
    rows = _table_rows(body)
    if ids_only and rows:
        return "id", _some_of(rows)
    if ids_only or "boundaries" in fields:
        return "number", _numbers(boundaries)
    if words:
        return "word", np.array([*words, "unheard-of"], dtype=object)
    if "num_buckets" in fields and body.num_buckets:
        return "id", _some_of(body.num_buckets)
    return "word", np.array([f"{body.feature_name}_{i}" for i in range(min(max(rows, 2), MAX_VALUES))], dtype=object)


def _table_rows(body: Any) -> int:
    """Give the rows of a feature's embedding table, 0 when it is dense (or its vocabulary is a file)."""
    fields = body.DESCRIPTOR.fields_by_name
    for name in ("hash_bucket_size", "num_buckets"):
        if name in fields and getattr(body, name):
            return int(getattr(body, name))
    if "vocab_list" in fields and len(body.vocab_list):
        return len(body.vocab_list) + (0 if body.HasField("default_bucketize_value") else 2)
    if "vocab_dict" in fields and len(body.vocab_dict):
        return int(max(body.vocab_dict.values())) + 1
    return len(body.boundaries) + 1 if "boundaries" in fields and len(body.boundaries) else 0


def _some_of(rows: int) -> npt.NDArray[np.int64]:
    """Take at most MAX_VALUES ids, spread over the whole table.

    >>> _some_of(3).tolist()
    [0, 1, 2]
    """
    return np.unique(np.linspace(0, rows - 1, min(rows, MAX_VALUES)).astype(np.int64))


def _numbers(boundaries: list[float]) -> npt.NDArray[np.float64]:
    """Take numbers on both sides of every boundary, or around zero when there is none."""
    if not boundaries:
        return np.linspace(-2.0, 2.0, 101)
    edges = np.asarray(boundaries, dtype=np.float64)
    step = np.maximum(np.diff(edges).min(initial=1.0), 1e-3) / 2
    return np.unique(np.concatenate([edges - step, edges + step]))
