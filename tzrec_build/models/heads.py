"""What a task does with its logits: named predictions, losses and metrics, chosen by the losses in the config."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from google.protobuf.message import Message
from torch.nn import functional

from tzrec_build.data.labels import LabelRange
from tzrec_build.errors import ConfigError, NotSupportedError
from tzrec_build.models.metric_specs import MetricOffer, MetricSpec, metric_spec
from tzrec_build.protos.tzrec import loss_pb2, metric_pb2

Tensors = dict[str, torch.Tensor]
_TINY = 1e-12
_ANY_LABEL = LabelRange()
_PROBABILITY = LabelRange(0, 1)


@dataclass(frozen=True, slots=True)
class TaskWeights:
    """How rows and the task itself are weighted.

    Args:
        sample_weight: sample weight field; empty for none.
        task_weight: factor of the task's loss.
        indicator: label field whose positive rows are the task's space; empty for none.
        in_space: weight of rows inside the space.
        out_space: weight of rows outside.
    """

    sample_weight: str = ""
    task_weight: float = 1.0
    indicator: str = ""
    in_space: float = 1.0
    out_space: float = 1.0

    def rows(
        self, label: torch.Tensor, labels: Mapping[str, torch.Tensor], weights: Mapping[str, torch.Tensor]
    ) -> torch.Tensor:
        """Weight of each row [B], of mean `task_weight` (zeros when no row counts)."""
        row = weights[self.sample_weight] if self.sample_weight else torch.ones_like(label, dtype=torch.float32)
        if self.indicator:
            inside = (labels[self.indicator] > 0).to(row.dtype)
            row = row * (self.in_space * inside + self.out_space * (1.0 - inside))
        return row / row.mean().clamp_min(_TINY) * self.task_weight


@dataclass(frozen=True, slots=True)
class _LossRule:
    """Outputs and row losses of one kind of loss.

    Args:
        outputs: (logits [B, C], suffix) -> predictions.
        rows: (config, predictions, label, suffix) -> loss of each row [B].
        multi_class: True needs C > 1, False needs C = 1.
        labels: what a loss with C = 1 takes; a class loss takes [0, C).
    """

    outputs: Callable[[torch.Tensor, str], Tensors]
    rows: Callable[[Message, Tensors, torch.Tensor, str], torch.Tensor]
    multi_class: bool
    labels: LabelRange = _ANY_LABEL

    def label_range(self, kind: str, num_class: int) -> LabelRange:
        """What the label may hold."""
        base = LabelRange(0, num_class - 1, whole=True) if self.multi_class else self.labels
        return replace(base, asked_by=kind)


def _binary_outputs(logits: torch.Tensor, suffix: str) -> Tensors:
    flat = logits.squeeze(1)
    return {f"logits{suffix}": flat, f"probs{suffix}": torch.sigmoid(flat)}


def _class_outputs(logits: torch.Tensor, suffix: str) -> Tensors:
    return {f"logits{suffix}": logits, f"probs{suffix}": torch.softmax(logits, dim=1)}


def _value_outputs(logits: torch.Tensor, suffix: str) -> Tensors:
    return {f"y{suffix}": logits.squeeze(1)}


def _binary_cross_entropy(
    config: loss_pb2.BinaryCrossEntropy, predictions: Tensors, label: torch.Tensor, suffix: str
) -> torch.Tensor:
    logits = predictions[f"logits{suffix}"]
    target = label.to(logits.dtype)
    if config.label_smoothing > 0:
        target = target * (1.0 - config.label_smoothing) + 0.5 * config.label_smoothing
    return functional.binary_cross_entropy_with_logits(logits, target, reduction="none")


def _binary_focal(
    config: loss_pb2.BinaryFocalLoss, predictions: Tensors, label: torch.Tensor, suffix: str
) -> torch.Tensor:
    logits = predictions[f"logits{suffix}"]
    target = label.to(logits.dtype)
    p = torch.sigmoid(logits.detach())
    positive = config.alpha * target * torch.pow(1.0 - p, config.gamma)
    negative = (1.0 - config.alpha) * (1.0 - target) * torch.pow(p, config.gamma)
    entropy = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return (positive + negative) * entropy


def _softmax_cross_entropy(
    config: loss_pb2.SoftmaxCrossEntropy, predictions: Tensors, label: torch.Tensor, suffix: str
) -> torch.Tensor:
    logits = predictions[f"logits{suffix}"]
    return functional.cross_entropy(logits, label.long(), reduction="none", label_smoothing=config.label_smoothing)


def _squared_error(config: loss_pb2.L2Loss, predictions: Tensors, label: torch.Tensor, suffix: str) -> torch.Tensor:  # noqa: ARG001
    value = predictions[f"y{suffix}"]
    return functional.mse_loss(value, label.to(value.dtype), reduction="none")


_LOSSES: Mapping[str, _LossRule] = {
    "binary_cross_entropy": _LossRule(_binary_outputs, _binary_cross_entropy, multi_class=False, labels=_PROBABILITY),
    "binary_focal_loss": _LossRule(_binary_outputs, _binary_focal, multi_class=False, labels=_PROBABILITY),
    "softmax_cross_entropy": _LossRule(_class_outputs, _softmax_cross_entropy, multi_class=True),
    "l2_loss": _LossRule(_value_outputs, _squared_error, multi_class=False),
}


@dataclass(frozen=True, slots=True)
class TaskHead:
    """Predictions, losses and metrics of one task.

    Args:
        suffix: appended to every name, e.g. `_ctr`; empty for the only task.
        num_class: number of logits C.
        label: label field.
        losses: the task's losses; they decide which predictions exist.
        weights: row and task weights; None for a plain mean.
        where: place in the config, for messages.
    """

    suffix: str
    num_class: int
    label: str
    losses: tuple[loss_pb2.LossConfig, ...]
    weights: TaskWeights | None
    where: str

    def __post_init__(self) -> None:
        if not self.losses:
            raise ConfigError(
                f"{self.where}.losses: needs at least one loss, got none; add e.g. binary_cross_entropy {{}}"
            )
        for index, config in enumerate(self.losses):
            kind = loss_kind(config, f"{self.where}.losses[{index}]")
            if _LOSSES[kind].multi_class != (self.num_class > 1):
                need = "at least 2" if _LOSSES[kind].multi_class else "1"
                raise ConfigError(
                    f"{self.where}.num_class: {kind} needs {need}, got {self.num_class}; change one of them"
                )

    def outputs(self, logits: torch.Tensor) -> Tensors:
        """Predictions from logits [B, C]; `probs1` is the probability of class 1 of two."""
        found: Tensors = {}
        for config in self.losses:
            found.update(_LOSSES[loss_kind(config, self.where)].outputs(logits, self.suffix))
        if self.num_class == 2 and f"probs{self.suffix}" in found:
            found[f"probs1{self.suffix}"] = found[f"probs{self.suffix}"][:, 1]
        return found

    def loss_names(self) -> tuple[str, ...]:
        """Keys of `loss`."""
        return tuple(f"{loss_kind(config, self.where)}{self.suffix}" for config in self.losses)

    def label_range(self) -> LabelRange:
        """What the label may hold so that every loss is defined."""
        kinds = [loss_kind(config, self.where) for config in self.losses]
        return functools.reduce(LabelRange.meet, (_LOSSES[kind].label_range(kind, self.num_class) for kind in kinds))

    def loss(
        self, predictions: Tensors, labels: Mapping[str, torch.Tensor], sample_weights: Mapping[str, torch.Tensor]
    ) -> Tensors:
        """Loss name -> scalar: mean over rows, weighted where the config says so."""
        label = labels[self.label]
        found: Tensors = {}
        for config in self.losses:
            kind = loss_kind(config, self.where)
            rows = _LOSSES[kind].rows(getattr(config, kind), predictions, label, self.suffix)
            if self.weights is not None:
                rows = rows * self.weights.rows(label, labels, sample_weights)
            found[f"{kind}{self.suffix}"] = rows.mean()
        return found

    def metric_specs(self, configs: Sequence[metric_pb2.MetricConfig]) -> list[MetricSpec]:
        """Metrics of this task; raises ConfigError for one that this task's predictions cannot serve."""
        offer = MetricOffer(tuple(self.prediction_names()), self.num_class, self.suffix, self.label)
        return [metric_spec(config, offer, f"{self.where}.metrics[{index}]") for index, config in enumerate(configs)]

    def prediction_names(self) -> list[str]:
        """Names of the predictions without the suffix."""
        probe = torch.zeros(1, self.num_class)
        return [name.removesuffix(self.suffix) for name in self.outputs(probe)]


def loss_kind(config: loss_pb2.LossConfig, where: str) -> str:
    """Name of the loss that a config sets; ConfigError for none, NotSupportedError for others."""
    kind = config.WhichOneof("loss") or config.WhichOneof("sid_loss")
    if kind is None:
        raise ConfigError(f"{where}: names no loss; set one of {', '.join(_LOSSES)}")
    if kind not in _LOSSES:
        raise NotSupportedError(str(kind), where)
    return str(kind)
