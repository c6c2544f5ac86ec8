"""The training loop: steps, learning rates, losses on record, checkpoints, evaluations."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import torch
from google.protobuf.message import Message
from torch import nn

from tzrec_build.data.batch import Batch
from tzrec_build.errors import BuildError, ConfigError, DataError
from tzrec_build.files import write_text
from tzrec_build.logs import ProgressLogger
from tzrec_build.training.optimizers import DenseOptimizer, RateGroup
from tzrec_build.training.resume import Position

LOG_STEPS = 100  # not log_step_count_steps: a field without effect must not move where a divergence is found


class DivergedError(BuildError):
    """The loss is no number any more."""


class Loader(Protocol):
    """Batches of one table, pass after pass."""

    @property
    def num_rows(self) -> int:
        """Rows of one pass."""

    def __iter__(self) -> Iterator[Batch]:
        """One pass."""

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the next pass."""


@dataclass(frozen=True, slots=True)
class LoopSettings:
    """How long to train and when to save.

    Args:
        num_steps: batches in all, 0 when epochs count.
        num_epochs: passes over the data, 0 when steps count.
        save_steps: save at every multiple, 0 for never.
        save_epochs: save after every multiple of passes, 0 for never.
        log_steps: batches between two records.
    """

    num_steps: int
    num_epochs: int
    save_steps: int
    save_epochs: int
    log_steps: int


def read_loop_settings(config: Message) -> LoopSettings:
    """Read train_config.

    Raises:
        ConfigError: not exactly one of num_steps and num_epochs is set.
    """
    steps, epochs = config.num_steps, config.num_epochs
    if bool(steps) == bool(epochs):
        raise ConfigError(
            f"train_config: exactly one of num_steps and num_epochs must be set, got {steps} and {epochs}; remove one"
        )
    by_epoch = config.save_checkpoints_epochs
    return LoopSettings(
        num_steps=steps,
        num_epochs=epochs,
        save_steps=0 if by_epoch else config.save_checkpoints_steps,
        save_epochs=by_epoch,
        log_steps=LOG_STEPS,
    )


@dataclass(slots=True)
class LossRecord:
    """Mean losses of every window of `log_steps` steps; found not to be numbers as soon as a window is closed."""

    log_steps: int
    names: tuple[str, ...] = ()
    rows: list[tuple[int, list[float]]] = field(default_factory=list)
    _open: list[torch.Tensor] = field(default_factory=list)
    _last_step: int = -1

    def add(self, step: int, total: torch.Tensor, losses: Mapping[str, torch.Tensor]) -> None:
        """Take one step's losses."""
        self.names = ("total", *losses) if len(losses) > 1 else tuple(losses)
        parts = [total, *losses.values()] if len(losses) > 1 else [total]
        self._open.append(torch.stack([part.detach().reshape(()) for part in parts]))
        self._last_step = step
        if len(self._open) >= self.log_steps:
            self.close()

    def close(self) -> None:
        """End the window that is open, if any. Raises DivergedError for the first step with a loss that is no number."""
        if not self._open:
            return
        window = torch.stack(self._open).double().cpu()
        self._open.clear()
        finite = torch.isfinite(window).all(1)
        if not bool(finite.all()):
            row = int((~finite).nonzero()[0])
            step = self._last_step - len(window) + 1 + row
            bad = [
                name for name, value in zip(self.names, window[row].tolist(), strict=True) if not math.isfinite(value)
            ]
            raise DivergedError(
                f"train: loss {', '.join(bad)} is not a finite number at step {step}; "
                "lower the learning rates, or look for extreme values and NaN in the input"
            )
        self.rows.append((self._last_step, window.mean(0).tolist()))

    def note(self, position: Position) -> None:
        """Put what is on record into a position."""
        position.loss_rows, position.open_losses, position.loss_names = list(self.rows), list(self._open), self.names

    def restore(self, position: Position) -> None:
        """Go on from what was on record at a position."""
        self.rows, self._open, self.names = list(position.loss_rows), list(position.open_losses), position.loss_names
        self._last_step = position.step

    def latest(self) -> str:
        """Mean total loss of the last closed window, as progress shows it; nothing before the first one."""
        return f"  loss {self.rows[-1][1][0]:.5f}" if self.rows else ""

    def write(self, path: Path) -> None:
        """Write CSV: step (the last one of its window), total when there are several losses, losses."""
        lines = [",".join(("step", *self.names))]
        lines += [",".join([str(step), *(repr(value) for value in values)]) for step, values in self.rows]
        write_text(path, "\n".join(lines) + "\n")


@dataclass(frozen=True, slots=True)
class TrainJob:
    """Everything the loop works on.

    Args:
        wrapper: TrainWrapper, sharded.
        loader: training batches.
        dense: optimizer of what is no sharded table.
        rates: learning rates by group.
        device: where the model lives.
        save: writes the checkpoint of (step, finished epochs) and evaluates it.
        keep_due: whether it is time for a resume checkpoint.
        keep: writes one.
    """

    wrapper: nn.Module
    loader: Loader
    dense: DenseOptimizer
    rates: Sequence[RateGroup]
    device: torch.device
    save: Callable[[int, int], None]
    keep_due: Callable[[], bool] = lambda: False
    keep: Callable[[Position], None] = lambda _position: None


class Trainer:
    """One training from its first step to its last; the checkpoint of the last step is always saved."""

    def __init__(
        self, job: TrainJob, settings: LoopSettings, record: LossRecord, start: Position | None = None
    ) -> None:
        self._job, self._settings, self._record = job, settings, record
        start = start or Position()
        self._step, self._epoch, self._saved = start.step, start.epoch, start.saved
        self._rows, self._batch = start.rows, start.batch
        record.restore(start)

    def run(self, batch_size: int) -> int:
        """Train; returns the rows seen.

        Raises:
            DivergedError: a loss is NaN or infinite.
            DataError: the training table has no rows.
        """
        settings = self._settings
        total = settings.num_epochs * self._job.loader.num_rows or settings.num_steps * batch_size
        progress = ProgressLogger("train", "rows", total)
        while not self._done():
            if not self._pass(progress):
                raise DataError("train_input_path: the training table has no rows; name another")
            if settings.save_epochs and self._epoch % settings.save_epochs == 0:
                self._save()
        self._record.close()
        progress.close(self._suffix())
        self._save()
        return self._rows

    def _done(self) -> bool:
        settings = self._settings
        return self._epoch >= settings.num_epochs if settings.num_epochs else self._step + 1 >= settings.num_steps

    def _pass(self, progress: ProgressLogger) -> bool:
        """One pass over the data, or what is left of num_steps; whether there was any.

        After a resume the batches that were trained on are read once more and passed over.
        """
        settings = self._settings
        self._job.wrapper.train()
        self._job.loader.set_epoch(self._epoch)
        done, self._batch = self._batch, 0
        for batch in self._job.loader:
            self._batch += 1
            if self._batch <= done:
                continue
            self._step += 1
            self._train_step(batch)
            self._rows += batch.size
            progress.update(self._rows, self._suffix())
            if settings.save_steps and self._step and self._step % settings.save_steps == 0:
                self._save()
            if self._job.keep_due():
                self._job.keep(self._position())
            if settings.num_steps and self._step + 1 >= settings.num_steps:
                return True
        self._epoch += 1
        any_batch, self._batch = self._batch > 0, 0
        return any_batch

    def _position(self) -> Position:
        position = Position(self._step, self._epoch, self._batch, self._saved, self._rows)
        self._record.note(position)
        return position

    def _train_step(self, batch: Batch) -> None:
        job = self._job
        for group in job.rates:
            group.set_counter(self._step, self._epoch)
        moved = batch.to(job.device, non_blocking=True) if job.device.type != "cpu" else batch
        job.dense.zero_grad()
        total, losses, _ = job.wrapper(moved)
        total.backward()
        job.dense.step()
        self._record.add(self._step, total, losses)

    def _save(self) -> None:
        """Save this step once; never a model whose loss is no number."""
        self._record.close()
        if self._saved != self._step:
            self._job.save(self._step, self._epoch)
            self._saved = self._step
            self._job.wrapper.train()

    def _suffix(self) -> str:
        rates = " ".join(f"lr {group.current():.5g}" for group in self._job.rates)
        return f"step {self._step:,}  epoch {self._epoch}  {rates}{self._record.latest()}"
