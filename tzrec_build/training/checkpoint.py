"""Writes and restores checkpoints in TorchEasyRec's layout: whole or absent, and equal bytes for equal tensors.

``model.ckpt-N/model`` and ``/optimizer`` are torch.distributed.checkpoint folders; ``plan`` says how tables were sharded;
``dataloader_state.json`` counts finished passes over the data.
"""

from __future__ import annotations

import logging
import os
import shutil
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.distributed.checkpoint import FileSystemWriter, save
from torch.distributed.checkpoint.metadata import StorageMeta

from tzrec_build.errors import DataError
from tzrec_build.files import write_json
from tzrec_build.training.checkpoint_dir import Checkpoint, checkpoint_name, list_checkpoints
from tzrec_build.training.checkpoint_reader import TensorEntry, load_entries, read_entry
from tzrec_build.training.distributed import copy_state, local_pieces, whole_shape

logger = logging.getLogger("tzrec_build")
_SHOWN_NAMES = 3


@dataclass(frozen=True, slots=True)
class CheckpointState:
    """What one checkpoint holds.

    Args:
        model: parameter or buffer name -> live tensor.
        optimizer: parameter name -> state name -> live tensor.
        plan: module path -> table -> sharding.
        epochs: finished passes over the data.
    """

    model: Mapping[str, object]
    optimizer: Mapping[str, Mapping[str, object]]
    plan: Mapping[str, object]
    epochs: int


class _StableWriter(FileSystemWriter):
    """A writer whose metadata names no absolute path and no random id, so that equal tensors give equal files."""

    def storage_meta(self) -> StorageMeta:
        return StorageMeta(checkpoint_id=Path(self.path).name, save_id="")


def save_checkpoint(model_dir: Path, step: int, state: CheckpointState) -> Checkpoint:
    """Write ``model.ckpt-<step>`` beside its place, then rename; an interrupted save leaves nothing that looks like one."""
    target = model_dir / checkpoint_name(step)
    work = model_dir / f".{checkpoint_name(step)}.partial"
    shutil.rmtree(work, ignore_errors=True)
    (work / "model").mkdir(parents=True)
    _write_part(work / "model", dict(state.model))
    if state.optimizer:
        (work / "optimizer").mkdir()
        _write_part(work / "optimizer", {"state": {name: dict(entries) for name, entries in state.optimizer.items()}})
    write_json(work / "plan", state.plan)
    write_json(work / "dataloader_state.json", {"__epochs_completed__": state.epochs})
    if target.exists():
        shutil.rmtree(target)
    os.replace(work, target)
    return Checkpoint(step, target)


def _write_part(folder: Path, state: dict[str, object]) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")  # one process writes: that is meant
        warnings.simplefilter("ignore", FutureWarning)  # TorchRec still shards by ShardedTensor
        save(state, storage_writer=_StableWriter(folder, thread_count=1), no_dist=True)


def drop_old_checkpoints(model_dir: Path, keep: int, protected: Path | None = None) -> list[Path]:
    """Remove all but the newest `keep` checkpoints (0 keeps all) and the protected one; returns what was removed."""
    found = list_checkpoints(model_dir)
    old = [one.path for one in found[: max(len(found) - keep, 0)] if one.path != protected] if keep else []
    for path in old:
        aside = path.with_name(f".{path.name}.partial")
        os.replace(path, aside)  # a half-removed folder must not look like a checkpoint either
        shutil.rmtree(aside)
    return old


@dataclass(frozen=True, slots=True)
class Restored:
    """Names taken from a checkpoint, and names of ours that it lacks or keeps in another shape (they stay as they were)."""

    taken: tuple[str, ...]
    skipped: tuple[str, ...]


def restore_state(folder: Path, target: Mapping[str, object], *, strict: bool) -> Restored:
    """Copy one checkpoint part into the live tensors of a state dict, one tensor at a time.

    Args:
        folder: ``model.ckpt-N/model`` or ``/optimizer``.
        target: name -> live Tensor or ShardedTensor.
        strict: names and shapes must be the same on both sides; else what fits is taken.
    Raises:
        DataError: unreadable, nothing in common, or (strict) a name is missing, has another shape, or is there in excess.
            Nothing is copied then, unless a file of tensors is damaged.
    """
    entries = load_entries(folder)
    wanted = {name: value for name, value in target.items() if local_pieces(value)}
    skipped = [
        name for name, value in wanted.items() if name not in entries or entries[name].shape != whole_shape(value)
    ]
    if strict:
        _refuse_difference(folder, entries, target, skipped)
    taken = [name for name in wanted if name not in set(skipped)]
    if target and not taken:
        raise DataError(f"{folder}: shares no tensor with this model; name a checkpoint of the same model")
    for name in taken:
        copy_state({name: wanted[name]}, {name: read_entry(folder, name, entries[name])})
    return Restored(tuple(taken), tuple(skipped))


def _refuse_difference(
    folder: Path, entries: Mapping[str, TensorEntry], target: Mapping[str, object], skipped: Sequence[str]
) -> None:
    """Raise DataError when a tensor does not fit, or when the checkpoint holds tensors that the model has no place for."""
    for name in skipped:
        found = f"shape {entries[name].shape}" if name in entries else "nothing"
        raise DataError(
            f"{folder}: tensor {name!r} of shape {whole_shape(target[name])} is wanted, got {found}; "
            "use the config it was trained with"
        )
    unknown = sorted(set(entries) - set(target))
    if unknown:
        more = f" and {len(unknown) - _SHOWN_NAMES} more" if len(unknown) > _SHOWN_NAMES else ""
        raise DataError(
            f"{folder}: the checkpoint is of another config: it also holds {', '.join(unknown[:_SHOWN_NAMES])}{more}; "
            "use the config it was trained with"
        )


def flatten_optimizer(state: Mapping[str, Mapping[str, object]]) -> dict[str, object]:
    """Optimizer state under the names that a checkpoint uses: ``state.<parameter>.<entry>``."""
    return {f"state.{name}.{key}": value for name, entries in state.items() for key, value in entries.items()}


def report_restored(what: str, restored: Restored) -> None:
    """Log how much was taken, and by name what was not."""
    logger.info(
        "%s: %d tensors restored, %d left at their own values", what, len(restored.taken), len(restored.skipped)
    )
    for name in restored.skipped:
        logger.warning("%s: %s is absent there or has another shape; it keeps its initial value", what, name)


def cpu_state(state: Mapping[str, object]) -> dict[str, torch.Tensor]:
    """Whole tensors of a one-process state dict, detached and on the CPU."""
    return {name: pieces[0][0].cpu() for name, value in state.items() if (pieces := local_pieces(value))}
