"""Numbers of a config that only make sense in a range: rates, coefficients of optimizers, weights of losses."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message

from tzrec_build.config.problems import Problem


@dataclass(frozen=True, slots=True)
class Range:
    """Numbers that a field may hold, as a test (never true for NaN) and in words."""

    fits: Callable[[float], bool]
    words: str


_RATE = Range(lambda value: 0 <= value < math.inf, "must be a finite number of 0 or more")
_ABOVE_0 = Range(lambda value: 0 < value < math.inf, "must be a finite number above 0")
_DECAY = Range(lambda value: 0 <= value < 1, "must be in [0, 1)")
_PART = Range(lambda value: 0 <= value <= 1, "must be in [0, 1]")

_WARMUP = {"warmup_learning_rate": _RATE, "min_learning_rate": _RATE}
_LR = {"lr": _RATE}
_FUSED = {"lr": _RATE, "max_gradient": _RATE}
_ADAM = {"lr": _RATE, "beta1": _DECAY, "beta2": _DECAY, "weight_decay": _RATE, "eps": _RATE}
_TASK = {"weight": _RATE, "in_task_space_weight": _RATE, "out_task_space_weight": _RATE}

RANGES: Mapping[str, Mapping[str, Range]] = {  # message -> field -> range
    "FusedSGDOptimizer": _FUSED,
    "FusedAdagradOptimizer": _FUSED | {"initial_accumulator_value": _RATE},
    "FusedAdamOptimizer": _FUSED | {"beta1": _DECAY, "beta2": _DECAY, "weight_decay": _RATE},
    "FusedRowWiseAdagradOptimizer": _FUSED | {"weight_decay": _RATE},
    "SGDOptimizer": _LR | {"momentum": _RATE, "weight_decay": _RATE, "dampening": _RATE},
    "AdagradOptimizer": _LR | {"weight_decay": _RATE, "initial_accumulator_value": _RATE, "eps": _RATE},
    "AdamOptimizer": _ADAM,
    "AdamWOptimizer": _ADAM,
    "ExponentialDecayLR": _WARMUP | {"decay_factor": _ABOVE_0},
    "ManualStepLR": {"learning_rates": _RATE},
    "CosineAnnealingLR": _WARMUP,
    "CosineAnnealingWarmRestartsLR": _WARMUP,
    "BinaryCrossEntropy": {"label_smoothing": _PART},
    "SoftmaxCrossEntropy": {"label_smoothing": _PART},
    "BinaryFocalLoss": {"gamma": _RATE, "alpha": _PART},
    "VariationalDropout": {"regularization_lambda": _RATE},
    "TaskTower": _TASK,
    "BayesTaskTower": _TASK,
    "DSSM": {"temperature": _ABOVE_0},
}


def numbers_fit(messages: Iterable[tuple[str, Message]]) -> Iterator[Problem]:
    """Find set numbers outside their range, and Nesterov momentum without what it needs, in messages given with their paths."""
    for at, message in messages:
        name = message.DESCRIPTOR.name
        ranges = RANGES.get(name, {})
        for field, value in message.ListFields():
            if field.name not in ranges:
                continue
            allowed, place = ranges[field.name], f"{at}.{field.name}"
            for number in value if field.is_repeated else (value,):
                if not allowed.fits(number):
                    yield Problem("range", place, f"{place}: {allowed.words}, got {number:g}; change it")
        if name == "SGDOptimizer":
            yield from _nesterov_fits(at, message)


def _nesterov_fits(at: str, optimizer: Any) -> Iterator[Problem]:
    if optimizer.nesterov and (optimizer.momentum <= 0 or optimizer.dampening):
        got = f"momentum {optimizer.momentum:g} and dampening {optimizer.dampening:g}"
        yield Problem(
            "nesterov",
            f"{at}.nesterov",
            f"{at}.nesterov: needs momentum above 0 and dampening 0, got {got}; change one",
        )
