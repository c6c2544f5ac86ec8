"""Runs a model over a table and computes its metrics and mean losses."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from tzrec_build.data.batch import BASE_DATA_GROUP, Batch
from tzrec_build.errors import DataError
from tzrec_build.files import write_text
from tzrec_build.logs import ProgressLogger
from tzrec_build.models.base import BaseModel
from tzrec_build.models.metric_specs import MetricSpec
from tzrec_build.training.checkpoint_dir import EVAL_RESULT_FILE
from tzrec_build.training.metrics import METRICS, LossMean, Metric

PENALTY_SUFFIX = "_feature_p_loss"  # of variational dropout: no measure of quality, TorchEasyRec leaves it out too


@dataclass(frozen=True, slots=True)
class EvalSettings:
    """How much to evaluate and what to call it.

    Args:
        what: name in progress lines.
        num_rows: rows of the table, for the time left.
        num_steps: batches to look at; 0 for all.
        log_steps: batches between two looks at the clock.
    """

    what: str
    num_rows: int
    num_steps: int = 0
    log_steps: int = 10


class MetricSet:
    """Accumulates every metric of a model and the mean of every loss."""

    def __init__(self, model: BaseModel) -> None:
        self._model = model
        self._specs = list(model.metric_specs)
        self._metrics: dict[str, Metric] = {spec.name: METRICS[spec.kind](spec.params) for spec in self._specs}
        self._losses: dict[str, LossMean] = {}

    def update(self, batch: Batch, predictions: Mapping[str, torch.Tensor], losses: Mapping[str, torch.Tensor]) -> None:
        """Take one batch."""
        for spec in self._specs:
            label = self._model.metric_label(spec, dict(predictions), batch)
            self._metrics[spec.name].update(predictions[spec.prediction], label, _groups(spec, batch))
        for name, loss in losses.items():
            if not name.endswith(PENALTY_SUFFIX):
                self._losses.setdefault(name, LossMean()).update(float(loss), batch.size)

    def compute(self) -> dict[str, float]:
        """Values by name, sorted."""
        values = {name: metric.compute() for name, metric in self._metrics.items()}
        values |= {name: loss.compute() for name, loss in self._losses.items()}
        return dict(sorted(values.items()))


def _groups(spec: MetricSpec, batch: Batch) -> torch.Tensor | None:
    """Group id of every row for a grouped metric: the single id of the grouping feature."""
    key = spec.params.get("grouping_key")
    if key is None:
        return None
    feature = batch.sparse[BASE_DATA_GROUP][str(key)]
    if bool((feature.lengths() != 1).any()):
        raise DataError(f"metrics.{spec.kind}: grouping_key {key!r} must have one value in every row; clean the column")
    return feature.values()


def evaluate(
    wrapper: nn.Module, model: BaseModel, batches: Iterable[Batch], device: torch.device, settings: EvalSettings
) -> dict[str, float]:
    """Compute the metrics of a model over batches.

    Args:
        wrapper: TrainWrapper, sharded or not; left in evaluation mode.
        model: the model inside, which names its metrics.
        batches: labelled batches.
        device: where the model lives.
        settings: amount and progress.
    Returns:
        Metric and loss names, sorted -> value.
    Raises:
        DataError: there was not one batch.
    """
    wrapper.eval()
    metrics = MetricSet(model)
    progress = ProgressLogger(settings.what, "rows", settings.num_rows)
    rows = 0
    with torch.no_grad():
        for number, batch in enumerate(batches, 1):
            moved = batch.to(device) if device.type != "cpu" else batch
            _, losses, predictions = wrapper(moved)
            metrics.update(moved, predictions, losses)
            rows += batch.size
            if number % settings.log_steps == 0:
                progress.update(rows)
            if number == settings.num_steps:
                break
    progress.close()
    if not rows:
        raise DataError(f"{settings.what}: the evaluation table has no rows; name another")
    return metrics.compute()


def result_line(step: int | None, values: Mapping[str, float]) -> str:
    """One line of an evaluation file: global_step first, then the metrics by name.

    >>> result_line(7, {"loss": 0.5, "auc": 0.75})
    '{"global_step": 7, "auc": 0.75, "loss": 0.5}'
    """
    return json.dumps({"global_step": step, **dict(sorted(values.items()))})


def append_result(model_dir: Path, step: int, values: Mapping[str, float]) -> None:
    """Add a line to the evaluation file of a model directory; the file is replaced whole."""
    path = model_dir / EVAL_RESULT_FILE
    before = path.read_text() if path.exists() else ""
    write_text(path, before + result_line(step, values) + "\n")
