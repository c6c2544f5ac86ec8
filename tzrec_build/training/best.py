"""The checkpoint that must outlive `keep_checkpoint_max`: the best so far by one metric of the evaluations."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from tzrec_build.errors import ConfigError, suggestion
from tzrec_build.protos.tzrec.pipeline_pb2 import EasyRecConfig
from tzrec_build.training.checkpoint_dir import best_step, checkpoint_name, load_eval_results
from tzrec_build.training.specs import TrainSpec


@dataclass(frozen=True, slots=True)
class BestRule:
    """What makes a checkpoint the best.

    Args:
        metric: name in the evaluation file.
        larger_is_better: direction of the metric.
        where: flag or field that names the metric.
    """

    metric: str
    larger_is_better: bool
    where: str

    def check(self, known: Collection[str]) -> None:
        """Refuse a metric that no evaluation gives, before anything is trained.

        Args:
            known: what the evaluations give.
        Raises:
            ConfigError: with the nearest name.
        """
        if self.metric not in known:
            raise ConfigError(f"{self.where}: {self.metric!r} is not evaluated{suggestion(self.metric, known)}")

    def best_so_far(self, model_dir: Path) -> Path | None:
        """The best evaluated checkpoint of a model directory; None while the metric is NaN everywhere."""
        results = load_eval_results(model_dir)
        if all(math.isnan(values.get(self.metric, math.nan)) for values in results.values()):
            return None
        return model_dir / checkpoint_name(best_step(results, self.metric, larger_is_better=self.larger_is_better))


def best_rule(spec: TrainSpec, config: EasyRecConfig, *, evaluates: bool) -> BestRule | None:
    """Which checkpoint to protect: the flag decides, else an export of the best one.

    Args:
        spec: the flags.
        config: whose export_config is read.
        evaluates: whether there is an evaluation table.
    Raises:
        ConfigError: the flag is given without an evaluation table.
    """
    if spec.keep_best:
        if not evaluates:
            raise ConfigError("--keep_best: compares evaluations, so --eval_input_path must be given; add it")
        return BestRule(spec.keep_best, not spec.smaller_is_better, "--keep_best")
    export = config.export_config
    if config.train_config.keep_checkpoint_max and export.exporter_type == "best" and evaluates:
        where = "export_config.best_exporter_metric"
        return BestRule(export.best_exporter_metric, export.metric_larger_is_better, where)
    return None
