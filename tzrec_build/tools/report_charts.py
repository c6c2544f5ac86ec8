"""Charts of the report page as inline SVG: positions in per cent, so that they stretch while text and dots keep their size."""

from __future__ import annotations

import html
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

MARGIN = 3.0  # per cent kept free at both ends of an axis, so that no dot is cut


@dataclass(frozen=True, slots=True)
class Axis:
    """A value axis with round ticks, all within [low, high]."""

    low: float
    high: float
    ticks: tuple[float, ...]
    decimals: int

    def place(self, value: float) -> float:
        """Position of a value in per cent from the left."""
        return MARGIN + (100 - 2 * MARGIN) * (value - self.low) / (self.high - self.low)

    def label(self, tick: float) -> str:
        """Text of a tick."""
        return f"{tick:.{self.decimals}f}"


def fit_axis(values: Sequence[float], wanted: int = 4) -> Axis:
    """Choose round ticks around some values.

    Args:
        values: one or more finite numbers.
        wanted: about how many ticks.

    >>> fit_axis([0.694, 0.712]).ticks
    (0.695, 0.7, 0.705, 0.71)
    """
    low, high = min(values), max(values)
    if high - low < 1e-9 * max(1.0, abs(high)):  # one value only: some room around it
        low, high = low - 0.01 * max(1.0, abs(low)), high + 0.01 * max(1.0, abs(high))
    rough = (high - low) / wanted
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1.0, 2.0, 2.5, 5.0, 10.0) if power * factor >= rough * (1 - 1e-9))
    decimals = max(0, -math.floor(math.log10(step) + 1e-9) + (1 if step / power == 2.5 else 0))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    ticks = tuple(round(number * step, decimals + 2) for number in range(first, last + 1))
    return Axis(low, high, ticks, decimals)


def bar(fraction: float, style: str, label: str) -> str:
    """Draw a bar of a share in [0, 1]."""
    return (
        f'<svg class="bar {style}" role="img" aria-label="{html.escape(label)}">'
        f'<rect class="track" width="100%" height="100%" rx="2"/>'
        f'<rect class="fill" width="{100 * fraction:.2f}%" height="100%" rx="2"/></svg>'
    )


def runs_row(axis: Axis, values: Sequence[float], mean: float, label: str) -> str:
    """Draw the trainings of a benchmark: a dot each, a line from the least to the largest, an upright mark at the mean."""
    dots = "".join(f'<circle class="run" cx="{axis.place(value):.2f}%" cy="50%" r="4.5"/>' for value in values)
    left, right, middle = axis.place(min(values)), axis.place(max(values)), axis.place(mean)
    spread = f'<line class="spread" x1="{left:.2f}%" x2="{right:.2f}%" y1="50%" y2="50%"/>'
    mark = f'<svg x="{middle:.2f}%" y="50%" overflow="visible"><line class="mean" y1="-10" y2="10"/></svg>'
    return _row(axis, spread + dots + mark, label)


def baseline_row(axis: Axis, value: float, label: str) -> str:
    """Draw one baseline as a diamond."""
    diamond = (
        f'<svg x="{axis.place(value):.2f}%" y="50%" overflow="visible"><path class="base" d="M0-6 6 0 0 6-6 0Z"/></svg>'
    )
    return _row(axis, diamond, label)


def axis_row(axis: Axis) -> str:
    """Draw the tick labels below the rows of a chart."""
    texts = "".join(
        f'<text x="{axis.place(tick):.2f}%" y="12" text-anchor="middle">{axis.label(tick)}</text>'
        for tick in axis.ticks
    )
    return f'<svg class="ticks" aria-hidden="true">{texts}</svg>'


def curve(steps: Sequence[int], values: Sequence[float], label: str) -> str:
    """Draw a metric over training steps.

    Args:
        steps: two or more, ascending.
        values: the metric at each step.
        label: what a screen reader says.
    """
    axis = fit_axis(values, 5)
    top, height = 10.0, 100.0

    def across(step: int) -> float:
        return 9 + 89 * (step - steps[0]) / max(1, steps[-1] - steps[0])

    def down(value: float) -> float:
        return top + height * (1 - (value - axis.low) / (axis.high - axis.low))

    grid = "".join(
        f'<line class="grid" x1="9%" x2="100%" y1="{down(tick):.1f}" y2="{down(tick):.1f}"/>'
        f'<text x="8%" y="{down(tick) + 4:.1f}" text-anchor="end">{axis.label(tick)}</text>'
        for tick in axis.ticks
    )
    points = [(across(step), down(value)) for step, value in zip(steps, values, strict=True)]
    lines = "".join(
        f'<line class="curve-line" x1="{x1:.2f}%" y1="{y1:.1f}" x2="{x2:.2f}%" y2="{y2:.1f}"/>'
        for (x1, y1), (x2, y2) in itertools.pairwise(points)
    )
    dots = "".join(f'<circle class="curve-dot" cx="{x:.2f}%" cy="{y:.1f}" r="3"/>' for x, y in points)
    below = top + height + 22
    ends = (
        f'<text x="9%" y="{below}">step {steps[0]:,}</text>'
        f'<text x="98%" y="{below}" text-anchor="end">{steps[-1]:,}</text>'
    )
    return f'<svg class="curve" role="img" aria-label="{html.escape(label)}">{grid}{lines}{dots}{ends}</svg>'


def _row(axis: Axis, marks: str, label: str) -> str:
    grid = "".join(
        f'<line class="grid" x1="{place:.2f}%" x2="{place:.2f}%" y1="0" y2="100%"/>'
        for place in (axis.place(tick) for tick in axis.ticks)
    )
    return f'<svg class="dots" role="img" aria-label="{html.escape(label)}">{grid}{marks}</svg>'
