"""The part of a config that one purpose reads, in a canonical form: equal projections mean equal results.

A comment, the order of sections, a field spelled out with its default, or a field that only other purposes read never changes
a projection; every field that the purpose reads does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from tzrec_build.config.support import NO_EFFECT
from tzrec_build.config.walk import walk_messages
from tzrec_build.errors import ConfigError, suggestion
from tzrec_build.protos.tzrec.pipeline_pb2 import EasyRecConfig

# Written into every projected file. Raise it when a default in the schema changes: the text of a file that leaves the field out
# would stay the same while its meaning changes. A golden test over all defaults forces this. (A change of the tables below
# changes the text itself.)
PROJECTION_VERSION = 1

Purpose = Literal["select", "train", "eval", "predict", "fg", "export", "index"]
PURPOSES: tuple[Purpose, ...] = get_args(Purpose)


@dataclass(frozen=True, slots=True)
class Part:
    """What a purpose keeps: sections of the config, less the fields (``Message.field``) that it does not read."""

    sections: frozenset[str]
    unread: frozenset[str]


_SHUFFLE = frozenset({"DataConfig.shuffle", "DataConfig.shuffle_buffer_size", "DataConfig.drop_remainder"})
_METRICS = frozenset({"ModelConfig.metrics", "TaskTower.metrics", "BayesTaskTower.metrics"})
_LABELS = frozenset({"DataConfig.label_fields", "DataConfig.sample_weight_fields", "DataConfig.negative_sampler"})
_PICKING = frozenset(
    f"ExportConfig.{name}" for name in ("exporter_type", "best_exporter_metric", "metric_larger_is_better")
)
_TABLES = frozenset(
    f"{message}.{field}"
    for message in ("IdFeature", "RawFeature", "ComboFeature")
    for field in ("embedding_name", "pooling", "init_fn", "trainable", "data_type")
)
_FORMAT = frozenset(
    f"DataConfig.{field}"
    for field in (
        "batch_size",
        "eval_batch_size",
        "delimiter",
        "with_header",
        "input_fields",
        "input_fields_str",
        "fg_encoded_multival_sep",
    )
)
_PRESENCE = frozenset({"stub_type"})  # any message: fg.json repeats the field when it is set, also to its default
_PRESENCE_KEYS = frozenset({"ExprFeature.value_dim", "ComboFeature.value_dim"})  # 0 when set differs from unset
_MODEL = frozenset({"data_config", "feature_configs", "model_config"})

# Where metrics go, losses stay: the list of losses decides which outputs a model has. The sampler stays with every model,
# because its attr_fields decide in which data group, and so under which parameter names, a table lives.
PARTS: Mapping[str, Part] = {
    "select": Part(_MODEL | {"train_config", "eval_config"}, frozenset()),
    "train": Part(_MODEL | {"train_config", "eval_config"}, frozenset()),
    "eval": Part(_MODEL | {"eval_config"}, _SHUFFLE),
    "predict": Part(_MODEL, _SHUFFLE | _METRICS),
    "fg": Part(frozenset({"data_config", "feature_configs"}), _SHUFFLE | _LABELS | _FORMAT | _TABLES),
    "export": Part(_MODEL | {"export_config"}, _SHUFFLE | _METRICS | _PICKING),
    "index": Part(frozenset(), frozenset()),
}


def project(config: EasyRecConfig, purpose: str) -> EasyRecConfig:
    """Keep what one purpose reads of a config.

    Left out: sections and fields that the purpose does not read, fields without effect (`support.NO_EFFECT`), scalars equal to
    the schema's default, and the paths of input tables and of the model folder (they come from flags). A field without a
    default in the schema stays when it is set, also to zero, because there presence has a meaning.

    Raises:
        ConfigError: there is no such purpose.
    """
    if purpose not in PARTS:
        raise ConfigError(f"purpose: must be a known one, got {purpose!r}{suggestion(purpose, PARTS)}")
    part = PARTS[purpose]
    kept = type(config)()
    for name in sorted(part.sections):
        _copy_section(config, kept, name)
    for _, message in list(walk_messages(kept)):
        _strip(message, part.unread)
    for name in part.sections:
        field = kept.DESCRIPTOR.fields_by_name[name]
        if not field.is_repeated and not getattr(kept, name).ListFields():
            kept.ClearField(name)
    return kept


def _copy_section(source: Message, target: Message, name: str) -> None:
    if source.DESCRIPTOR.fields_by_name[name].is_repeated:
        getattr(target, name).MergeFrom(getattr(source, name))
    elif source.HasField(name):
        getattr(target, name).CopyFrom(getattr(source, name))


def _strip(message: Message, unread: frozenset[str]) -> None:
    for field, value in message.ListFields():
        key = f"{message.DESCRIPTOR.name}.{field.name}"
        if key in NO_EFFECT and field.is_required and not field.has_default_value:
            setattr(message, field.name, field.default_value)  # must be there to be read again, whatever it says
        elif key in NO_EFFECT or key in unread or (_says_default(field, value) and not _presence_counts(field, key)):
            message.ClearField(field.name)


def _says_default(field: FieldDescriptor, value: object) -> bool:
    plain = not field.is_repeated and field.message_type is None
    return bool(plain and field.has_default_value and value == field.default_value)


def _presence_counts(field: FieldDescriptor, key: str) -> bool:
    return field.name in _PRESENCE or key in _PRESENCE_KEYS
