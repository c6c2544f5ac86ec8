"""Metrics by hand, against torchmetrics and against scikit-learn's definition by pairs."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from tzrec_build.training.metrics import METRICS, LossMean


def _value(kind, batches, **params):
    metric = METRICS[kind](params)
    for batch in batches:
        metric.update(*batch)
    return metric.compute()


def _pairs_auc(scores, labels):
    pairs = list(itertools.product(scores[labels == 1], scores[labels == 0]))
    return sum((p > n) + 0.5 * (p == n) for p, n in pairs) / len(pairs)


@pytest.fixture
def scored():
    generator = torch.Generator().manual_seed(3)
    scores = torch.rand(500, generator=generator)
    labels = (torch.rand(500, generator=generator) < 0.3 + 0.4 * scores).long()
    return scores, labels


@pytest.mark.parametrize("thresholds", [5, 200])
def test_auc_equals_torchmetrics(scored, thresholds):
    torchmetrics = pytest.importorskip("torchmetrics.functional.classification")
    scores, labels = scored
    theirs = torchmetrics.binary_auroc(scores, labels, thresholds=thresholds)
    halves = [(scores[:100], labels[:100]), (scores[100:], labels[100:])]
    assert _value("auc", halves, thresholds=thresholds) == pytest.approx(float(theirs), abs=1e-6)


def test_auc_counts_scores_of_exactly_zero_and_one():
    scores, labels = torch.tensor([0.0, 1.0, 1.0, 0.0]), torch.tensor([0, 1, 0, 1])
    torchmetrics = pytest.importorskip("torchmetrics.functional.classification")
    theirs = float(torchmetrics.binary_auroc(scores, labels, thresholds=200))
    assert _value("auc", [(scores, labels)]) == pytest.approx(theirs, abs=1e-6)


def test_auc_of_one_class_is_zero():
    assert _value("auc", [(torch.rand(5), torch.ones(5))]) == 0.0


def test_multiclass_auc_equals_torchmetrics():
    torchmetrics = pytest.importorskip("torchmetrics.functional.classification")
    generator = torch.Generator().manual_seed(1)
    scores = torch.softmax(torch.randn(300, 3, generator=generator), 1)
    labels = torch.randint(3, (300,), generator=generator)
    theirs = float(torchmetrics.multiclass_auroc(scores, labels, num_classes=3, thresholds=200))
    assert _value("multiclass_auc", [(scores, labels)]) == pytest.approx(theirs, abs=1e-6)


def test_grouped_auc_is_the_mean_over_groups_with_both_classes(scored):
    scores, labels = scored
    scores = (scores * 20).round() / 20  # ties
    groups = torch.randint(0, 60, (500,), generator=torch.Generator().manual_seed(9))
    parts = [(scores[:250], labels[:250], groups[:250]), (scores[250:], labels[250:], groups[250:])]
    expected = []
    for group in groups.unique():
        mask = groups == group
        if 0 < int(labels[mask].sum()) < int(mask.sum()):
            expected.append(_pairs_auc(scores[mask].numpy(), labels[mask].numpy()))
    assert _value("grouped_auc", parts, grouping_key="u") == pytest.approx(np.mean(expected), abs=1e-12)


def test_grouped_auc_without_a_usable_group_is_zero():
    assert _value("grouped_auc", [(torch.rand(3), torch.tensor([1, 0, 1]), torch.tensor([1, 2, 3]))]) == 0.0


def test_recall_takes_the_column_of_the_positive():
    similarity = torch.tensor([[0.9, 0.1, 0.2], [0.3, 0.2, 0.1], [0.0, 0.5, 0.4]])
    assert _value("recall_at_k", [(similarity, torch.arange(3))], top_k=1) == pytest.approx(1 / 3)
    assert _value("recall_at_k", [(similarity, torch.arange(3))], top_k=2) == pytest.approx(1.0)


def test_recall_takes_marks_of_several_positives():
    similarity = torch.tensor([[0.9, 0.5, 0.1, 0.2]])
    assert _value("recall_at_k", [(similarity, torch.tensor([[1, 0, 1, 0]]))], top_k=2) == pytest.approx(0.5)


def test_recall_of_more_than_there_is_takes_all():
    assert _value("recall_at_k", [(torch.rand(2, 3), torch.arange(2))], top_k=50) == 1.0


def test_accuracy_counts_both_sides_of_the_threshold():
    assert _value("accuracy", [(torch.tensor([0.2, 0.6, 0.9]), torch.tensor([0, 0, 1]))]) == pytest.approx(2 / 3)


def test_accuracy_of_classes_takes_the_top_k():
    scores = torch.tensor([[0.5, 0.3, 0.2], [0.2, 0.3, 0.5]])
    assert _value("accuracy", [(scores, torch.tensor([1, 2]))], top_k=1) == 0.5
    assert _value("accuracy", [(scores, torch.tensor([1, 2]))], top_k=2) == 1.0


def test_errors_are_means_over_rows():
    batches = [(torch.tensor([1.0, 2.0]), torch.tensor([0.0, 4.0])), (torch.tensor([3.0]), torch.tensor([3.0]))]
    assert _value("mean_absolute_error", batches) == pytest.approx(1.0)
    assert _value("mean_squared_error", batches) == pytest.approx(5 / 3)


def test_loss_mean_weighs_batches_by_rows():
    mean = LossMean()
    mean.update(1.0, 3)
    mean.update(5.0, 1)
    assert mean.compute() == pytest.approx(2.0)
