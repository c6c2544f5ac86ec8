"""The features of a pipeline config, in its order, sequence blocks flattened."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tzrec_build.errors import ConfigError, NotSupportedError
from tzrec_build.features.feature import Feature
from tzrec_build.features.registry import FEATURES, SEQUENCE_MEMBERS
from tzrec_build.features.scope import FG_BUCKETIZE, FG_DAG, FG_NONE, FG_NORMAL, FeatureScope, SequenceScope
from tzrec_build.protos.tzrec import data_pb2, pipeline_pb2

_FG_MODES = (FG_NONE, FG_NORMAL, FG_DAG, FG_BUCKETIZE)


@dataclass(frozen=True, slots=True)
class _Shared:
    fg_mode: str
    multival_sep: str
    sampled_fields: frozenset[str]
    base_dir: Path


def create_features(cfg: pipeline_pb2.EasyRecConfig, base_dir: str | Path = ".") -> list[Feature]:
    """Build the features of a config.

    Args:
        cfg: the pipeline config; fields that are not covered are refused before, by `config.support.check_supported`.
        base_dir: folder that relative paths of vocabularies start from.
    Returns:
        Features in the order of `feature_configs`; a block gives one per member, named ``<sequence_name>__<feature_name>``.
    Raises:
        ConfigError: a feature is wrong or two have one name; names the feature.
        NotSupportedError: a type that is not built yet.
    """
    data_config = cfg.data_config
    shared = _Shared(
        fg_mode=resolve_fg_mode(data_config),
        multival_sep=data_config.fg_encoded_multival_sep,
        sampled_fields=frozenset(data_config.negative_sampler.attr_fields),
        base_dir=Path(base_dir),
    )
    features: list[Feature] = []
    places: dict[str, str] = {}
    for position, feature_config in enumerate(cfg.feature_configs):
        for feature in _create(feature_config, f"feature_configs[{position}]", shared):
            if feature.name in places:
                raise ConfigError(
                    f"{feature.scope.where}: the name {feature.name!r} is taken by {places[feature.name]}"
                )
            places[feature.name] = feature.scope.where
            features.append(feature)
    return features


def resolve_fg_mode(data_config: data_pb2.DataConfig) -> str:
    """Name of the fg mode; the deprecated `fg_encoded` wins where it is set.

    >>> resolve_fg_mode(data_pb2.DataConfig(fg_encoded=False, fg_threads=0))
    'FG_NORMAL'
    """
    if data_config.HasField("fg_encoded"):
        if data_config.fg_encoded:
            return FG_NONE
        return FG_DAG if data_config.fg_threads > 0 else FG_NORMAL
    return _FG_MODES[data_config.fg_mode - 1]


def _create(feature_config: Any, place: str, shared: _Shared) -> Iterator[Feature]:
    kind = feature_config.WhichOneof("feature")
    if kind is None:
        raise ConfigError(f"{place}: must hold one feature, got an empty message")
    message = getattr(feature_config, kind)
    if kind == "sequence_feature":
        yield from _create_block(message, f"{place}.sequence_feature", shared)
        return
    sequence = None
    if kind.startswith("sequence_"):
        if not message.sequence_length:
            raise ConfigError(f"feature {message.feature_name!r} ({place}.{kind}): sequence_length must be at least 1")
        sequence = SequenceScope("", int(message.sequence_length), message.sequence_delim, "")
    yield _build(kind, message, f"{place}.{kind}", sequence, shared)


def _create_block(block: Any, place: str, shared: _Shared) -> Iterator[Feature]:
    name = block.sequence_name
    if not name or not block.sequence_length:
        raise ConfigError(f"{place}: a sequence block must set sequence_name and sequence_length")
    sequence = SequenceScope(
        name, int(block.sequence_length), block.sequence_delim, block.sequence_pk or f"user:{name}"
    )
    for position, member in enumerate(block.features):
        kind = member.WhichOneof("feature")
        if kind is None:
            raise ConfigError(f"{place}.features[{position}]: must hold one feature, got an empty message")
        if kind not in SEQUENCE_MEMBERS:
            raise NotSupportedError(f"{kind} inside a sequence_feature", f"{place}.features[{position}]")
        yield _build(kind, getattr(member, kind), f"{place}.features[{position}].{kind}", sequence, shared)


def _build(kind: str, message: Any, place: str, sequence: SequenceScope | None, shared: _Shared) -> Feature:
    where = f"feature {message.feature_name!r} ({place})"
    if kind not in FEATURES:
        raise NotSupportedError(kind, where)
    if sequence is not None and not sequence.delim:
        raise ConfigError(f"{where}: sequence_delim must not be empty")
    module, _, name = FEATURES[kind].partition(":")
    scope = FeatureScope(
        kind=kind,
        where=where,
        fg_mode=shared.fg_mode,
        sequence=sequence,
        multival_sep=shared.multival_sep,
        sampled_fields=shared.sampled_fields,
        base_dir=shared.base_dir,
    )
    feature: Feature = getattr(importlib.import_module(module), name)(message, scope)
    return feature
