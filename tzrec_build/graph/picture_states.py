"""How the states of a task look in a picture: told apart by colour, in grey, and by a mark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Mark = tuple[tuple[tuple[float, float], ...], ...]  # lines through points, in a square of 10 x 10


@dataclass(frozen=True, slots=True)
class Look:
    """One state.

    Attributes:
        meaning: what the legend says.
        fill: colour of the box; lighter means less to do, so that a grey print tells the same.
        border: colour of its border and mark.
        ink: colour of its text.
        mark: lines that are drawn at the left of the box.
        dashed: whether the border is.
    """

    meaning: str
    fill: str
    border: str
    ink: str
    mark: Mark
    dashed: bool = False


_DARK, _LIGHT = "#1d2433", "#ffffff"
LOOKS: Mapping[str, Look] = {  # most urgent first; the hues are those that all kinds of colour blindness keep apart
    "failed": Look("failed", "#8c1d18", "#5c0f0c", _LIGHT, (((1, 1), (9, 9)), ((1, 9), (9, 1)))),
    "running": Look("being built now", "#5a6ac0", "#343f86", _LIGHT, (((2, 0.5), (9, 5), (2, 9.5), (2, 0.5)),)),
    "stale": Look("to be built", "#f2bd4b", "#8a5a00", _DARK, (((5, 0.5), (9.5, 5), (5, 9.5), (0.5, 5), (5, 0.5)),)),
    "restorable": Look(
        "to be restored from the cache", "#c9e0f4", "#0b5c9c", _DARK,
        (((5, 0), (5, 7)), ((1.5, 4), (5, 7.5), (8.5, 4)), ((0.5, 10), (9.5, 10))), dashed=True,
    ),
    "fresh": Look("up to date", "#eaf5ee", "#3c8a5f", _DARK, (((0.5, 5.5), (3.5, 9), (9.5, 1.5)),)),
    "plain": Look("task", "#eef1f6", "#5b6b85", _DARK, ()),
}  # fmt: skip


def most_urgent(states: Sequence[str]) -> str:
    """The state that a box for several tasks shows.

    >>> most_urgent(["fresh", "stale", "restorable"])
    'stale'
    """
    return min(states, key=list(LOOKS).index)
