"""Order and height of the cells of a layered picture: few crossings, straight edges, nothing on top of each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

ROUNDS = 8
BOX_GAP = 12.0
LINE_GAP = 7.0


@dataclass(slots=True, eq=False)
class Cell:
    """A box, or the place where an edge passes a column.

    Attributes:
        name: of the task, or of the edge.
        band: number of its band.
        column: number of its column.
        height: in pixels.
        box: whether it is a box.
        order: its place in band and column, from the top.
        y: its middle, in pixels.
        before: its neighbours in the column to the left.
        after: its neighbours in the column to the right.
    """

    name: str
    band: int
    column: int
    height: float
    box: bool
    order: int = 0
    y: float = 0.0
    before: list[Cell] = field(default_factory=list)
    after: list[Cell] = field(default_factory=list)


def arrange(cells: dict[str, Cell], count: int) -> None:
    """Order the cells of each column and band so that few edges cross; the best of several rounds is kept."""
    rows: list[dict[int, list[Cell]]] = [{} for _ in range(count)]
    for cell in cells.values():
        rows[cell.column].setdefault(cell.band, []).append(cell)
    _number(rows)
    best = _orders(cells)
    fewest = _crossings(rows)
    for turn in range(ROUNDS):
        if not fewest:
            break
        forward = turn % 2 == 0
        for column in rows if forward else rows[::-1]:
            for row in column.values():
                keys = {cell.name: _middle(cell, cell.before if forward else cell.after) for cell in row}
                row.sort(key=lambda cell, keys=keys: keys[cell.name])  # type: ignore[misc]
                for i, cell in enumerate(row):
                    cell.order = i
        crossings = _crossings(rows)
        if crossings < fewest:
            fewest, best = crossings, _orders(cells)
    for cell in cells.values():
        cell.order = best[cell.name]


def _number(rows: Sequence[dict[int, list[Cell]]]) -> None:
    for column in rows:
        for row in column.values():
            for i, cell in enumerate(row):
                cell.order = i


def _orders(cells: dict[str, Cell]) -> dict[str, int]:
    return {name: cell.order for name, cell in cells.items()}


def _spot(cell: Cell, other: Cell) -> float:
    """Where `other` lies as seen from the band of `cell`."""
    if other.band == cell.band:
        return float(other.order)
    return -1.0 if other.band < cell.band else 1e6


def _middle(cell: Cell, near: Sequence[Cell]) -> float:
    return sum(_spot(cell, other) for other in near) / len(near) if near else float(cell.order)


def _crossings(rows: Sequence[dict[int, list[Cell]]]) -> int:
    """Pairs of edges inside a band that cross between two columns."""
    total = 0
    for column in rows:
        for row in column.values():
            edges = sorted((cell.order, other.order) for cell in row for other in cell.after if other.band == cell.band)
            ends = [end for _, end in edges]
            total += sum(ends[i] > ends[j] for i in range(len(ends)) for j in range(i + 1, len(ends)))
    return total


def align(cells: Sequence[Cell]) -> None:
    """Give each cell of one band a height near the middle of its neighbours, in the order found, none on another."""
    rows: dict[int, list[Cell]] = {}
    for cell in sorted(cells, key=lambda cell: (cell.column, cell.order)):
        rows.setdefault(cell.column, []).append(cell)
    for row in rows.values():
        offsets = _offsets(row)
        for cell, offset in zip(row, offsets, strict=True):
            cell.y = offset - offsets[-1] / 2
    inside = set(map(id, cells))
    columns = [rows[i] for i in sorted(rows)]
    for turn in range(ROUNDS):
        forward = turn % 2 == 0
        for row in columns if forward else columns[::-1]:
            wanted = []
            for cell in row:
                sides = (cell.before if forward else cell.after, cell.after if forward else cell.before)
                near = next((found for side in sides if (found := [o for o in side if id(o) in inside])), [])
                wanted.append(sum(other.y for other in near) / len(near) if near else cell.y)
            _settle(row, wanted)


def _offsets(row: Sequence[Cell]) -> list[float]:
    """Distance of each cell's middle from the first one's, packed as close as may be."""
    offsets = [0.0]
    for one, other in pairwise(row):
        gap = BOX_GAP if one.box or other.box else LINE_GAP
        offsets.append(offsets[-1] + one.height / 2 + gap + other.height / 2)
    return offsets


def _settle(row: Sequence[Cell], wanted: Sequence[float]) -> None:
    """The places nearest to the wanted ones that keep order and distance: cells that push each other move as one block."""
    offsets = _offsets(row)
    blocks: list[tuple[float, int]] = []  # mean of what its cells want, less their offsets; how many cells
    for want, offset in zip(wanted, offsets, strict=True):
        mean, size = want - offset, 1
        while blocks and blocks[-1][0] > mean:
            other, count = blocks.pop()
            mean, size = (mean * size + other * count) / (size + count), size + count
        blocks.append((mean, size))
    places = [mean for mean, size in blocks for _ in range(size)]
    for cell, place, offset in zip(row, places, offsets, strict=True):
        cell.y = place + offset
