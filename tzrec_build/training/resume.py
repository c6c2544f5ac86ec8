"""Resume checkpoints: a long training that was cut off goes on, and ends with the same bits as one that was not.

``<resume_dir>/step-N/`` appears by rename, so it is complete: ``model.ckpt-N/`` (as in a model directory), ``state.pt`` (where the loop
was and every random generator), ``out/`` (what the model directory held then; its checkpoints are hard links). One is kept.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from tzrec_build.errors import DataError
from tzrec_build.logs import logger
from tzrec_build.training.checkpoint import CheckpointState, flatten_optimizer, restore_state, save_checkpoint
from tzrec_build.training.checkpoint_dir import checkpoint_name
from tzrec_build.training.checkpoint_reader import load_entries, read_tensors

if TYPE_CHECKING:
    from tzrec_build.training.session import Parts

FORMAT = 1
RECORDS = "records"
_STEP = re.compile(r"step-(\d+)")


@dataclass(slots=True)
class Position:
    """Where a training is.

    Attributes:
        step: last finished step, -1 before the first.
        epoch: finished passes over the data.
        batch: finished batches of the pass that is open.
        saved: last step that has a checkpoint.
        rows: rows seen.
        loss_rows: closed windows of the loss record.
        open_losses: losses of the steps since, one row a step.
        loss_names: names of the losses.
    """

    step: int = -1
    epoch: int = 0
    batch: int = 0
    saved: int = -1
    rows: int = 0
    loss_rows: list[tuple[int, list[float]]] = field(default_factory=list)
    open_losses: list[torch.Tensor] = field(default_factory=list)
    loss_names: tuple[str, ...] = ()


class ResumeDir:
    """Resume checkpoints of one training.

    Args:
        folder: where they lie; "" for nowhere.
        every_s: least seconds between two of them.
        model_dir: the model directory that is being filled.
        clock: seconds, monotonic; a test passes its own.
    """

    def __init__(
        self, folder: str, every_s: float, model_dir: Path, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._folder = Path(folder) if folder else None
        self._every_s, self._model_dir, self._clock = every_s, model_dir, clock
        self._last_s = clock()

    def due(self) -> bool:
        """Whether it is time for the next one."""
        return self._folder is not None and self._clock() - self._last_s >= self._every_s

    def latest(self, device: torch.device) -> Path | None:
        """The last complete one that this device can go on from; None when there is none."""
        names = os.listdir(self._folder) if self._folder is not None and self._folder.is_dir() else []
        steps = sorted(int(found[1]) for name in names if (found := _STEP.fullmatch(name)))
        if not steps or self._folder is None:
            return None
        folder = self._folder / f"step-{steps[-1]}"
        state = _load_state(folder)
        if state.get("format") != FORMAT or state.get("device") != device.type:
            logger.warning("resume: %s is of another version or device; the training starts anew", folder)
            return None
        return folder

    def save(
        self, parts: Parts, optimizer: dict[str, dict[str, object]], position: Position, device: torch.device
    ) -> None:
        """Write one, and drop the one before."""
        if self._folder is None:
            raise RuntimeError("bug: no --resume_dir to save in")
        target = self._folder / f"step-{position.step}"
        work = self._folder / f".step-{position.step}.partial"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        state = CheckpointState(parts.sharded.state_dict(), optimizer, parts.plan, position.epoch)
        save_checkpoint(work, position.step, state)
        _copy_tree(self._model_dir, work / "out")
        torch.save(
            {"format": FORMAT, "device": device.type, "position": asdict(position), **_generators(parts.sharded)},
            work / "state.pt",
        )
        if target.exists():
            shutil.rmtree(target)
        os.replace(work, target)
        for old in self._folder.iterdir():
            if old != target:
                shutil.rmtree(old)
        self._last_s = self._clock()
        logger.info("resume checkpoint at step %d", position.step)

    def load(self, folder: Path, parts: Parts) -> Position:
        """Bring model, optimizers, generators and model directory to where they were.

        Raises:
            DataError: the checkpoint is damaged, or of another config.
        """
        state = _load_state(folder)
        position = Position(**{**state["position"], "loss_names": tuple(state["position"]["loss_names"])})
        checkpoint = folder / checkpoint_name(position.step)
        restore_state(checkpoint / "model", parts.sharded.state_dict(), strict=True)
        if (checkpoint / "optimizer").is_dir():
            fused = flatten_optimizer(parts.sharded.fused_optimizer.state_dict()["state"])
            restore_state(checkpoint / "optimizer", fused, strict=False)
            names = [name for name in load_entries(checkpoint / "optimizer") if name.startswith("state.")]
            parts.dense.load_state(read_tensors(checkpoint / "optimizer", names))
        _set_generators(state, parts.sharded)
        _copy_tree(folder / "out", self._model_dir)
        logger.info("resumed after step %d (%s)", position.step, folder)
        return position


def _load_state(folder: Path) -> dict[str, Any]:
    try:
        state = torch.load(folder / "state.pt", weights_only=True)
    except Exception as err:
        raise DataError(f"{folder}: cannot be read ({err}); remove it to start the training anew") from err
    return dict(state)


def _generators(model: nn.Module) -> dict[str, Any]:
    """State of every source of random numbers, and the step counters inside fused tables."""
    kind, numbers, gauss = random.getstate()
    name, keys, at, has_gauss, cached = np.random.get_state()  # noqa: NPY002 - libraries below us draw from it
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "python": [kind, list(numbers), gauss],
        "numpy": [
            str(name),
            torch.from_numpy(np.asarray(keys).astype(np.int64)),
            int(at),
            int(has_gauss),
            float(cached),
        ],
        "counters": {where: int(table.iter.item()) for where, table in _counting(model)},
    }


def _set_generators(state: dict[str, Any], model: nn.Module) -> None:
    torch.set_rng_state(state["torch"])
    if state["cuda"]:
        torch.cuda.set_rng_state_all(state["cuda"])
    kind, numbers, gauss = state["python"]
    random.setstate((kind, tuple(numbers), gauss))
    name, keys, at, has_gauss, cached = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), at, has_gauss, cached))  # noqa: NPY002 - see above
    for where, table in _counting(model):
        for counter in (table.iter, getattr(table, "iter_cpu", None)):
            if isinstance(counter, torch.Tensor):
                counter.fill_(state["counters"][where])


def _counting(model: nn.Module) -> list[tuple[str, Any]]:
    """Fused tables, which count steps for Adam."""
    return [(name, one) for name, one in model.named_modules() if isinstance(getattr(one, "iter", None), torch.Tensor)]


def _copy_tree(source: Path, target: Path) -> None:
    """Copy a model directory without its records; files of a checkpoint never change once it is there, so they are linked."""
    for path in sorted(source.rglob("*")):
        name = path.relative_to(source)
        if path.is_dir() or name.parts[0] == RECORDS or name.parts[0].startswith("."):
            continue
        copied = target / name
        copied.parent.mkdir(parents=True, exist_ok=True)
        copied.unlink(missing_ok=True)
        if len(name.parts) > 1:
            os.link(path, copied)
        else:
            shutil.copyfile(path, copied)
