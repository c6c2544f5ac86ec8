import numpy as np
import pytest
import torch

from tzrec_build.errors import ConfigError
from tzrec_build.modules.mlp import MLP, MLPSpec, build_mlp
from tzrec_build.protos.tzrec import module_pb2


def _numpy(tensor):
    return tensor.detach().numpy()


def test_layers_are_linear_then_activation():
    mlp = MLP(3, MLPSpec((4, 2)))
    x = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    expected = x
    for layer in mlp.mlp:
        linear = layer.perceptron[0]
        expected = np.maximum(expected @ _numpy(linear.weight).T + _numpy(linear.bias), 0)
    np.testing.assert_allclose(_numpy(mlp(torch.from_numpy(x))), expected, rtol=1e-5, atol=1e-6)


def test_batch_norm_comes_before_the_activation_and_replaces_the_bias():
    mlp = MLP(3, MLPSpec((4,), use_bn=True)).train()
    x = np.random.default_rng(1).normal(size=(6, 3)).astype(np.float32)
    hidden = x @ _numpy(mlp.mlp[0].perceptron[0].weight).T
    normal = (hidden - hidden.mean(0)) / np.sqrt(hidden.var(0) + 1e-5)
    np.testing.assert_allclose(_numpy(mlp(torch.from_numpy(x))), np.maximum(normal, 0), rtol=1e-4, atol=1e-5)
    assert mlp.mlp[0].perceptron[0].bias is None


def test_layer_norm_normalises_each_row():
    mlp = MLP(3, MLPSpec((4,), use_ln=True, activation=""))
    x = np.random.default_rng(2).normal(size=(6, 3)).astype(np.float32)
    linear = mlp.mlp[0].perceptron[0]
    hidden = x @ _numpy(linear.weight).T + _numpy(linear.bias)
    mean, var = hidden.mean(1, keepdims=True), hidden.var(1, keepdims=True)
    np.testing.assert_allclose(_numpy(mlp(torch.from_numpy(x))), (hidden - mean) / np.sqrt(var + 1e-5), atol=1e-4)


def test_one_dropout_ratio_serves_every_layer_and_a_list_serves_each():
    one = MLP(2, MLPSpec((3, 3), dropout_ratio=(0.5,)))
    each = MLP(2, MLPSpec((3, 3), dropout_ratio=(0.0, 0.25)))
    assert [layer.perceptron[-1].p for layer in one.mlp] == [0.5, 0.5]
    assert not any(isinstance(part, torch.nn.Dropout) for part in each.mlp[0].perceptron)
    assert each.mlp[1].perceptron[-1].p == 0.25


def test_message_defaults_are_relu_with_bias():
    mlp = build_mlp(2, module_pb2.MLP(hidden_units=[3]), "here")
    assert [type(part).__name__ for part in mlp.mlp[0].perceptron] == ["Linear", "ReLU"]
    assert list(mlp.state_dict()) == ["mlp.0.perceptron.0.weight", "mlp.0.perceptron.0.bias"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden_units": ()}, "a.mlp.hidden_units: needs at least one width, got none; add e.g. hidden_units: 64"),
        ({"hidden_units": (3, 0)}, "a.mlp.hidden_units: widths must be positive, got [3, 0]"),
        ({"use_bn": True, "use_ln": True}, "a.mlp: use_bn and use_ln exclude each other, got both; drop one"),
        ({"dropout_ratio": (0.1,) * 3}, "a.mlp.dropout_ratio: needs no value, one, or one per layer (2), got 3"),
        ({"dropout_ratio": (1.0,)}, "a.mlp.dropout_ratio: must be in [0, 1), got [1.0]"),
    ],
)
def test_a_wrong_spec_says_what_to_change(changes, message):
    with pytest.raises(ConfigError) as caught:
        MLPSpec(**{"hidden_units": (2, 2), "where": "a.mlp", **changes})
    assert str(caught.value) == message
