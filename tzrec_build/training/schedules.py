"""Learning rate schedules: a rate from the base rate and a counter of steps or epochs that starts at 0."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from google.protobuf.message import Message

from tzrec_build.errors import ConfigError

RateFunction = Callable[[float, int], float]


@dataclass(frozen=True, slots=True)
class Schedule:
    """A learning rate as a function of a counter.

    Args:
        rate: (base rate, counter) -> rate.
        by_epoch: the counter counts finished epochs; else finished steps.
        constant: the rate never changes, so nobody needs to ask again.
    """

    rate: RateFunction
    by_epoch: bool = False
    constant: bool = False

    def at(self, base: float, counter: int) -> float:
        """Rate at a counter; a base of 0 (a frozen table) stays 0 whatever the schedule says."""
        return self.rate(base, counter) if base else 0.0


def _warm(config: Message, after: RateFunction) -> RateFunction:
    """Rise linearly from the warm-up rate to the base over `warmup_size`, then follow `after` counted from there."""
    size, start = config.warmup_size, config.warmup_learning_rate

    def rate(base: float, counter: int) -> float:
        if counter < size:
            return start + (base - start) * counter / size
        return after(base, counter - size)

    return rate


def _constant(_config: Message) -> Schedule:
    return Schedule(lambda base, _counter: base, constant=True)


def _exponential_decay(config: Message) -> Schedule:
    size, factor = config.decay_size, config.decay_factor
    if size < 1:
        raise ConfigError(f"exponential_decay_learning_rate: decay_size must be at least 1, got {size}; set it")

    def decayed(base: float, counter: int) -> float:
        power = counter // size if config.staircase else counter / size
        return max(base * factor**power, config.min_learning_rate)

    return Schedule(_warm(config, decayed), config.by_epoch)


def _manual_step(config: Message) -> Schedule:
    sizes, rates = list(config.schedule_sizes), list(config.learning_rates)
    if not sizes or len(sizes) != len(rates) or sizes != sorted(sizes) or sizes[0] < 1:
        raise ConfigError(
            "manual_step_learning_rate: schedule_sizes must ascend from 1 and pair with learning_rates, "
            f"got sizes {sizes} and {len(rates)} rates; mend the lists"
        )

    def rate(base: float, counter: int) -> float:
        passed = bisect_left(sizes, counter)
        if passed:
            return rates[passed - 1]
        return base + (rates[0] - base) * counter / sizes[0] if config.warmup else base

    return Schedule(rate, config.by_epoch)


def _cosine(base: float, low: float, part: float) -> float:
    """Half a cosine from base (part 0) down to low (part 1)."""
    return low + (base - low) * 0.5 * (1.0 + math.cos(math.pi * part))


def _cosine_annealing(config: Message) -> Schedule:
    period, low = config.T_max, config.min_learning_rate
    if period < 1:
        raise ConfigError(f"cosine_annealing_learning_rate: T_max must be at least 1, got {period}; set it")
    return Schedule(_warm(config, lambda base, n: _cosine(base, low, min(n, period) / period)), config.by_epoch)


def _cosine_restarts(config: Message) -> Schedule:
    first, growth, low = config.T_0, config.T_mult, config.min_learning_rate
    if first < 1 or growth < 1:
        raise ConfigError(
            "cosine_annealing_warm_restarts_learning_rate: T_0 and T_mult must be at least 1, "
            f"got {first} and {growth}; set them"
        )

    def restarting(base: float, counter: int) -> float:
        period = first
        if growth == 1:
            counter %= period
        while counter >= period:
            counter -= period
            period *= growth
        return _cosine(base, low, counter / period)

    return Schedule(_warm(config, restarting), config.by_epoch)


SCHEDULES: Mapping[str, Callable[[Message], Schedule]] = {  # oneof field of the optimizer message -> builder
    "constant_learning_rate": _constant,
    "exponential_decay_learning_rate": _exponential_decay,
    "manual_step_learning_rate": _manual_step,
    "cosine_annealing_learning_rate": _cosine_annealing,
    "cosine_annealing_warm_restarts_learning_rate": _cosine_restarts,
}


def build_schedule(optimizer: Message) -> Schedule:
    """Read the learning rate part of a SparseOptimizer, DenseOptimizer or PartOptimizer; constant when unset.

    Raises:
        ConfigError: sizes that define no schedule.
    Source: TorchEasyRec's formulas as listed in its optimizer guide.
    """
    name = optimizer.WhichOneof("learning_rate") or "constant_learning_rate"
    return SCHEDULES[name](getattr(optimizer, name))
