"""EasyRec's fg.json: finding it, reading it, and an account of each of its keys."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tzrec_build.config.easyrec.receipt import Leaf, text_of
from tzrec_build.config.load import read_config_text
from tzrec_build.errors import ConfigError

SIZE_KEYS = (
    "hash_bucket_size",
    "vocab_list",
    "vocab_dict",
    "vocab_file",
    "num_buckets",
    "boundaries",
    "bucketize_boundaries",
)


@dataclass(frozen=True, slots=True)
class FgFeature:
    """One feature of an fg.json: its name in the model, its keys, its place, the block that it is a member of."""

    name: str
    keys: dict[str, Any]
    path: str
    block: dict[str, Any] | None = None
    block_path: str = ""


@dataclass(frozen=True, slots=True)
class FgJson:
    """A whole fg.json, and the file that it is from."""

    path: str
    content: dict[str, Any]

    def features(self) -> Iterator[FgFeature]:
        """Yield all features, members of blocks under ``<sequence>__<feature>``, in the order of the file."""
        for i, entry in enumerate(self.content["features"]):
            at = f"fg_json.features[{i}]"
            if "sequence_name" not in entry or "features" not in entry:
                yield FgFeature(str(entry["feature_name"]), entry, at)
                continue
            for j, inner in enumerate(entry["features"]):
                name = f"{entry['sequence_name']}__{inner['feature_name']}"
                yield FgFeature(name, inner, f"{at}.features[{j}]", entry, at)

    def sequence_members(self) -> set[str]:
        """Names of features that are sequences: members of blocks, and flat ``sequence_*`` types."""
        return {
            one.name
            for one in self.features()
            if one.block is not None or str(one.keys.get("feature_type")).startswith("sequence_")
        }

    def leaves(self) -> Iterator[Leaf]:
        """Yield every key with its path and value; lists of features are gone into."""
        return _keys(self.content, "fg_json")

    def names_with_ids(self) -> set[str]:
        """Names of features that turn values into ids."""
        return {one.name for one in self.features() if any(key in one.keys for key in SIZE_KEYS)}


def find_fg_json(flag: str, source: Any, config_path: str) -> FgJson | None:
    """Read the fg.json of a flag, or else the one that the config names; None when neither names one.

    Raises:
        ConfigError: the file is not there or holds no features.
    """
    if flag:
        return load_fg_json(flag)
    places = places_of_fg_json(source, config_path)
    if not places:
        return None
    found = next((place for place in places if Path(place).is_file()), None)
    if found is None:
        raise ConfigError(
            f"{config_path}: fg_json_path must name a file, got {places[0]!r}; give the file by --fg_json_path"
        )
    return load_fg_json(found)


def places_of_fg_json(source: Any, config_path: str) -> list[str]:
    """List where the fg.json that a config names may lie, first choice first; empty when it names none.

    A path in a config counts from the current folder, then from the folder of the config, where it may also lie by its name alone.
    """
    named = str(source.fg_json_path).removeprefix("!") if "fg_json_path" in source.DESCRIPTOR.fields_by_name else ""
    beside = Path(config_path).parent
    places = (Path(named), beside / named, beside / Path(named).name) if named else ()
    return list(dict.fromkeys(map(str, places)))


def load_fg_json(path: str) -> FgJson:
    """Read an fg.json.

    Raises:
        ConfigError: the file cannot be read, or holds no features.
    """
    text = read_config_text(path)
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as err:
        raise ConfigError(f"{path}: must be JSON, {err}; give EasyRec's fg.json") from err
    if not isinstance(content, dict) or not isinstance(content.get("features"), list):
        raise ConfigError(f"{path}: must be an object with a list `features`, got none; give EasyRec's fg.json")
    for i, entry in enumerate(content["features"]):
        _check(entry, f"{path}: features[{i}]")
    return FgJson(path, content)


def _check(entry: Any, where: str) -> None:
    if not isinstance(entry, dict):
        raise ConfigError(f"{where}: must be an object, got {entry!r:.60}; give EasyRec's fg.json")
    if "sequence_name" in entry and "features" in entry:
        if not isinstance(entry["features"], list):
            raise ConfigError(f"{where}.features: must be a list, got {entry['features']!r:.60}")
        for j, inner in enumerate(entry["features"]):
            _check(inner, f"{where}.features[{j}]")
        return
    for key in ("feature_name", "feature_type"):
        if not isinstance(entry.get(key), str):
            raise ConfigError(f"{where}: must have the text {key}, got {entry.get(key)!r:.60}; add it")


def _keys(entry: dict[str, Any], path: str) -> Iterator[Leaf]:
    for key, value in entry.items():
        at = f"{path}.{key}"
        if key == "features" and isinstance(value, list):
            for i, inner in enumerate(value):
                yield from _keys(inner, f"{at}[{i}]")
        else:
            yield Leaf(at, text_of(value))
