"""Which fields of a config are paths of files, and who reads them."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from tzrec_build.config.walk import SetField, walk_fields
from tzrec_build.protos.tzrec.pipeline_pb2 import EasyRecConfig

Kind = Literal["table", "output", "checkpoint", "asset", "asset_dir"]


@dataclass(frozen=True, slots=True)
class PathRow:
    """A path-valued field.

    Kinds: `table` is data (a comma list of globs); `output` is written, never an input; `checkpoint` is a checkpoint or a file
    that names its parameters; `asset` is a file that features read; `asset_dir` is the folder that the message's vocab_file is
    joined to, not a path of its own.
    """

    kind: Kind
    read_by: tuple[str, ...]  # purposes of `projection.project`


_DATA = ("select", "train", "eval")
_FEATURES = ("select", "train", "eval", "predict", "fg", "export")
_ASSET = PathRow("asset", _FEATURES)
_ASSET_DIR = PathRow("asset_dir", _FEATURES)
_SAMPLER_TABLE = PathRow("table", _DATA)

PATH_FIELDS: Mapping[str, PathRow] = {
    "EasyRecConfig.train_input_path": PathRow("table", ("select", "train")),
    "EasyRecConfig.eval_input_path": PathRow("table", _DATA),
    "EasyRecConfig.model_dir": PathRow("output", ()),
    "TrainConfig.fine_tune_checkpoint": PathRow("checkpoint", ("select", "train")),
    "TrainConfig.fine_tune_ckpt_param_map": PathRow("checkpoint", ("select", "train")),
    "DeltaEmbeddingDumpConfig.output_dir": PathRow("output", ()),
    "NegativeSampler.input_path": _SAMPLER_TABLE,
    "NegativeSamplerV2.user_input_path": _SAMPLER_TABLE,
    "NegativeSamplerV2.item_input_path": _SAMPLER_TABLE,
    "NegativeSamplerV2.pos_edge_input_path": _SAMPLER_TABLE,
    "HardNegativeSampler.user_input_path": _SAMPLER_TABLE,
    "HardNegativeSampler.item_input_path": _SAMPLER_TABLE,
    "HardNegativeSampler.hard_neg_edge_input_path": _SAMPLER_TABLE,
    "HardNegativeSamplerV2.user_input_path": _SAMPLER_TABLE,
    "HardNegativeSamplerV2.item_input_path": _SAMPLER_TABLE,
    "HardNegativeSamplerV2.pos_edge_input_path": _SAMPLER_TABLE,
    "HardNegativeSamplerV2.hard_neg_edge_input_path": _SAMPLER_TABLE,
    "TDMSampler.item_input_path": _SAMPLER_TABLE,
    "TDMSampler.edge_input_path": _SAMPLER_TABLE,
    "TDMSampler.predict_edge_input_path": _SAMPLER_TABLE,
    "TextNormalizer.stop_char_file": _ASSET,
    "CustomFeature.operator_lib_file": _ASSET,
    "DynamicEmbedding.init_table": PathRow("table", ("select", "train")),
} | {
    f"{message}.{field}": row
    for message in (
        "IdFeature",
        "ComboFeature",
        "LookupFeature",
        "MatchFeature",
        "CustomFeature",
        "BoolMaskFeature",
        "TokenizeFeature",
    )
    for field, row in (("vocab_file", _ASSET), ("asset_dir", _ASSET_DIR))
}

NOT_PATHS: frozenset[str] = frozenset(  # text fields whose names look like paths
    {
        "LookupFeature.map",  # a column reference such as user:counts
        "MatchFeature.nested_map",  # a column reference
        "DeltaEmbeddingDumpConfig.file_prefix",  # start of a file name below output_dir
    }
)

BUNDLED_PREFIX = "pyfg/lib/"  # an operator library with this prefix comes with the serving runtime, not from the user


def path_fields(config: EasyRecConfig) -> list[tuple[str, str]]:
    """List the paths of files that a config names, inputs and outputs, in declaration order.

    Returns:
        Pairs of field path and value. A vocabulary file is joined to its asset_dir. Empty values, asset_dir itself and
        libraries bundled with the runtime are left out.
    """
    return [(found.path, value) for found, _, value in _found(config)]


def classified_paths(config: EasyRecConfig) -> list[dict[str, object]]:
    """List the same paths with kind and readers: ``{"field", "value", "kind", "read_by"}``, ready for JSON."""
    return [
        {"field": found.path, "value": value, "kind": row.kind, "read_by": list(row.read_by)}
        for found, row, value in _found(config)
    ]


def _found(config: EasyRecConfig) -> list[tuple[SetField, PathRow, str]]:
    found = []
    for field in walk_fields(config):
        row = PATH_FIELDS.get(field.key)
        if row is None or row.kind == "asset_dir":
            continue
        value = str(field.value)
        if field.field.name == "vocab_file":
            value = posixpath.join(field.parent.asset_dir, value)
        if value and not value.startswith(BUNDLED_PREFIX):
            found.append((field, row, value))
    return found
