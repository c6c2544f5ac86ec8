"""Learning rates by hand and against torch.optim.lr_scheduler."""

from __future__ import annotations

import math

import pytest
import torch

from tzrec_build.errors import ConfigError
from tzrec_build.protos.tzrec.optimizer_pb2 import DenseOptimizer
from tzrec_build.training.schedules import SCHEDULES, build_schedule


def _schedule(name, **fields):
    config = DenseOptimizer()
    message = getattr(config, name)
    message.SetInParent()
    for key, value in fields.items():
        if isinstance(value, list):
            getattr(message, key).extend(value)
        else:
            setattr(message, key, value)
    return build_schedule(config)


def test_every_schedule_of_the_schema_is_built():
    oneof = DenseOptimizer.DESCRIPTOR.oneofs_by_name["learning_rate"]
    assert {field.name for field in oneof.fields} == set(SCHEDULES)


def test_no_schedule_means_a_constant_rate():
    schedule = build_schedule(DenseOptimizer())
    assert schedule.constant
    assert [schedule.at(0.1, step) for step in (0, 5, 1000)] == [0.1] * 3


def test_exponential_decay_falls_in_stairs():
    schedule = _schedule("exponential_decay_learning_rate", decay_size=10, decay_factor=0.5)
    assert [schedule.at(8.0, step) for step in (0, 9, 10, 19, 20, 30)] == [8.0, 8.0, 4.0, 4.0, 2.0, 1.0]


def test_exponential_decay_without_stairs_stops_at_the_minimum():
    schedule = _schedule(
        "exponential_decay_learning_rate", decay_size=10, decay_factor=0.25, staircase=False, min_learning_rate=0.5
    )
    assert schedule.at(8.0, 5) == pytest.approx(4.0)
    assert schedule.at(8.0, 1000) == 0.5


def test_warm_up_rises_linearly_and_decay_counts_from_its_end():
    schedule = _schedule(
        "exponential_decay_learning_rate",
        decay_size=10,
        decay_factor=0.5,
        warmup_learning_rate=1.0,
        warmup_size=4,
        by_epoch=True,
    )
    assert schedule.by_epoch
    assert [schedule.at(5.0, step) for step in (0, 1, 3, 4, 13, 14)] == [1.0, 2.0, 4.0, 5.0, 5.0, 2.5]


def test_manual_steps_change_after_their_size():
    schedule = _schedule("manual_step_learning_rate", schedule_sizes=[5, 8], learning_rates=[0.5, 0.25])
    # bisect_left: the step that equals a size still has the rate before it
    assert [schedule.at(1.0, step) for step in (0, 5, 6, 8, 9, 99)] == [1.0, 1.0, 0.5, 0.5, 0.25, 0.25]


def test_manual_steps_with_warm_up_go_to_the_first_rate():
    schedule = _schedule("manual_step_learning_rate", schedule_sizes=[4], learning_rates=[2.0], warmup=True)
    assert [schedule.at(1.0, step) for step in (0, 2, 4, 5)] == [1.0, 1.5, 2.0, 2.0]


def test_cosine_annealing_equals_torch():
    schedule = _schedule("cosine_annealing_learning_rate", T_max=7, min_learning_rate=0.01)
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=0.1)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 7, eta_min=0.01)
    for step in range(8):
        assert schedule.at(0.1, step) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-6)
        optimizer.step()
        theirs.step()
    assert schedule.at(0.1, 100) == pytest.approx(0.01)


def test_warm_restarts_equal_torch():
    schedule = _schedule("cosine_annealing_warm_restarts_learning_rate", T_0=3, T_mult=2, min_learning_rate=0.01)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    theirs = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 3, 2, eta_min=0.01)
    for step in range(30):
        assert schedule.at(0.1, step) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-5), step
        optimizer.step()
        theirs.step()


@pytest.mark.parametrize("name", sorted(SCHEDULES))
def test_a_frozen_group_stays_frozen(name):
    fields = {
        "exponential_decay_learning_rate": {"decay_size": 1, "min_learning_rate": 0.5},
        "manual_step_learning_rate": {"schedule_sizes": [1], "learning_rates": [0.5]},
        "cosine_annealing_learning_rate": {"T_max": 1, "min_learning_rate": 0.5},
        "cosine_annealing_warm_restarts_learning_rate": {"T_0": 1, "min_learning_rate": 0.5},
    }
    schedule = _schedule(name, **fields.get(name, {}))
    assert [schedule.at(0.0, step) for step in (0, 1, 7)] == [0.0] * 3


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        ("exponential_decay_learning_rate", {}, "decay_size must be at least 1, got 0; set it"),
        ("cosine_annealing_learning_rate", {}, "T_max must be at least 1, got 0; set it"),
        (
            "cosine_annealing_warm_restarts_learning_rate",
            {},
            "T_0 and T_mult must be at least 1, got 0 and 1; set them",
        ),
        (
            "manual_step_learning_rate",
            {"schedule_sizes": [3, 2], "learning_rates": [1.0, 2.0]},
            r"schedule_sizes must ascend from 1 and pair with learning_rates, got sizes \[3, 2\] and 2 rates",
        ),
    ],
)
def test_sizes_that_define_nothing_are_refused(name, fields, message):
    with pytest.raises(ConfigError, match=message):
        _schedule(name, **fields)


def test_half_of_a_cosine_is_the_mean():
    schedule = _schedule("cosine_annealing_learning_rate", T_max=10, min_learning_rate=0.0)
    assert schedule.at(2.0, 5) == pytest.approx(2.0 * 0.5 * (1 + math.cos(math.pi / 2)))
