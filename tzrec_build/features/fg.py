"""fg.json: the description of all features that the serving side reads."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tzrec_build.features.assets import asset_name
from tzrec_build.features.feature import Feature

BUCKETIZER_KEYS = ("hash_bucket_size", "vocab_dict", "vocab_list", "boundaries", "num_buckets", "vocab_file")


def fg_json(
    features: Sequence[Feature], reserves: Sequence[str] = (), *, remove_bucketizer: bool = False
) -> dict[str, Any]:
    """Assemble fg.json in the order of the features; a sequence block stands where its first member stands.

    Args:
        features: `create_features(cfg)`.
        reserves: names for the top-level list `reserves`; left out when empty.
        remove_bucketizer: leave out the keys that turn values into ids (for data that is bucketized later).
    """
    objects: list[dict[str, Any]] = []
    blocks: dict[str, dict[str, Any]] = {}
    for feature in features:
        described = feature.fg_json()
        if remove_bucketizer:
            described = [
                {key: value for key, value in item.items() if key not in BUCKETIZER_KEYS} for item in described
            ]
        sequence = feature.scope.sequence
        if sequence is None or not sequence.name:
            objects.extend(described)
            continue
        if sequence.name not in blocks:
            blocks[sequence.name] = {
                "sequence_name": sequence.name,
                "sequence_length": sequence.length,
                "sequence_delim": sequence.delim,
                "sequence_pk": sequence.primary_key,
                "features": [],
            }
            objects.append(blocks[sequence.name])
        blocks[sequence.name]["features"].extend(described)
    result: dict[str, Any] = {"features": objects}
    if reserves:
        result["reserves"] = list(reserves)
    return result


def copy_assets(features: Sequence[Feature], folder: str | Path) -> dict[tuple[str, str], str]:
    """Copy the vocabularies that fg.json names beside it, as ``<stem>_<md5><ext>``; a copy that is there stays.

    Returns:
        asset_dir and path as the config has them -> name of the copy.
    """
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    names = {}
    for feature in features:
        for path, file in feature.assets.items():
            name = names[feature.config.asset_dir, path] = asset_name(file)
            if not (target / name).is_file():
                partial = target / f".{name}.tmp"
                shutil.copyfile(file, partial)
                partial.replace(target / name)
    return names
