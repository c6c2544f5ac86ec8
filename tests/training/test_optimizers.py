"""Fused and dense optimizers against their formulas."""

from __future__ import annotations

import pytest
import torch
from google.protobuf import text_format
from torch import nn
from torchrec import EmbeddingBagCollection, EmbeddingBagConfig, KeyedJaggedTensor

from tzrec_build.errors import ConfigError, NotSupportedError
from tzrec_build.protos.tzrec.optimizer_pb2 import DenseOptimizer, SparseOptimizer
from tzrec_build.training.distributed import local_pieces, pick_device, process_group, shard_model
from tzrec_build.training.optimizers import RateGroup, build_dense_optimizer, build_fused_optimizer

CPU = torch.device("cpu")
NAME = "ebc.embedding_bags.t.weight"


class _OneTable(nn.Module):
    def __init__(self):
        super().__init__()
        config = EmbeddingBagConfig(name="t", num_embeddings=4, embedding_dim=4, feature_names=["f"])
        self.ebc = EmbeddingBagCollection([config])

    def forward(self, ids):
        return self.ebc(ids).values()


def _train_table(text, rates=(None, None)):
    """Two steps on rows 0 (once) and 1 (twice a bag), gradient 3; returns how far every row moved."""
    fused = build_fused_optimizer(text_format.Parse(text, SparseOptimizer()), CPU)
    torch.manual_seed(0)
    model = _OneTable()
    before = model.ebc.embedding_bags["t"].weight.detach().clone()
    ids = KeyedJaggedTensor(["f"], torch.tensor([0, 1, 1]), lengths=torch.tensor([1, 2], dtype=torch.int32))
    with process_group(CPU) as runtime:
        sharded, _ = shard_model(model, fused, runtime)
        group = RateGroup(
            list(sharded.fused_optimizer.param_groups),
            fused.learning_rate,
            fused.schedule,
            sharded.fused_optimizer.step,
        )
        for step, _ in enumerate(rates):
            group.set_counter(step, 0)
            sharded(ids).backward(torch.full((2, 4), 3.0))
        return local_pieces(sharded.state_dict()[NAME])[0][0].clone() - before


def test_sgd_moves_touched_rows_only():
    moved = _train_table("sgd_optimizer { lr: 0.5 }")
    torch.testing.assert_close(moved, torch.tensor([[-3.0], [-6.0], [0.0], [0.0]]).expand(4, 4))


def test_sgd_clips_each_gradient():
    moved = _train_table("sgd_optimizer { lr: 1 gradient_clipping: true max_gradient: 0.5 }")
    torch.testing.assert_close(moved, torch.tensor([[-1.0], [-2.0], [0.0], [0.0]]).expand(4, 4))


@pytest.mark.parametrize("name", ["adagrad_optimizer", "rowwise_adagrad_optimizer"])
def test_adagrad_divides_by_the_root_of_the_sum_of_squares(name):
    # equal gradients g: steps of lr * g / sqrt(g^2), then lr * g / sqrt(2 g^2), whatever g
    moved = _train_table(f"{name} {{ lr: 0.1 }}")
    torch.testing.assert_close(moved[:2], torch.full((2, 4), -0.1 * (1 + 0.5**0.5)))


def test_adagrad_starts_from_its_initial_accumulator():
    moved = _train_table("adagrad_optimizer { lr: 0.1 initial_accumulator_value: 16 }")
    torch.testing.assert_close(moved[0], torch.full((4,), -0.1 * 3 * (25**-0.5 + 34**-0.5)))


def test_a_fused_rate_follows_its_schedule():
    schedule = "exponential_decay_learning_rate { decay_size: 1 decay_factor: 0.5 }"
    moved = _train_table(f"sgd_optimizer {{ lr: 1 }} {schedule}", rates=(None,) * 3)
    torch.testing.assert_close(moved[0], torch.full((4,), -3.0 * (1 + 0.5 + 0.25)))


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("", ConfigError, "sparse_optimizer: no optimizer is set; add e.g. adagrad_optimizer"),
        ("lamb_optimizer {}", NotSupportedError, "sparse_optimizer.lamb_optimizer \\(use one of adagrad_optimizer"),
        ("adam_optimizer {}", NotSupportedError, "sparse_optimizer.adam_optimizer on cpu \\(use one of adagrad"),
        (
            "rowwise_adagrad_optimizer { weight_decay: 0.5 weight_decay_mode: L2 }",
            NotSupportedError,
            r"rowwise_adagrad_optimizer\.weight_decay on cpu \(remove it\)",
        ),
    ],
)
def test_sparse_optimizers_that_would_not_act_are_refused(text, error, message):
    with pytest.raises(error, match=message):
        build_fused_optimizer(text_format.Parse(text, SparseOptimizer()), CPU)


@pytest.mark.parametrize(
    ("text", "kind", "arguments"),
    [
        ("sgd_optimizer { lr: 0.1 }", torch.optim.SGD, {"lr": 0.1, "momentum": 0.9}),
        ("adagrad_optimizer { lr: 0.1 initial_accumulator_value: 0.5 }", torch.optim.Adagrad,
         {"lr": 0.1, "initial_accumulator_value": 0.5}),
        ("adam_optimizer { lr: 0.1 beta1: 0.5 }", torch.optim.Adam, {"lr": 0.1, "betas": (0.5, 0.999)}),
        ("adamw_optimizer { lr: 0.1 }", torch.optim.AdamW, {"lr": 0.1, "weight_decay": 0.0}),
    ],
)  # fmt: skip
def test_dense_optimizers_update_as_torch_does(text, kind, arguments):
    torch.manual_seed(0)
    ours = nn.Parameter(torch.randn(3, 4))
    theirs = nn.Parameter(ours.detach().clone())
    mine = build_dense_optimizer(text_format.Parse(text, DenseOptimizer()), {"w": ours})
    reference = kind([theirs], foreach=False, **arguments)
    for step in range(3):
        for parameter in (ours, theirs):
            parameter.grad = torch.full((3, 4), float(step + 1))
        mine.step()
        reference.step()
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_dense_state_of_another_shape_is_not_taken():
    text = "adam_optimizer { lr: 0.1 }"
    small = build_dense_optimizer(text_format.Parse(text, DenseOptimizer()), {"w": nn.Parameter(torch.zeros(2))})
    small.parameters["w"].grad = torch.ones(2)
    small.step()
    stored = {f"state.w.{key}": value for key, value in small.state()["w"].items()}
    large = build_dense_optimizer(text_format.Parse(text, DenseOptimizer()), {"w": nn.Parameter(torch.zeros(3))})
    assert large.load_state(stored) == ("w",)
    assert large.state() == {}
    other = build_dense_optimizer(text_format.Parse(text, DenseOptimizer()), {"w": nn.Parameter(torch.zeros(2))})
    assert other.load_state(stored) == ()
    assert other.state()["w"]["exp_avg"].equal(small.state()["w"]["exp_avg"])


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("", ConfigError, "dense_optimizer: no optimizer is set"),
        ("rmsprop_optimizer {}", NotSupportedError, "dense_optimizer.rmsprop_optimizer"),
    ],
)
def test_dense_optimizers_that_are_not_built_are_refused(text, error, message):
    with pytest.raises(error, match=message):
        build_dense_optimizer(text_format.Parse(text, DenseOptimizer()), {})


@pytest.mark.parametrize("size", ["2", "x"])
def test_several_processes_are_refused(monkeypatch, size):
    monkeypatch.setenv("WORLD_SIZE", size)
    expected = f"WORLD_SIZE: training runs in one process for now, got '{size}'; start it without torchrun"
    with pytest.raises(ConfigError, match=expected), process_group(CPU):
        pass


def test_an_unknown_device_is_refused():
    with pytest.raises(ConfigError, match="--device: must be one of auto, cpu, cuda, got 'tpu'"):
        pick_device("tpu")


@pytest.mark.parametrize(("has_gpu", "kind"), [(True, "cuda"), (False, "cpu")])
def test_auto_takes_what_is_there(monkeypatch, has_gpu, kind):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_gpu)
    assert pick_device("auto").type == kind
    assert pick_device("cpu").type == "cpu"
