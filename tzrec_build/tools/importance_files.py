"""The files that `feature_importance` writes and `prune` and `report` read: one CSV table per feature group."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tzrec_build.errors import DataError

if TYPE_CHECKING:
    from tzrec_build.protos.tzrec.model_pb2 import FeatureGroupConfig

HEADER = "feature_name,mean_drop_p"
PREFIX, SUFFIX = "feature_dropout_ratio_", ".csv"


def group_entries(group: FeatureGroupConfig) -> list[str]:
    """What a group's dropout vector counts, in its order: the features, then the outputs of its sequence encoders."""
    encoders = [f"{group.group_name}_seq_encoder_{number}" for number in range(len(group.sequence_encoders))]
    return list(dict.fromkeys([*group.feature_names, *encoders]))


def table_path(folder: Path, group: str) -> Path:
    """Path of a group's table."""
    return folder / f"{PREFIX}{group}{SUFFIX}"


def format_table(drop_p: Mapping[str, float]) -> str:
    r"""Text of a group's table, most useful feature first; equal probabilities keep the group's order.

    Args:
        drop_p: entry -> dropout probability in [0, 1]; a small one means that the feature is needed.

    >>> format_table({"age": 0.75, "city": 0.25})
    'feature_name,mean_drop_p\ncity,0.25\nage,0.75\n'
    """
    rows = sorted(drop_p.items(), key=lambda item: item[1])
    return "\n".join([HEADER, *(f"{name},{value!r}" for name, value in rows)]) + "\n"


def load_tables(folder: Path) -> dict[str, dict[str, float]]:
    """Read every table of a folder: group -> entry -> dropout probability, most useful first; groups by name.

    Raises:
        DataError: there is no table, or one is damaged.
    """
    paths = sorted(folder.glob(f"{PREFIX}*{SUFFIX}"))
    if not paths:
        raise DataError(f"{folder}: no file {PREFIX}*{SUFFIX}; make them with the tool feature_importance")
    return {path.name.removeprefix(PREFIX).removesuffix(SUFFIX): parse_table(path) for path in paths}


def parse_table(path: Path) -> dict[str, float]:
    """Read one table; see `load_tables`."""
    header, *lines = path.read_text(encoding="utf-8").splitlines() or [""]
    if header != HEADER:
        raise DataError(f"{path}:1: must be {HEADER!r}, got {header!r}; write it with the tool feature_importance")
    drop_p: dict[str, float] = {}
    for number, line in enumerate(lines, start=2):
        name, comma, text = line.rpartition(",")
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not comma or not name or not 0.0 <= value <= 1.0:
            raise DataError(f"{path}:{number}: must be a name and a probability in [0, 1], got {line!r}")
        if name in drop_p:
            raise DataError(f"{path}:{number}: {name!r} stands twice; write the table with the tool feature_importance")
        drop_p[name] = value
    return dict(sorted(drop_p.items(), key=lambda item: item[1]))
