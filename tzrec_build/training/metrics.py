"""Evaluation metrics as small accumulators: counts or sums over batches, one float at the end.

AUC with thresholds follows torchmetrics' binned form: a score counts as positive at a threshold when it is >= it. Implemented here
because importing torchmetrics costs a start-up second and its update walks all thresholds for every score.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np
import torch

Params = Mapping[str, object]


class Metric(Protocol):
    """Accumulates over batches."""

    def update(self, prediction: torch.Tensor, label: torch.Tensor, groups: torch.Tensor | None = None) -> None:
        """Take one batch."""

    def compute(self) -> float:
        """The value over everything taken so far."""


class BinnedAuc:
    """Area under the ROC curve by trapezoids over `thresholds` points of equal distance in [0, 1].

    Args:
        thresholds: number of points; 200 as TorchEasyRec.
    """

    def __init__(self, params: Params) -> None:
        count = int(params.get("thresholds", 200))  # type: ignore[call-overload]
        self._edges = torch.linspace(0, 1, count)
        self._counts = torch.zeros(2, count + 1, dtype=torch.int64)

    def update(self, prediction: torch.Tensor, label: torch.Tensor, groups: torch.Tensor | None = None) -> None:
        """Take scores [B] in [0, 1] and labels [B] in {0, 1}."""
        del groups
        scores = prediction.detach().reshape(-1).float().cpu().contiguous()
        positive = label.detach().reshape(-1).cpu().long()
        passed = torch.bucketize(scores, self._edges, right=True)  # number of thresholds that are <= the score
        size = self._counts.shape[1]
        self._counts += torch.bincount(positive * size + passed, minlength=2 * size).view(2, size)

    def compute(self) -> float:
        """0 when a class is absent, as torchmetrics says."""
        # at threshold i the scores with passed > i are positive: sums from the end, then from the highest threshold down
        at_least = self._counts.flip(1).cumsum(1).flip(1)[:, 1:].flip(1).double()
        negatives, positives = self._counts.sum(1).tolist()
        if not negatives or not positives:
            return 0.0
        return float(torch.trapezoid(at_least[1] / positives, at_least[0] / negatives))


class MulticlassAuc:
    """Unweighted mean over the classes of one-against-the-rest binned AUC."""

    def __init__(self, params: Params) -> None:
        self._params = params
        self._classes: list[BinnedAuc] = []

    def update(self, prediction: torch.Tensor, label: torch.Tensor, groups: torch.Tensor | None = None) -> None:
        """Take probabilities [B, C] and labels [B] in [0, C)."""
        del groups
        while len(self._classes) < prediction.shape[1]:
            self._classes.append(BinnedAuc(self._params))
        for index, metric in enumerate(self._classes):
            metric.update(prediction[:, index], label.reshape(-1) == index)

    def compute(self) -> float:
        """Mean over classes."""
        return float(np.mean([metric.compute() for metric in self._classes])) if self._classes else 0.0


class GroupedAuc:
    """Exact AUC inside every group (e.g. user), unweighted mean over the groups that have both classes."""

    def __init__(self, _params: Params) -> None:
        self._parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    def update(self, prediction: torch.Tensor, label: torch.Tensor, groups: torch.Tensor | None = None) -> None:
        """Take scores [B], labels [B] in {0, 1} and group ids [B]."""
        if groups is None:
            raise RuntimeError("bug: grouped_auc got no group ids")
        row = (prediction, label, groups)
        self._parts.append(tuple(part.detach().reshape(-1).cpu().numpy() for part in row))  # type: ignore[arg-type]

    def compute(self) -> float:
        """0 when no group has both classes."""
        if not self._parts:
            return 0.0
        scores, labels, groups = (np.concatenate(part) for part in zip(*self._parts, strict=True))
        order = np.lexsort((scores, groups))
        scores, positive, groups = scores[order], labels[order] > 0, groups[order]
        starts = np.flatnonzero(np.r_[True, groups[1:] != groups[:-1]])
        group_of = np.cumsum(np.r_[False, groups[1:] != groups[:-1]])
        tied = np.cumsum(np.r_[False, (groups[1:] != groups[:-1]) | (scores[1:] != scores[:-1])])
        rank = np.arange(len(scores)) - starts[group_of]
        mean_rank = (np.bincount(tied, rank) / np.bincount(tied))[tied]  # ties share the mean of their ranks, from 0
        size, positives = np.bincount(group_of), np.bincount(group_of, positive)
        ranks = np.bincount(group_of, mean_rank * positive)
        both = (positives > 0) & (positives < size)
        if not both.any():
            return 0.0
        pairs = positives[both] * (size[both] - positives[both])
        above = ranks[both] - positives[both] * (positives[both] - 1) / 2
        return float(np.mean(above / pairs))


class RecallAtK:
    """Share of positives among the k highest similarities of their row."""

    def __init__(self, params: Params) -> None:
        self._k = int(params.get("top_k", 5))  # type: ignore[call-overload]
        self._hits = self._total = 0.0

    def update(self, prediction: torch.Tensor, label: torch.Tensor, groups: torch.Tensor | None = None) -> None:
        """Take similarities [B, N] and labels [B, N] (1 marks a positive), or [B] (column of the positive)."""
        del groups
        top = prediction.detach().topk(min(self._k, prediction.shape[1]), dim=1).indices
        if label.dim() == 1:
            self._hits += float((top == label[:, None]).sum())
            self._total += len(label)
        else:
            self._hits += float(label.gather(1, top).sum())
            self._total += float(label.sum())

    def compute(self) -> float:
        """Hits / positives; 0 without a positive."""
        return self._hits / self._total if self._total else 0.0


class Accuracy:
    """Share of rows on the right side of the threshold ([B] scores), or with the label among the top k ([B, C])."""

    def __init__(self, params: Params) -> None:
        self._threshold = float(params.get("threshold", 0.5))  # type: ignore[arg-type]
        self._k = int(params.get("top_k", 1))  # type: ignore[call-overload]
        self._right = self._total = 0

    def update(self, prediction: torch.Tensor, label: torch.Tensor, groups: torch.Tensor | None = None) -> None:
        """Take scores [B] or [B, C] and labels [B]."""
        del groups
        wanted = label.detach().reshape(-1).long()
        if prediction.dim() == 1 or prediction.shape[1] == 1:
            right = (prediction.reshape(-1) > self._threshold).long() == wanted
        else:
            right = (prediction.topk(self._k, dim=1).indices == wanted[:, None]).any(1)
        self._right += int(right.sum())
        self._total += len(wanted)

    def compute(self) -> float:
        """Share of right rows; 0 without rows."""
        return self._right / self._total if self._total else 0.0


class MeanError:
    """Mean over rows of |y - label| or its square."""

    def __init__(self, power: int) -> None:
        self._power = power
        self._sum, self._total = 0.0, 0

    def update(self, prediction: torch.Tensor, label: torch.Tensor, groups: torch.Tensor | None = None) -> None:
        """Take values [B] and labels [B]."""
        del groups
        distance = (prediction.detach().reshape(-1).double() - label.reshape(-1).double()).abs()
        self._sum += float(distance.pow(self._power).sum())
        self._total += distance.numel()

    def compute(self) -> float:
        """Mean; 0 without rows."""
        return self._sum / self._total if self._total else 0.0


METRICS: Mapping[str, Callable[[Params], Metric]] = {  # MetricSpec.kind -> accumulator
    "auc": BinnedAuc,
    "multiclass_auc": MulticlassAuc,
    "grouped_auc": GroupedAuc,
    "recall_at_k": RecallAtK,
    "accuracy": Accuracy,
    "mean_absolute_error": lambda _params: MeanError(1),
    "mean_squared_error": lambda _params: MeanError(2),
}


class LossMean:
    """Mean of a loss over rows: a batch counts by its size, so the batch size of an evaluation does not matter."""

    def __init__(self) -> None:
        self._sum, self._rows = 0.0, 0

    def update(self, value: float, rows: int) -> None:
        """Take one batch's mean loss and its number of rows."""
        self._sum += value * rows
        self._rows += rows

    def compute(self) -> float:
        """Mean; 0 without a row."""
        return self._sum / self._rows if self._rows else 0.0
