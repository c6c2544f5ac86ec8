"""Which id rule a config asks for, among those that work on text: hash, number, vocabularies."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tzrec_build.errors import ConfigError
from tzrec_build.features.assets import asset_name
from tzrec_build.features.bucketizers import (
    Bucketizer,
    HashBucketizer,
    NumberBucketizer,
    vocab_dict_bucketizer,
    vocab_file_bucketizer,
    vocab_list_bucketizer,
)
from tzrec_build.features.scope import FeatureScope


def text_bucketizer(
    config: Any,
    scope: FeatureScope,
    default_value: str,
    asset_file: Callable[[str], Path],
    number: NumberBucketizer | None,
) -> Bucketizer:
    """Build the one bucketizer that the config sets.

    Unlike TorchEasyRec, which picks by two priorities that disagree, two settings at once are an error.

    Raises:
        ConfigError: none or more than one is set, or it is out of bounds.
    """
    named = {
        "hash_bucket_size": config.HasField("hash_bucket_size"),
        "num_buckets": number is not None,
        "vocab_list": bool(config.vocab_list),
        "vocab_dict": bool(config.vocab_dict),
        "vocab_file": bool(config.vocab_file),
    }
    chosen = [name for name, is_set in named.items() if is_set]
    if len(chosen) != 1:
        got = " and ".join(chosen) or "none"
        raise ConfigError(
            f"{scope.where}: must set one of {', '.join(named)}, got {got}; it gives the rows of the embedding table"
        )
    unknown_id = int(config.default_bucketize_value) if config.HasField("default_bucketize_value") else None
    makers: dict[str, Callable[[], Bucketizer]] = {
        "hash_bucket_size": lambda: HashBucketizer(int(config.hash_bucket_size)),
        "num_buckets": lambda: number or NumberBucketizer(0),
        "vocab_list": lambda: vocab_list_bucketizer(list(config.vocab_list), default_value, unknown_id, scope.where),
        "vocab_dict": lambda: vocab_dict_bucketizer(
            {word: int(config.vocab_dict[word]) for word in sorted(config.vocab_dict)},
            default_value,
            unknown_id,
            scope.where,
        ),
        "vocab_file": lambda: _from_file(asset_file(config.vocab_file), unknown_id, scope.where),
    }
    bucketizer = makers[chosen[0]]()
    if not 0 < bucketizer.rows < 1 << 63:
        raise ConfigError(f"{scope.where}: {chosen[0]} must be at least 1 and below 2**63, got {bucketizer.rows}")
    return bucketizer


def _from_file(path: Path, unknown_id: int | None, where: str) -> Bucketizer:
    if not path.is_file():
        raise ConfigError(
            f"{where}: vocab_file {path}: no such file; "
            "a relative path starts from the current directory and the feature's asset_dir"
        )
    return vocab_file_bucketizer(path, asset_name(path), unknown_id, where)
