"""From features and feature groups to tables and columns: everything about embeddings that is decided before any tensor."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from tzrec_build.errors import ConfigError, NotSupportedError, suggestion
from tzrec_build.modules.embedding_tables import EmbeddedFeature, Table, add_table, feature_table
from tzrec_build.modules.sequence_encoders import encoder_kind
from tzrec_build.protos.tzrec import model_pb2, seq_encoder_pb2

_GROUP_TYPE = model_pb2.FeatureGroupType
WIDE_EMBEDDING_DIM = 4


@dataclass(frozen=True, slots=True)
class Column:
    """One feature inside a group.

    Args:
        feature: feature name.
        dim: width.
        table: name of its table; empty for a dense feature, which is used as it is.
    """

    feature: str
    dim: int
    table: str


@dataclass(frozen=True, slots=True)
class SequenceGroup:
    """Query and sequence columns that belong together; `name` prefixes the three outputs."""

    name: str
    data_group: str
    query: tuple[Column, ...]
    sequence: tuple[Column, ...]

    @property
    def query_dim(self) -> int:
        """Width of the query."""
        return sum(column.dim for column in self.query)

    @property
    def sequence_dim(self) -> int:
        """Width of one position."""
        return sum(column.dim for column in self.sequence)


@dataclass(frozen=True, slots=True)
class FlatGroup:
    """A DEEP or WIDE group: its columns, then its sequence encoders."""

    name: str
    data_group: str
    columns: tuple[Column, ...]
    encoders: tuple[tuple[seq_encoder_pb2.SeqEncoderConfig, str], ...]
    where: str


@dataclass(frozen=True, slots=True)
class EmbeddingPlan:
    """Tables and groups of one embedding stage.

    Args:
        pooled: data group -> tables of bags, in order of appearance.
        sequences: (data group, dim) -> tables of sequences.
        flat_groups: DEEP and WIDE groups.
        sequence_groups: SEQUENCE groups and the sequence groups inside DEEP groups.
    """

    pooled: Mapping[str, tuple[Table, ...]]
    sequences: Mapping[tuple[str, int], tuple[Table, ...]]
    flat_groups: tuple[FlatGroup, ...]
    sequence_groups: tuple[SequenceGroup, ...]


@dataclass(slots=True)
class _Planner:
    """Collects tables while the groups are walked."""

    features: Mapping[str, EmbeddedFeature]
    wide_embedding_dim: int
    wide_init_fn: str
    pooled: dict[str, dict[str, Table]] = field(default_factory=dict)
    sequences: dict[tuple[str, int], dict[str, Table]] = field(default_factory=dict)

    def flat_group(self, config: model_pb2.FeatureGroupConfig, where: str) -> FlatGroup:
        features = [self.find(name, where) for name in _unique(config.feature_names, f"{where}.feature_names")]
        wide = config.group_type == _GROUP_TYPE.WIDE
        columns = tuple(self.pooled_column(feature, config, where, wide=wide) for feature in features)
        return FlatGroup(
            name=config.group_name,
            data_group=_one_data_group(features, where),
            columns=columns,
            encoders=tuple(
                (encoder, _encoder_input(encoder, f"{where}.sequence_encoders[{i}]"))
                for i, encoder in enumerate(config.sequence_encoders)
            ),
            where=where,
        )

    def pooled_column(
        self, feature: EmbeddedFeature, config: model_pb2.FeatureGroupConfig, where: str, *, wide: bool
    ) -> Column:
        if feature.is_sequence:
            raise ConfigError(
                f"{where}: {feature.name!r} is a sequence, which a DEEP or WIDE group cannot hold as a feature; "
                "move it to sequence_groups of this group, with a sequence encoder"
            )
        if not feature.is_sparse:
            if wide:
                raise ConfigError(
                    f"{where}: a WIDE group holds features with an embedding only, got the dense {feature.name!r}; "
                    "give it boundaries and an embedding_dim, or remove it from this group"
                )
            return Column(feature.name, feature.output_dim, "")
        table = feature_table(feature, ("_wide" if wide else "", config.embedding_name_suffix))
        if wide:
            init_fn = self.wide_init_fn or table.init_fn
            table = replace(table, embedding_dim=self.wide_embedding_dim, init_fn=init_fn)
        add_table(self.pooled.setdefault(feature.data_group, {}), table, where)
        return Column(feature.name, table.embedding_dim, table.name)

    def sequence_group(self, name: str, names: Iterable[str], suffix: str, where: str) -> SequenceGroup:
        features = [self.find(item, where) for item in _unique(names, f"{where}.feature_names")]
        if not any(feature.is_sequence for feature in features):
            raise ConfigError(f"{where}: needs at least one sequence feature, got {[f.name for f in features]}")
        columns: dict[bool, list[Column]] = {True: [], False: []}
        for feature in features:
            columns[feature.is_sequence].append(self.sequence_column(feature, suffix, where))
        data_group = _one_data_group(features, where)
        return SequenceGroup(name, data_group, tuple(columns[False]), tuple(columns[True]))

    def sequence_column(self, feature: EmbeddedFeature, suffix: str, where: str) -> Column:
        if not feature.is_sparse:
            return Column(feature.name, feature.output_dim, "")
        table = replace(feature_table(feature, ("", suffix)), pooling="")
        add_table(self.sequences.setdefault((feature.data_group, table.embedding_dim), {}), table, where)
        return Column(feature.name, table.embedding_dim, table.name)

    def find(self, name: str, where: str) -> EmbeddedFeature:
        if name not in self.features:
            raise ConfigError(f"{where}: no feature is named {name!r}{suggestion(name, self.features)}")
        return self.features[name]


def plan_embeddings(
    features: Sequence[EmbeddedFeature],
    groups: Sequence[model_pb2.FeatureGroupConfig],
    wide_embedding_dim: int = WIDE_EMBEDDING_DIM,
    wide_init_fn: str = "",
) -> EmbeddingPlan:
    """Decide tables and columns of the given feature groups.

    Args:
        features: all features of the config.
        groups: the feature groups of one embedding stage.
        wide_embedding_dim: dim of the tables of WIDE groups.
        wide_init_fn: initialiser of those tables; empty keeps each feature's own.

    Raises:
        ConfigError: a group is inconsistent; the message names group, feature and what to change.
        NotSupportedError: a JAGGED_SEQUENCE group.
    """
    planner = _Planner({feature.name: feature for feature in features}, wide_embedding_dim, wide_init_fn)
    flat: list[FlatGroup] = []
    sequence: list[SequenceGroup] = []
    _unique([group.group_name for group in groups], "model_config.feature_groups: group_name")
    for group in groups:
        where = f"model_config.feature_groups {group.group_name!r}"
        if group.group_type == _GROUP_TYPE.JAGGED_SEQUENCE:
            raise NotSupportedError("group_type: JAGGED_SEQUENCE", where)
        if not group.feature_names and not group.sequence_groups:
            raise ConfigError(f"{where}: has no features; add feature_names or remove the group")
        if group.group_type == _GROUP_TYPE.SEQUENCE:
            _refuse_nested(group, where)
            sequence.append(
                planner.sequence_group(group.group_name, group.feature_names, group.embedding_name_suffix, where)
            )
            continue
        nested = _nested_groups(planner, group, where)
        flat.append(planner.flat_group(group, where))
        _check_encoders(flat[-1], nested)
        sequence.extend(nested)
    _unique([group.name for group in sequence], "model_config.feature_groups: name of a sequence group")
    return EmbeddingPlan(
        pooled={name: tuple(tables.values()) for name, tables in planner.pooled.items()},
        sequences={key: tuple(tables.values()) for key, tables in planner.sequences.items()},
        flat_groups=tuple(flat),
        sequence_groups=tuple(sequence),
    )


def _nested_groups(planner: _Planner, group: model_pb2.FeatureGroupConfig, where: str) -> list[SequenceGroup]:
    """Sequence groups inside a DEEP group, with the names and suffixes that they inherit."""
    if group.group_type == _GROUP_TYPE.WIDE:
        _refuse_nested(group, where)
    nested = []
    for config in group.sequence_groups:
        if not config.group_name and len(group.sequence_groups) > 1:
            raise ConfigError(f"{where}.sequence_groups: each of several groups needs a group_name; add them")
        name = config.group_name or group.group_name
        suffix = (
            config.embedding_name_suffix if config.HasField("embedding_name_suffix") else group.embedding_name_suffix
        )
        nested.append(planner.sequence_group(name, config.feature_names, suffix, f"{where}.sequence_groups {name!r}"))
    return nested


def _check_encoders(group: FlatGroup, nested: Sequence[SequenceGroup]) -> None:
    """Encoders and sequence groups must match one another."""
    if bool(group.encoders) != bool(nested):
        present, absent = (
            ("sequence_encoders", "sequence_groups") if group.encoders else ("sequence_groups", "sequence_encoders")
        )
        raise ConfigError(f"{group.where}: has {present} but no {absent}; one needs the other")
    names = [sequence.name for sequence in nested]
    for _, source in group.encoders:
        if source not in names:
            raise ConfigError(
                f"{group.where}.sequence_encoders: input names no sequence group of this group, "
                f"got {source!r}{suggestion(source, names)}"
            )
    used = {source for _, source in group.encoders}
    unused = [name for name in names if name not in used]
    if unused:
        raise ConfigError(f"{group.where}: no encoder reads sequence group {unused[0]!r}; add one or remove the group")


def _encoder_input(config: seq_encoder_pb2.SeqEncoderConfig, where: str) -> str:
    source = getattr(config, encoder_kind(config, where)).input
    return str(source)


def _refuse_nested(group: model_pb2.FeatureGroupConfig, where: str) -> None:
    if group.sequence_groups or group.sequence_encoders:
        raise ConfigError(f"{where}: only a DEEP group may hold sequence_groups and sequence_encoders; move them")


def _unique(names: Iterable[str], where: str) -> list[str]:
    """Return the names as a list; raise ConfigError when one occurs twice."""
    seen: list[str] = []
    for name in names:
        if name in seen:
            raise ConfigError(f"{where}: must be unique, got {name!r} twice; remove or rename one")
        seen.append(name)
    return seen


def _one_data_group(features: Sequence[EmbeddedFeature], where: str) -> str:
    """Data group that all features share; `__BASE__` when there are none."""
    found = {feature.data_group: feature.name for feature in features}
    if len(found) > 1:
        (first, one), (second, other) = sorted(found.items())[:2]
        raise ConfigError(
            f"{where}: must not mix rows with and without sampled negatives, got {one!r} in {first} and {other!r} in "
            f"{second}; split the group"
        )
    return next(iter(found), "__BASE__")
