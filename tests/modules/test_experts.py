"""MMoE, extraction layers, mask blocks and task towers against NumPy."""

import numpy as np
import pytest
import torch
from google.protobuf import text_format

from tzrec_build.errors import ConfigError
from tzrec_build.modules.extraction_net import ExtractionNet
from tzrec_build.modules.mask_net import MaskNet
from tzrec_build.modules.mlp import MLPSpec
from tzrec_build.modules.mmoe import MMoE, MMoESpec
from tzrec_build.modules.task_tower import TaskTower
from tzrec_build.protos.tzrec import module_pb2

X = np.random.default_rng(9).normal(size=(4, 3)).astype(np.float32)


def _linear(layer, x):
    return x @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()


def _relu_layer(mlp, x):
    return np.maximum(_linear(mlp.mlp[0].perceptron[0], x), 0)


def _softmax(x):
    shifted = np.exp(x - x.max(1, keepdims=True))
    return shifted / shifted.sum(1, keepdims=True)


def _mix(gate, experts):
    return np.einsum("be,bed->bd", _softmax(gate), np.stack(experts, axis=1))


@pytest.mark.parametrize("gate", [None, MLPSpec((5,))])
def test_mmoe_mixes_experts_by_the_gate_of_each_task(gate):
    module = MMoE(3, MMoESpec(MLPSpec((2,)), gate, num_expert=3, num_task=2))
    experts = [_relu_layer(expert, X) for expert in module.expert_mlps]
    for task, output in enumerate(module(torch.from_numpy(X))):
        gated = X if gate is None else _relu_layer(module.gate_mlps[task], X)
        expected = _mix(_linear(module.gate_finals[task], gated), experts)
        np.testing.assert_allclose(output.detach(), expected, rtol=1e-4, atol=1e-6)


def _network(text):
    return text_format.Parse(text, module_pb2.ExtractionNetwork())


NETWORK = (
    'network_name: "n" expert_num_per_task: 2 share_num: 1 task_expert_net { hidden_units: 2 } '
    "share_expert_net { hidden_units: 2 }"
)


def test_extraction_gates_see_own_then_shared_experts():
    module = ExtractionNet(3, 2, _network(NETWORK), last=False, where="net")
    inputs = [X, X + 1]
    shared = [_relu_layer(expert, X - 1) for expert in module._shared_layers]
    own = [[_relu_layer(e, x) for e in experts] for experts, x in zip(module._task_layers, inputs, strict=True)]
    outputs, out_shared = module([torch.from_numpy(x) for x in inputs], torch.from_numpy(X - 1))
    for task in range(2):
        expected = _mix(_linear(module._task_gates[task], inputs[task]), own[task] + shared)
        np.testing.assert_allclose(outputs[task].detach(), expected, rtol=1e-4, atol=1e-6)
    expected = _mix(_linear(module._shared_gate, X - 1), own[0] + own[1] + shared)
    np.testing.assert_allclose(out_shared.detach(), expected, rtol=1e-4, atol=1e-6)


def test_the_last_extraction_layer_has_no_shared_gate():
    module = ExtractionNet(3, 2, _network(NETWORK), last=True, where="net")
    assert not any("_shared_gate" in name for name in module.state_dict())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            NETWORK.replace("share_num: 1", "share_num: 0"),
            "net: needs at least one expert per task and one shared, got 2 and 0",
        ),
        (
            NETWORK.replace("share_expert_net { hidden_units: 2", "share_expert_net { hidden_units: 4"),
            "net: task and shared experts must end equally wide, got 2 and 4",
        ),
    ],
)
def test_experts_that_do_not_fit_are_refused(text, message):
    with pytest.raises(ConfigError) as caught:
        ExtractionNet(3, 2, _network(text), last=False, where="net")
    assert str(caught.value) == message


def _mask_net(text):
    return MaskNet(3, text_format.Parse(text, module_pb2.MaskNetModule()), "mask")


def _layer_norm(x):
    return (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5)


def _block(block, x, mask_input):
    mask = _linear(block.mask_generator[2], np.maximum(_linear(block.mask_generator[0], mask_input), 0))
    return np.maximum(_layer_norm(_linear(block.ffn[0], x * mask)), 0)


def test_parallel_mask_blocks_stand_side_by_side():
    module = _mask_net("n_mask_blocks: 2 mask_block { reduction_ratio: 2 hidden_dim: 4 } use_parallel: true")
    expected = np.concatenate([_block(block, _layer_norm(X), X) for block in module.mask_blocks], axis=1)
    np.testing.assert_allclose(module(torch.from_numpy(X)).detach(), expected, rtol=1e-3, atol=1e-4)
    assert module.output_dim == 8


def test_serial_mask_blocks_feed_one_another():
    module = _mask_net(
        "n_mask_blocks: 2 mask_block { reduction_ratio: 0 aggregation_dim: 5 hidden_dim: 4 } use_parallel: false"
    )
    expected = _block(module.mask_blocks[1], _block(module.mask_blocks[0], _layer_norm(X), X), X)
    np.testing.assert_allclose(module(torch.from_numpy(X)).detach(), expected, rtol=1e-3, atol=1e-4)


def test_the_ratio_of_the_mask_wins_over_its_width_unless_it_is_zero():
    sizes = {
        text: _mask_net(f"n_mask_blocks: 1 mask_block {{ {text} hidden_dim: 4 }}")
        .mask_blocks[0]
        .mask_generator[0]
        .out_features
        for text in (
            "aggregation_dim: 5",
            "reduction_ratio: 2 aggregation_dim: 5",
            "reduction_ratio: 0 aggregation_dim: 5",
        )
    }
    assert list(sizes.values()) == [3, 6, 5]


def test_a_mask_of_no_width_is_refused():
    with pytest.raises(ConfigError, match=r"mask.mask_block: the aggregation must be at least 1 wide, got 0"):
        _mask_net("n_mask_blocks: 1 mask_block { reduction_ratio: 0.1 hidden_dim: 4 }")


def test_task_tower_ends_in_one_linear_layer():
    tower = TaskTower(3, 2, MLPSpec((5,)))
    expected = _linear(tower.linear, _relu_layer(tower.tower_mlp, X))
    np.testing.assert_allclose(tower(torch.from_numpy(X)).detach(), expected, rtol=1e-4, atol=1e-6)
    assert sorted(TaskTower(3, 1, None).state_dict()) == ["linear.bias", "linear.weight"]
