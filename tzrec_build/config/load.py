"""Load and save a pipeline config: text format, or JSON when the name ends with .json."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

from google.protobuf import text_format
from google.protobuf.message import Message

from tzrec_build.config.problems import Problem, excerpt, raise_problems
from tzrec_build.config.walk import walk_messages
from tzrec_build.errors import ConfigError, suggestion
from tzrec_build.files import write_text
from tzrec_build.protos.tzrec import data_pb2, pipeline_pb2
from tzrec_build.protos.tzrec.model_pb2 import FeatureGroupConfig
from tzrec_build.protos.tzrec.pipeline_pb2 import EasyRecConfig

_UNKNOWN_FIELD = re.compile(r'Message type "(?P<type>[\w.]+)" has no field named "(?P<name>[^"]*)"')
_UNKNOWN_ENUM = re.compile(r'Enum type "(?P<type>[\w.]+)" has no value named (?P<name>\S+?)\.?$')
_SET_TWICE = "should not have multiple"  # words of the parser
_PLACE_PREFIX = re.compile(r"^\d+:\d+ : (?:'.*': )?", re.DOTALL)

# Required by the schema, yet absent in good files: paths come from flags, a feature in no group needs no width (lint judges
# those in one), a sampler without hard negatives has none; and an encoded column needs no source.
_MAY_LACK = frozenset(
    {
        "EasyRecConfig.train_input_path",
        "EasyRecConfig.eval_input_path",
        "EasyRecConfig.model_dir",
        "IdFeature.embedding_dim",
        "BoolMaskFeature.embedding_dim",
        "TokenizeFeature.embedding_dim",
        "MIND.output_dim",
        "HardNegativeSampler.num_hard_sample",
        "HardNegativeSamplerV2.num_hard_sample",
    }
)
_ENCODED_MODES = frozenset({data_pb2.FG_NONE, data_pb2.FG_BUCKETIZE})
_SOURCE_FIELDS = frozenset({"expression", "map", "key", "nested_map", "pkey", "skey", "query", "title", "document"})


def load_pipeline_config(path: str | os.PathLike[str], *, allow_unknown: bool = False) -> EasyRecConfig:
    """Read a config, resolve deprecated fields and check that nothing required is missing.

    Args:
        path: text format, or JSON when the name ends with ``.json``.
        allow_unknown: skip fields that the schema does not have instead of refusing the file.

    Returns:
        The config. ``fg_encoded`` is replaced by the ``fg_mode`` that it stands for. Required fields may still be unset where
        that is usual (input paths, or the expression of an encoded feature), so serialize with ``SerializePartialToString``.

    Raises:
        ConfigError: the file cannot be read or parsed (``FILE:LINE:COL`` with the line and a caret), or fields are missing
            (all of them, ``FILE:LINE`` each).
    """
    return parse_pipeline_config(read_config_text(path), os.fspath(path), allow_unknown=allow_unknown)


def read_config_text(path: str | os.PathLike[str]) -> str:
    """Read the text of a config; raise ConfigError when it is no readable UTF-8 file."""
    try:
        return Path(path).read_bytes().decode("utf-8-sig")
    except OSError as err:
        raise ConfigError(
            f"{os.fspath(path)}: cannot read this config, {err.strerror}; give the path of a .config or .json file"
        ) from err
    except ValueError as err:  # bytes that are not UTF-8, or a NUL in the path
        raise ConfigError(f"{os.fspath(path)}: a config must be UTF-8 text, got {err}; save it as UTF-8") from err


def parse_pipeline_config(text: str, path: str, *, allow_unknown: bool = False) -> EasyRecConfig:
    """Parse the text of a config; `path` only names it in messages. See `load_pipeline_config`."""
    config = parse_config(text, path, allow_unknown=allow_unknown)
    raise_problems(missing_fields(config), path, text)
    return config


def parse_config(text: str, path: str, *, allow_unknown: bool = False) -> EasyRecConfig:
    """Parse the text of a config and resolve deprecated fields; required fields may be missing."""
    config = pipeline_pb2.EasyRecConfig()
    if path.endswith(".json"):
        from tzrec_build.config.load_json import parse_json  # most configs are text: saves 20 ms of start

        parse_json(text, path, config, allow_unknown=allow_unknown)
    else:
        _parse_text(text, path, config, allow_unknown=allow_unknown)
    resolve_compat(config)
    return config


def _parse_text(text: str, path: str, config: EasyRecConfig, *, allow_unknown: bool) -> None:
    try:
        try:
            text_format.Parse(text, config, allow_unknown_field=allow_unknown)
        except text_format.ParseError as err:
            if _SET_TWICE not in str(err):
                raise
            from tzrec_build.config.repeats import without_repeats  # rare

            config.Clear()
            text_format.Parse(without_repeats(text), config, allow_unknown_field=allow_unknown)
    except text_format.ParseError as err:
        place, shown = excerpt(path, text, err.GetLine() or 1, err.GetColumn() or 1)
        raise ConfigError(f"{place}: {parse_error_words(err)}\n{shown}") from err
    except RecursionError as err:
        raise ConfigError(
            f"{path}: braces are nested too deeply for any config; look for a missing closing brace"
        ) from err


def parse_error_words(err: text_format.ParseError) -> str:
    """Say what is wrong without the place: an unknown name with the nearest one, else in the parser's own words."""
    message = _PLACE_PREFIX.sub("", str(err))
    if found := _UNKNOWN_FIELD.search(message):
        return unknown_field(found["type"], found["name"])
    if found := _UNKNOWN_ENUM.search(message):
        return unknown_enum_value(found["type"], found["name"])
    return message[:1].lower() + message[1:].rstrip(".")


def unknown_field(type_name: str, name: str) -> str:
    """Say that a message has no such field, and which one was probably meant."""
    short = type_name.rsplit(".", 1)[-1]
    descriptor = pipeline_pb2.DESCRIPTOR.pool.FindMessageTypeByName(type_name)
    return f"{short} has no field {name!r}{suggestion(name, descriptor.fields_by_name)}"


def unknown_enum_value(type_name: str, name: str) -> str:
    """Say that an enum has no such value, and which one was probably meant."""
    short = type_name.rsplit(".", 1)[-1]
    descriptor = pipeline_pb2.DESCRIPTOR.pool.FindEnumTypeByName(type_name)
    return f"{short} has no value {name!r}{suggestion(name, descriptor.values_by_name)}"


def resolve_compat(config: EasyRecConfig) -> None:
    """Replace deprecated fields, in place, by what they stand for.

    ``fg_encoded`` present wins over ``fg_mode``: true is FG_NONE; false is FG_DAG with fg_threads > 0, else FG_NORMAL. The old
    field is then cleared, so that a later edit of ``fg_mode`` is not overruled when the file is loaded again. An encoder
    without ``input`` reads the one sequence group beside it.
    """
    for group in config.model_config.feature_groups:
        if len(group.sequence_groups) == 1:
            _name_only_sequence(group)
    data = config.data_config
    if not config.HasField("data_config") or not data.HasField("fg_encoded"):
        return
    unencoded = data_pb2.FG_DAG if data.fg_threads > 0 else data_pb2.FG_NORMAL
    data.fg_mode = data_pb2.FG_NONE if data.fg_encoded else unencoded
    data.ClearField("fg_encoded")


def _name_only_sequence(group: FeatureGroupConfig) -> None:
    name = group.sequence_groups[0].group_name or group.group_name
    for encoder in group.sequence_encoders:
        kind = encoder.WhichOneof("seq_module")
        if kind is not None and not getattr(encoder, kind).HasField("input"):
            getattr(encoder, kind).input = name


def missing_fields(config: EasyRecConfig) -> list[Problem]:
    """Find required fields that are unset and have no default of their own."""
    encoded = config.data_config.fg_mode in _ENCODED_MODES
    found = []
    for path, message in walk_messages(config):
        descriptor = message.DESCRIPTOR
        for field in _required_fields(descriptor.full_name, message):
            if message.HasField(field) or f"{descriptor.name}.{field}" in _MAY_LACK:
                continue
            if encoded and field in _SOURCE_FIELDS and descriptor.file.name.endswith("/feature.proto"):
                continue
            name = _own_name(message)
            of = f" {name!r}" if name else ""
            found.append(Problem("required", path, f"{descriptor.name}{of} must set {field}; add `{field}: ...` to it"))
    return found


_REQUIRED: dict[
    str, tuple[str, ...]
] = {}  # message type -> required fields without a default: the schema never changes in a process


def _required_fields(full_name: str, message: Message) -> tuple[str, ...]:
    known = _REQUIRED.get(full_name)
    if known is None:
        known = tuple(
            field.name for field in message.DESCRIPTOR.fields if field.is_required and not field.has_default_value
        )
        _REQUIRED[full_name] = known
    return known


def _own_name(message: Message) -> str:
    """Give the name by which a user knows a message: its feature, group, tower or sequence name."""
    for field in ("feature_name", "group_name", "tower_name", "sequence_name", "network_name", "input"):
        if field in message.DESCRIPTOR.fields_by_name:
            return str(getattr(message, field))
    return ""


def canonical_text(config: EasyRecConfig) -> str:
    """Write a config in its canonical form: fields by number, two spaces, UTF-8, no comments; parses to an equal config."""
    return str(text_format.MessageToString(config, as_utf8=True))


def file_text(config: EasyRecConfig, path: str | os.PathLike[str]) -> str:
    """Write a config as the file of that name holds it: JSON when the name ends with .json, else canonical text."""
    if not os.fspath(path).endswith(".json"):
        return canonical_text(config)
    from google.protobuf import json_format  # rarely used, 20 ms

    fields = json_format.MessageToDict(config, preserving_proto_field_name=True)
    return json.dumps(fields, indent=2, ensure_ascii=False) + "\n"


def save_pipeline_config(config: EasyRecConfig, path: str | os.PathLike[str]) -> None:
    """Replace a config file atomically, as JSON when the name ends with .json, else as canonical text.

    Args:
        config: what to write.
        path: the file; its folder is made when absent.
    """
    write_text(path, file_text(config, path))
