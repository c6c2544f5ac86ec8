"""Names inside a model directory and the choice of a checkpoint; no torch, so that light tools start at once.

Layout: ``<model_dir>/model.ckpt-<step>/{model,optimizer,plan,dataloader_state.json}`` and one JSON line an evaluation in
``train_eval_result_v2.txt``. Steps count from 0: the name is the index of the last finished step.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tzrec_build.errors import ConfigError, DataError, suggestion

EVAL_RESULT_FILE = "train_eval_result_v2.txt"
_NAME = re.compile(r"model\.ckpt-(\d+)")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One whole checkpoint: its step, None where the folder's name does not tell it, and its folder."""

    step: int | None
    path: Path


def checkpoint_name(step: int) -> str:
    """Folder name of a step.

    >>> checkpoint_name(99)
    'model.ckpt-99'
    """
    return f"model.ckpt-{step}"


def step_of(path: Path) -> int | None:
    """Step of a checkpoint folder by its name, None when the name is another.

    >>> step_of(Path("m/model.ckpt-7")), step_of(Path("m/final"))
    (7, None)
    """
    match = _NAME.fullmatch(path.name)
    return int(match.group(1)) if match else None


def is_whole(path: Path) -> bool:
    """True when the model part was written to its end (its metadata is written last)."""
    return (path / "model" / ".metadata").is_file()


def list_checkpoints(model_dir: Path) -> list[Checkpoint]:
    """Whole checkpoints of a model directory by ascending step; a half-written folder is not one."""
    whole = [path for path in model_dir.glob("model.ckpt-*") if is_whole(path)]
    found = sorted((step, path) for path in whole if (step := step_of(path)) is not None)
    return [Checkpoint(step, path) for step, path in found]


def find_checkpoint(path: Path) -> Checkpoint:
    """A checkpoint folder itself, or the latest one inside a model directory.

    Raises:
        DataError: there is none.
    """
    if is_whole(path):
        return Checkpoint(step_of(path), path)
    found = list_checkpoints(path)
    if not found:
        raise DataError(
            f"{path}: no whole checkpoint (model.ckpt-N/model/.metadata) here; train first or name another folder"
        )
    return found[-1]


def load_eval_results(model_dir: Path) -> dict[int, dict[str, float]]:
    """Metrics by step from the evaluation file; of two lines for one step the last counts, blank lines are skipped.

    Raises:
        DataError: the file is absent, or a line is no JSON object with a step.
    """
    path = model_dir / EVAL_RESULT_FILE
    try:
        lines = path.read_text().splitlines()
    except OSError as err:
        raise DataError(f"{path}: cannot be read ({err.strerror}); set eval_input_path and train again") from err
    results: dict[int, dict[str, float]] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            values = json.loads(line)
            step = int(values.pop("global_step"))
        except (ValueError, KeyError, TypeError, AttributeError) as err:
            raise DataError(f"{path}:{number}: not a JSON object with a global_step; remove the line") from err
        results[step] = values
    return results


def best_step(results: Mapping[int, Mapping[str, float]], metric: str, *, larger_is_better: bool) -> int:
    """Step with the best value of a metric; the earliest of equals; a NaN never wins.

    Raises:
        ConfigError: the metric is not among the results, or is NaN everywhere.

    >>> best_step({1: {"auc": 0.6}, 2: {"auc": 0.7}}, "auc", larger_is_better=True)
    2
    """
    known = {name for values in results.values() for name in values}
    if metric not in known:
        raise ConfigError(f"--metric: {metric!r} was not evaluated{suggestion(metric, known)}")
    sign = -1.0 if larger_is_better else 1.0
    ranked = [
        (sign * values[metric], step)
        for step, values in results.items()
        if not math.isnan(values.get(metric, math.nan))
    ]
    if not ranked:
        raise ConfigError(f"--metric: {metric!r} is NaN in every evaluation; pick by latest or mend the eval data")
    return min(ranked)[1]


def choose_checkpoint(checkpoint_path: str, model_dir: str, pick: str) -> Checkpoint:
    """The checkpoint that a tool's flags name: a path, or a model directory with the file that `pick_checkpoint` wrote.

    Args:
        checkpoint_path: a checkpoint, or a model directory whose latest is meant; or "".
        model_dir: a model directory, or ""; exactly one of the two is given.
        pick: goes with `model_dir`; "" for the latest.
    Raises:
        ConfigError: the flags contradict each other.
        DataError: there is no such checkpoint, or `pick` names none.
    """
    if bool(checkpoint_path) == bool(model_dir):
        raise ConfigError("--checkpoint_path, --model_dir: exactly one must be given; remove or add one")
    if pick and not model_dir:
        raise ConfigError("--pick: chooses inside --model_dir, got --checkpoint_path; remove one of them")
    if not pick:
        return find_checkpoint(Path(checkpoint_path or model_dir))
    try:
        name = checkpoint_name(int(json.loads(Path(pick).read_text(encoding="utf-8"))["step"]))
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise DataError(f"{pick}: not a choice of a checkpoint ({err}); write it with pick_checkpoint") from err
    return find_checkpoint(Path(model_dir) / name)
