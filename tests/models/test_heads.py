"""Losses and weights against the formulas written out in NumPy."""

import numpy as np
import pytest
import torch
from google.protobuf import text_format

from tzrec_build.errors import ConfigError, NotSupportedError
from tzrec_build.models.heads import TaskHead, TaskWeights
from tzrec_build.protos.tzrec import loss_pb2, metric_pb2

LOGITS = np.array([0.3, -1.2, 2.0, 0.0], dtype=np.float32)
LABEL = np.array([1, 0, 0, 1])


def _head(losses, num_class=1, suffix="", weights=None):
    configs = tuple(text_format.Parse(text, loss_pb2.LossConfig()) for text in losses)
    return TaskHead(suffix, num_class, "clk", configs, weights, "model_config")


def _loss(head, logits, label=LABEL, labels=None, weights=None):
    predictions = head.outputs(torch.from_numpy(np.asarray(logits, dtype=np.float32)))
    return {
        name: value.item()
        for name, value in head.loss(
            predictions, {"clk": torch.from_numpy(label), **(labels or {})}, weights or {}
        ).items()
    }


def _entropy(logits=LOGITS, target=LABEL):
    p = 1 / (1 + np.exp(-logits.astype(np.float64)))
    return -(target * np.log(p) + (1 - target) * np.log(1 - p))


def test_binary_cross_entropy_is_the_mean_over_rows():
    found = _loss(_head(["binary_cross_entropy {}"]), LOGITS[:, None])
    assert found == {"binary_cross_entropy": pytest.approx(_entropy().mean(), rel=1e-6)}


def test_binary_label_smoothing_moves_targets_to_one_half():
    found = _loss(_head(["binary_cross_entropy { label_smoothing: 0.2 }"]), LOGITS[:, None])
    assert found["binary_cross_entropy"] == pytest.approx(_entropy(target=LABEL * 0.8 + 0.1).mean(), rel=1e-6)


def test_focal_loss_scales_by_how_wrong_a_row_is():
    p = 1 / (1 + np.exp(-LOGITS.astype(np.float64)))
    scale = np.where(LABEL == 1, 0.4 * (1 - p) ** 1.5, 0.6 * p**1.5)
    found = _loss(_head(["binary_focal_loss { gamma: 1.5 alpha: 0.4 }"]), LOGITS[:, None])
    assert found["binary_focal_loss"] == pytest.approx((scale * _entropy()).mean(), rel=1e-6)


def test_the_focal_scale_has_no_gradient():
    head = _head(["binary_focal_loss { gamma: 2 alpha: 0.5 }"])
    logits = torch.tensor([[0.7]], requires_grad=True)
    head.loss(head.outputs(logits), {"clk": torch.tensor([1])}, {})["binary_focal_loss"].backward()
    p = 1 / (1 + np.exp(-0.7))
    assert logits.grad.item() == pytest.approx(0.5 * (1 - p) ** 2 * (p - 1), rel=1e-5)


def test_softmax_cross_entropy_with_smoothing_spreads_the_target_over_the_classes():
    logits = np.array([[0.1, 0.5, -1.0], [2.0, 0.0, 1.0]], dtype=np.float32)
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    target = np.eye(3)[[2, 0]] * 0.9 + 0.1 / 3
    found = _loss(_head(["softmax_cross_entropy { label_smoothing: 0.1 }"], 3), logits, np.array([2, 0]))
    assert found["softmax_cross_entropy"] == pytest.approx(-(target * log_p).sum(1).mean(), rel=1e-6)


def test_l2_loss_is_the_mean_squared_error():
    found = _loss(_head(["l2_loss {}"]), LOGITS[:, None], LABEL.astype(np.float32))
    assert found["l2_loss"] == pytest.approx(((LOGITS - LABEL) ** 2).mean(), rel=1e-6)


def test_row_weights_are_divided_by_their_mean():
    weight = np.array([1.0, 3.0, 0.0, 2.0], dtype=np.float32)
    head = _head(["binary_cross_entropy {}"], weights=TaskWeights(sample_weight="w"))
    found = _loss(head, LOGITS[:, None], weights={"w": torch.from_numpy(weight)})
    assert found["binary_cross_entropy"] == pytest.approx((_entropy() * weight).sum() / weight.sum(), rel=1e-6)


def test_task_space_and_task_weight_multiply():
    inside = np.array([1, 0, 1, 0])
    weight = np.where(inside, 2.0, 0.5)
    weights = TaskWeights(task_weight=0.3, indicator="buy", in_space=2.0, out_space=0.5)
    found = _loss(
        _head(["binary_cross_entropy {}"], weights=weights), LOGITS[:, None], labels={"buy": torch.from_numpy(inside)}
    )
    assert found["binary_cross_entropy"] == pytest.approx(0.3 * (_entropy() * weight).sum() / weight.sum(), rel=1e-6)


def test_a_batch_without_any_weight_has_loss_zero_instead_of_nan():
    # TorchEasyRec divides by zero here
    weights = TaskWeights(indicator="buy", in_space=1.0, out_space=0.0)
    head = _head(["binary_cross_entropy {}"], weights=weights)
    assert _loss(head, LOGITS[:, None], labels={"buy": torch.zeros(4)}) == {"binary_cross_entropy": 0.0}


def test_the_losses_decide_which_predictions_exist():
    two = _head(["softmax_cross_entropy {}"], 2, "_ctr").outputs(torch.tensor([[1.0, 2.0]]))
    assert list(two) == ["logits_ctr", "probs_ctr", "probs1_ctr"]
    assert two["probs1_ctr"].tolist() == [pytest.approx(1 / (1 + np.exp(-1.0)))]
    assert list(_head(["binary_cross_entropy {}", "l2_loss {}"]).outputs(torch.zeros(1, 1))) == ["logits", "probs", "y"]


@pytest.mark.parametrize(
    ("losses", "num_class", "message"),
    [
        ([], 1, "model_config.losses: needs at least one loss, got none; add e.g. binary_cross_entropy {}"),
        (
            ["binary_cross_entropy {}"],
            2,
            "model_config.num_class: binary_cross_entropy needs 1, got 2; change one of them",
        ),
        (
            ["softmax_cross_entropy {}"],
            1,
            "model_config.num_class: softmax_cross_entropy needs at least 2, got 1; change one of",
        ),
        ([""], 1, "model_config.losses[0]: names no loss; set one of binary_cross_entropy,"),
    ],
)
def test_losses_that_do_not_fit_are_refused(losses, num_class, message):
    with pytest.raises(ConfigError) as caught:
        _head(losses, num_class)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("losses", "num_class", "words"),
    [
        (["binary_cross_entropy {}"], 1, "in [0, 1] for binary_cross_entropy"),
        (["binary_focal_loss {}", "l2_loss {}"], 1, "in [0, 1] for binary_focal_loss and l2_loss"),
        (["softmax_cross_entropy {}"], 3, "a whole number in [0, 3) for softmax_cross_entropy"),
        (["l2_loss {}"], 1, "in [-inf, inf] for l2_loss"),
    ],
)
def test_the_losses_say_what_a_label_may_be(losses, num_class, words):
    assert str(_head(losses, num_class).label_range()) == words


def test_a_loss_that_is_not_built_yet_says_so():
    with pytest.raises(NotSupportedError, match=r"not supported yet: jrc_loss in model_config.losses\[0\]"):
        _head(['jrc_loss { session_name: "s" }'], 2)


def _metric(text):
    return text_format.Parse(text, metric_pb2.MetricConfig())


def test_metrics_take_their_defaults_from_the_schema():
    (spec,) = _head(["binary_cross_entropy {}"], suffix="_ctr").metric_specs([_metric("auc {}")])
    assert (spec.name, spec.kind, spec.prediction, spec.label, spec.params) == (
        "auc_ctr",
        "auc",
        "probs_ctr",
        "clk",
        {"thresholds": 200},
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("auc { thresholds: 1 }", "model_config.metrics[0].auc.thresholds: must be at least 2, got 1; change it"),
        (
            "accuracy { top_k: 2 }",
            "model_config.metrics[0].accuracy.top_k: must be in [1, 1], the number of classes, got 2",
        ),
        ("multiclass_auc {}", "model_config.metrics[0].multiclass_auc: needs num_class at least 2, got 1; change the"),
        (
            "mean_squared_error {}",
            "model_config.metrics[0]: mean_squared_error reads y, but the losses give logits, probs; change the metric or the",
        ),
        ("", "model_config.metrics[0]: must set one metric, got None; use one of auc,"),
    ],
)
def test_a_metric_that_the_predictions_cannot_serve_is_refused(text, message):
    with pytest.raises(ConfigError) as caught:
        _head(["binary_cross_entropy {}"]).metric_specs([_metric(text)])
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("auc {}", "model_config.metrics[0].auc: needs num_class 1 or 2, got 3; change the metric or num_class"),
        (
            "accuracy { top_k: 4 }",
            "model_config.metrics[0].accuracy.top_k: must be in [1, 3], the number of classes, got 4",
        ),
        (
            "multiclass_auc { thresholds: 0 }",
            "model_config.metrics[0].multiclass_auc.thresholds: must be at least 2, got 0",
        ),
        (
            'multiclass_auc { average: "weighted" }',
            "model_config.metrics[0].multiclass_auc.average: must be 'macro' for now, got 'weighted'; change it",
        ),
    ],
)
def test_a_metric_that_does_not_fit_the_classes_is_refused(text, message):
    with pytest.raises(ConfigError) as caught:
        _head(["softmax_cross_entropy {}"], 3).metric_specs([_metric(text)])
    assert str(caught.value).startswith(message)
