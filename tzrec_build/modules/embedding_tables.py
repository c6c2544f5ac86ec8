"""Embedding tables as plain data: what a feature asks for, and when two features share one table.

A table is named `<embedding_name>`, then `_wide` in a WIDE group, then `_<suffix>` where the group has one. Features that
reach the same name in the same kind of lookup (pooled, or sequences of one dim) and data group share one table.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

from tzrec_build.errors import ConfigError


class EmbeddedFeature(Protocol):
    """What the embedding stage must know of a feature (see tzrec_build.features.feature)."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def is_sparse(self) -> bool: ...  # noqa: D102
    @property
    def is_sequence(self) -> bool: ...  # noqa: D102
    @property
    def is_weighted(self) -> bool: ...  # noqa: D102
    @property
    def data_group(self) -> str: ...  # noqa: D102
    @property
    def embedding_name(self) -> str: ...  # noqa: D102
    @property
    def num_embeddings(self) -> int: ...  # noqa: D102
    @property
    def embedding_dim(self) -> int: ...  # noqa: D102
    @property
    def output_dim(self) -> int: ...  # noqa: D102
    @property
    def pooling(self) -> str: ...  # noqa: D102
    @property
    def init_fn(self) -> str: ...  # noqa: D102
    @property
    def trainable(self) -> bool: ...  # noqa: D102
    @property
    def data_type(self) -> str: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Table:
    """One embedding table.

    Args:
        name: name in the state dict.
        num_embeddings: rows.
        embedding_dim: columns.
        pooling: SUM or MEAN; empty for a table of sequences.
        init_fn: text of the initialiser, empty for the default.
        data_type: FP32 or FP16.
        trainable: False freezes the table.
        origin: embedding name before suffixes; two origins must not meet in one table.
        features: names of the features that look up in it, in order of appearance.
        weighted: whether one of those features carries a weight per id.
    """

    name: str
    num_embeddings: int
    embedding_dim: int
    pooling: str
    init_fn: str
    data_type: str
    trainable: bool
    origin: tuple[str, str]
    features: tuple[str, ...]
    weighted: bool


def feature_table(feature: EmbeddedFeature, suffixes: tuple[str, str]) -> Table:
    """Table of one feature alone, before sharing."""
    wide, suffix = suffixes
    ending = wide + (f"_{suffix}" if suffix else "")
    return Table(
        name=feature.embedding_name + ending,
        num_embeddings=feature.num_embeddings,
        embedding_dim=feature.embedding_dim,
        pooling=feature.pooling,
        init_fn=feature.init_fn,
        data_type=feature.data_type,
        trainable=feature.trainable,
        origin=(feature.embedding_name, ending),
        features=(feature.name,),
        weighted=feature.is_weighted,
    )


_SHARED_FIELDS = ("num_embeddings", "embedding_dim", "pooling", "init_fn", "data_type", "trainable", "origin")


def add_table(tables: dict[str, Table], table: Table, where: str) -> None:
    """Add a table, or the feature to the table of that name; sharing needs equal properties."""
    known = tables.get(table.name)
    if known is None:
        tables[table.name] = table
        return
    for name in _SHARED_FIELDS:
        mine, theirs = getattr(table, name), getattr(known, name)
        if mine != theirs:
            raise ConfigError(
                f"{where}: features that share the embedding {table.name!r} must agree on {name}, got {mine!r} for "
                f"{table.features[0]!r} and {theirs!r} for {known.features[0]!r}; make them equal or rename one"
            )
    names = dict.fromkeys((*known.features, *table.features))
    tables[table.name] = replace(known, features=tuple(names), weighted=known.weighted or table.weighted)
