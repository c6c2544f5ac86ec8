"""Interactions and crosses against formulas written out in NumPy."""

from itertools import combinations

import numpy as np
import pytest
import torch

from tzrec_build.errors import ConfigError
from tzrec_build.modules.cin import CIN
from tzrec_build.modules.cross import Cross, CrossV2
from tzrec_build.modules.fm import DotInteraction, FactorizationMachine


def _normal(*shape):
    return np.random.default_rng(5).normal(size=shape).astype(np.float32)


def test_factorization_machine_sums_all_pairs():
    fields = _normal(4, 5, 3)
    expected = sum(fields[:, i] * fields[:, j] for i, j in combinations(range(5), 2))
    np.testing.assert_allclose(FactorizationMachine()(torch.from_numpy(fields)), expected, rtol=1e-4, atol=1e-5)


def test_dot_interaction_lists_pairs_row_by_row():
    fields = _normal(4, 5, 3)
    expected = np.stack([(fields[:, i] * fields[:, j]).sum(1) for i, j in combinations(range(5), 2)], axis=1)
    module = DotInteraction(5)
    assert module.output_dim == expected.shape[1]
    np.testing.assert_allclose(module(torch.from_numpy(fields)), expected, rtol=1e-4, atol=1e-5)


def test_cross_adds_the_scaled_input_in_each_layer():
    module = Cross(3, 2)
    for bias in module.b:
        torch.nn.init.normal_(bias)
    x0 = x = _normal(4, 3)
    for layer, bias in zip(module.w, module.b, strict=True):
        x = x0 * (x @ layer.weight.detach().numpy().T) + bias.detach().numpy() + x
    np.testing.assert_allclose(module(torch.from_numpy(x0)).detach(), x, rtol=1e-4, atol=1e-5)


def test_cross_starts_without_bias():
    assert all(bias.abs().max() == 0 for bias in Cross(3, 2).b)


def test_cin_mixes_products_of_fields_with_the_input_fields():
    module = CIN(3, (4, 2), "cin")
    x0 = x = _normal(5, 3, 2)
    expected = []
    for layer in module.cin_layers:
        weight = layer.weight.detach().numpy()[:, :, 0].reshape(layer.out_channels, x.shape[1], 3)
        x = np.einsum("ohm,bhd,bmd->bod", weight, x, x0) + layer.bias.detach().numpy()[None, :, None]
        expected.append(x.sum(2))
    np.testing.assert_allclose(module(torch.from_numpy(x0)).detach(), np.concatenate(expected, 1), rtol=1e-4, atol=1e-5)


def test_cin_needs_layers():
    with pytest.raises(ConfigError, match=r"cin.cin_layer_size: needs positive sizes, got \[\]"):
        CIN(3, (), "cin")


def test_low_rank_cross_multiplies_by_the_input():
    module = CrossV2(3, 2, 2)
    x0 = x = _normal(4, 3)
    for u, v in zip(module.u_kernels, module.v_kernels, strict=True):
        x = x0 * (x @ u.weight.detach().numpy().T @ v.weight.detach().numpy().T + v.bias.detach().numpy()) + x
    np.testing.assert_allclose(module(torch.from_numpy(x0)).detach(), x, rtol=1e-4, atol=1e-5)
