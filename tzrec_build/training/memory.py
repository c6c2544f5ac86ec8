"""Embedding tables that do not fit into memory: found before they are made where possible, named by size."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tzrec_build.errors import ConfigError
from tzrec_build.features.feature import Feature
from tzrec_build.protos.tzrec.pipeline_pb2 import EasyRecConfig

_BYTES = {"FP32": 4, "FP16": 2}
_OUT_OF_MEMORY = ("allocate memory", "out of memory", "Storage size calculation overflowed")  # in torch's own messages


@contextmanager
def tables_in_memory(config: EasyRecConfig, features: Sequence[Feature]) -> Iterator[None]:
    """Wrap what makes the tables of a model.

    Args:
        config: its feature groups say which features have a table.
        features: all features of the config.
    Raises:
        ConfigError: the tables are larger than the memory of this machine, or an allocation inside failed; the largest is named.
    """
    sizes = table_bytes(config, features)
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if sum(sizes.values()) > memory:
        raise _too_large(sizes, features, f"this machine has {memory:,}")
    try:
        yield
    except (RuntimeError, MemoryError) as err:
        known = isinstance(err, MemoryError) or any(words in str(err) for words in _OUT_OF_MEMORY)
        if not known or not sizes:
            raise
        raise _too_large(sizes, features, "which could not be had") from err


def table_bytes(config: EasyRecConfig, features: Sequence[Feature]) -> dict[str, int]:
    """Feature in a group -> bytes of its weights; of features that share a table the first."""
    groups = config.model_config.feature_groups
    used = {name for group in groups for part in (group, *group.sequence_groups) for name in part.feature_names}
    tables = {
        feature.embedding_name: feature for feature in reversed(features) if feature.is_sparse and feature.name in used
    }
    return {
        one.name: one.num_embeddings * one.embedding_dim * _BYTES[one.data_type] for one in reversed(tables.values())
    }


def _too_large(sizes: dict[str, int], features: Sequence[Feature], against: str) -> ConfigError:
    name = max(sizes, key=lambda one: sizes[one])
    largest = next(feature for feature in features if feature.name == name)
    return ConfigError(
        f"embedding tables: need {sum(sizes.values()):,} bytes, {against}; the largest is {largest.embedding_name!r} of feature "
        f"{name!r} with {sizes[name]:,} ({largest.num_embeddings:,} rows of {largest.embedding_dim}); lower its rows or dim"
    )
