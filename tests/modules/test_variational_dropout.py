import numpy as np
import pytest
import torch

from tzrec_build.modules.variational_dropout import VariationalDropout

DIMS = {"age": 1, "tags": 3, "city": 2}
EPSILON = np.float32(1.1920929e-07)


def _module(logits=(0.5, -2.0, 1.0)):
    module = VariationalDropout(DIMS, 0.05)
    with torch.no_grad():
        module.feature_p.copy_(torch.tensor(logits))
    return module


def _sigmoid(x):
    return 1 / (1 + np.exp(-np.asarray(x, dtype=np.float64)))


def test_state_is_one_logit_and_one_width_for_each_feature():
    state = VariationalDropout(DIMS, 0.05).state_dict()
    assert {name: (list(value.shape), value.dtype) for name, value in state.items()} == {
        "feature_p": ([3], torch.float32),
        "feature_dim_repeat": ([3], torch.int32),
    }
    assert state["feature_dim_repeat"].tolist() == [1, 3, 2]


def test_evaluation_scales_by_one_minus_p():
    x = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)
    keep = np.repeat(1 - _sigmoid([0.5, -2.0, 1.0]), [1, 3, 2])
    np.testing.assert_allclose(_module().eval()(torch.from_numpy(x)).detach(), x * keep, rtol=1e-5)


def test_training_samples_the_concrete_distribution():
    x = np.random.default_rng(1).normal(size=(4, 6)).astype(np.float32)
    torch.manual_seed(3)
    noise = torch.rand(4, 3).numpy().astype(np.float64)
    p = _sigmoid([0.5, -2.0, 1.0])
    logit = (
        np.log(p + EPSILON) - np.log(1 - p + EPSILON) + np.log(noise + EPSILON) - np.log(1 - noise + EPSILON)
    ) / 0.1
    expected = x * np.repeat(1 - _sigmoid(logit), [1, 3, 2], axis=1)
    module = _module().train()
    torch.manual_seed(3)
    np.testing.assert_allclose(module(torch.from_numpy(x)).detach(), expected, rtol=2e-3, atol=1e-6)


def test_a_feature_is_dropped_about_as_often_as_its_probability():
    torch.manual_seed(0)
    kept = _module((2.0, 0.0, -2.0)).train()(torch.ones(20_000, 6))[:, [0, 1, 4]]
    np.testing.assert_allclose((kept < 0.5).float().mean(0), _sigmoid([2.0, 0.0, -2.0]), atol=0.01)


def test_penalty_is_lambda_over_rows_times_the_kept_share():
    expected = 0.05 / 8 * (1 - _sigmoid([0.5, -2.0, 1.0])).sum()
    assert _module().penalty(8).item() == pytest.approx(expected, rel=1e-5)


def test_a_descent_step_on_the_penalty_raises_every_probability():
    module = _module()
    module.penalty(8).backward()
    assert (module.feature_p.grad < 0).all()
