"""Where a feature stands in the config: its sequence, the fg mode, the data group."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

FG_NONE = "FG_NONE"
FG_NORMAL = "FG_NORMAL"
FG_DAG = "FG_DAG"
FG_BUCKETIZE = "FG_BUCKETIZE"
RAW_INPUT_MODES = (FG_NORMAL, FG_DAG)


@dataclass(frozen=True, slots=True)
class SequenceScope:
    """The sequence that a feature belongs to.

    Attributes:
        name: of the block; "" for a flat sequence feature, which is its own sequence.
        length: at most this many first elements are kept (not in FG_NONE).
        delim: separator of the elements of a text.
        primary_key: `sequence_pk` of the block, only written to fg.json.
    """

    name: str
    length: int
    delim: str
    primary_key: str


@dataclass(frozen=True, slots=True)
class FeatureScope:
    """Everything about a feature that its own message does not say.

    Attributes:
        kind: oneof name in the config, ``id_feature``, ``sequence_id_feature``, ...
        where: place in the config for messages, ``feature 'age' (feature_configs[0].raw_feature)``.
        fg_mode: one of the four mode names.
        sequence: the sequence, or None.
        multival_sep: `data_config.fg_encoded_multival_sep`.
        sampled_fields: columns that a negative sampler appends rows to.
        base_dir: folder that relative vocabulary paths start from.
    """

    kind: str
    where: str
    fg_mode: str
    sequence: SequenceScope | None
    multival_sep: str
    sampled_fields: frozenset[str]
    base_dir: Path
