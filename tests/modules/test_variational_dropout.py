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


def test_every_feature_starts_at_one_half_whatever_the_seed():
    for seed in (0, 1):
        torch.manual_seed(seed)
        assert torch.sigmoid(VariationalDropout(DIMS, 0.05).feature_p).tolist() == [0.5, 0.5, 0.5]


def _ranked_by_a_short_training(seed, steps=60):
    """Names by ascending probability of being left out, after a logistic regression in which two of eight numbers count."""
    torch.manual_seed(seed)
    weights = torch.tensor([0.0, 2.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0])
    dropout = VariationalDropout({f"f{at}": 1 for at in range(8)}, 0.05).train()
    linear = torch.nn.Linear(8, 1)
    optimizer = torch.optim.Adam([*dropout.parameters(), *linear.parameters()], lr=0.02)
    for _ in range(steps):
        x = torch.randn(128, 8)
        label = (torch.rand(128) < torch.sigmoid(x @ weights)).float()
        loss = torch.nn.functional.binary_cross_entropy_with_logits(linear(dropout(x)).squeeze(1), label)
        optimizer.zero_grad()
        (loss + dropout.penalty(128)).backward()
        optimizer.step()
    return [f"f{at}" for at in dropout.feature_p.argsort().tolist()]


def test_two_seeds_select_the_same_features_the_useful_ones():
    # with logits drawn from N(0, 1) at first, TorchEasyRec's way, a training this short ranks by the draw
    one, two = _ranked_by_a_short_training(0), _ranked_by_a_short_training(1)
    assert set(one[:2]) == set(two[:2]) == {"f1", "f4"}


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
