"""A config as the rules of lint see it: walked once, features by name, messages by type."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from google.protobuf.message import Message

from tzrec_build.config.walk import walk_messages
from tzrec_build.protos.tzrec import data_pb2
from tzrec_build.protos.tzrec.model_pb2 import FeatureGroupType
from tzrec_build.protos.tzrec.pipeline_pb2 import EasyRecConfig

SOURCE_FIELDS = ("expression", "map", "key", "nested_map", "pkey", "skey", "query", "title", "document", "variables")
RAW_MODES = frozenset(
    {data_pb2.FG_NORMAL, data_pb2.FG_DAG}
)  # the columns are those that the features' expressions name
SEQUENCE_TYPES = frozenset({FeatureGroupType.SEQUENCE, FeatureGroupType.JAGGED_SEQUENCE})
_WILDCARD = "ALL"  # pkey and skey of a match feature: any key
_TABLE_SIZES = (
    "hash_bucket_size",
    "num_buckets",
    "vocab_list",
    "vocab_dict",
    "vocab_file",
    "zch",
    "dynamicemb",
    "boundaries",
)


@dataclass(frozen=True, slots=True)
class Feature:
    """One feature, or one member of a sequence block, and where it is configured."""

    name: str  # full: <sequence>__<feature> inside a block
    own_name: str
    block: str  # name of the sequence block; "" outside
    kind: str  # member of the oneof
    at: str
    body: Any

    @property
    def is_sequence(self) -> bool:
        """Say whether a row holds a sequence of values."""
        return bool(self.block) or self.kind.startswith("sequence_")


def feature_sources(body: Message) -> Iterator[tuple[str, str]]:
    """Yield what a feature is computed from, as (field or field[i], ``side:name``); formulas and wildcards are left out."""
    by_name = body.DESCRIPTOR.fields_by_name
    formula = "variables" in by_name  # the expression is then a formula over the variables
    for name in SOURCE_FIELDS:
        found = by_name.get(name)
        if found is None or (formula and name == "expression"):
            continue
        value = getattr(body, name)
        for i, text in enumerate(value if found.is_repeated else (value,)):
            if text and not (text == _WILDCARD and name in {"pkey", "skey"}):
                yield (f"{name}[{i}]" if found.is_repeated else name), text


def table_sizes(body: Message) -> list[str]:
    """List the set fields that say how many rows a feature's table has."""
    by_name = body.DESCRIPTOR.fields_by_name
    held = {found.name for found, _ in body.ListFields()}
    return [name for name in _TABLE_SIZES if name in by_name and name in held]


@dataclass(frozen=True)  # cached properties need a __dict__
class Subject:
    """What one run of lint looks at.

    `columns` are the columns of the data: name -> type in words; None when no data was given.
    """

    config: EasyRecConfig
    text: str = ""
    columns: Mapping[str, str] | None = field(default=None)

    @cached_property
    def by_type(self) -> dict[str, list[tuple[str, Any]]]:
        """All messages of the config with their paths, by message type."""
        found: dict[str, list[tuple[str, Any]]] = {}
        for at, message in walk_messages(self.config):
            found.setdefault(message.DESCRIPTOR.name, []).append((at, message))
        return found

    def of_types(self, *names: str) -> Iterator[tuple[str, Any]]:
        """Yield the messages of some types."""
        for name in names:
            yield from self.by_type.get(name, ())

    @cached_property
    def features(self) -> list[Feature]:
        """All features in the order of the config, members of sequence blocks under their full names."""
        return list(_features(self.config))

    @cached_property
    def by_name(self) -> dict[str, Feature]:
        """Features by full name; of namesakes the first."""
        found: dict[str, Feature] = {}
        for feature in self.features:
            found.setdefault(feature.name, feature)
        return found

    @cached_property
    def groups(self) -> dict[str, tuple[str, Any]]:
        """Feature groups by name: path and message; of namesakes the first."""
        found: dict[str, tuple[str, Any]] = {}
        for i, group in enumerate(self.config.model_config.feature_groups):
            found.setdefault(group.group_name, (f"model_config.feature_groups[{i}]", group))
        return found

    @cached_property
    def grouped(self) -> dict[str, list[tuple[str, Any]]]:
        """Feature name -> the groups and sequence groups that name it: path and message."""
        found: dict[str, list[tuple[str, Any]]] = {}
        for at, group in self.of_types("FeatureGroupConfig", "SeqGroupConfig"):
            for name in group.feature_names:
                found.setdefault(name, []).append((at, group))
        return found

    @property
    def model(self) -> str:
        """The model that the config chooses; "" for none."""
        return self.config.model_config.WhichOneof("model") or ""

    @property
    def reads_raw_columns(self) -> bool:
        """Say whether the data hold what the features' expressions name, not the features themselves."""
        return self.config.data_config.fg_mode in RAW_MODES


def _features(config: EasyRecConfig) -> Iterator[Feature]:
    for i, feature in enumerate(config.feature_configs):
        kind = feature.WhichOneof("feature")
        if kind is None:
            continue
        at, body = f"feature_configs[{i}].{kind}", getattr(feature, kind)
        if kind != "sequence_feature":
            yield Feature(body.feature_name, body.feature_name, "", kind, at, body)
            continue
        for j, inner in enumerate(body.features):
            member = inner.WhichOneof("feature")
            if member is not None:
                own = getattr(inner, member)
                name, place = f"{body.sequence_name}__{own.feature_name}", f"{at}.features[{j}].{member}"
                yield Feature(name, own.feature_name, body.sequence_name, member, place, own)
