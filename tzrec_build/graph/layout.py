"""Where everything of a task graph's picture lies. Pure: nodes in, geometry out; `picture.py` and a tool draw it.

Tasks lie in columns, each to the right of all that it needs; pipelines are bands below each other. An edge over several columns
gets a cell of its own in each column between, so that it passes no box; edges from one task into one band share them. A graph
wider than `MAX_WIDTH` goes on below, like text.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tzrec_build.graph.cells import Cell, align, arrange
from tzrec_build.graph.outlook import ordered

BOX_HEIGHT = 28.0
COLUMN_GAP = 44.0
BAND_PAD = 14.0
BAND_TITLE = 24.0
BAND_GAP = 14.0
STRIP_GAP = 30.0
MARGIN = 20.0
MAX_WIDTH = 2000.0
MAX_WIDTH_OF_SEVERAL = 5000.0  # many pipelines are read one by one: better to scroll than to tear each apart
SEVERAL = 3  # pipelines
LANES = 10  # of edges that go on in the next strip
LANE_GAP = 5.0
FAR, BEND = 150.0, 12.0  # an edge that climbs more than this goes upright in between
TRUNKS = (16.0, 21.0, 26.0, 11.0)  # right of the column that the edge comes from
LEGEND_HEIGHT = 44.0
LEGEND_WIDTH = 620.0  # a small graph is as wide as its legend
MARK_WIDTH = 20.0  # room for the mark of the state in a box
_NARROW, _WIDE = set("ijltfrI.,:;'|!()[] "), set("mwMW%@")


@dataclass(frozen=True, slots=True)
class Node:
    """One box: doit's task name, the text in it, its band, its state, the tasks that it needs, what a tooltip adds."""

    name: str
    label: str
    band: str
    state: str
    needs: tuple[str, ...]
    reason: str = ""


Step = tuple[str, tuple[float, ...]]  # "M" x y, "L" x y or "C" x1 y1 x2 y2 x y, as in SVG


@dataclass(frozen=True, slots=True)
class Line:
    """One edge, or a part of one; `arrow` where it ends at a box."""

    steps: tuple[Step, ...]
    arrow: bool


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle, in pixels."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Drawing:
    """A laid-out graph: boxes by task name, bands with their titles, edges, and the place of the legend."""

    width: float
    height: float
    boxes: Mapping[str, Box]
    bands: Sequence[tuple[str, Box]]
    lines: Sequence[Line]
    legend_y: float


def text_width(text: str) -> float:
    """Pixels of a text at 12 px, as wide as the widest of the usual fonts makes it.

    >>> text_width("ill") < text_width("abc") < text_width("www")
    True
    """
    return sum(
        12.4 if ord(char) > 0x2E80 else 4.8 if char in _NARROW else 11.6 if char in _WIDE else 7.7 for char in text
    )


def columns(nodes: Sequence[Node]) -> dict[str, int]:
    """Column of each node: right of all that it needs, and further right where a band's column is full already.

    >>> columns([Node("a", "", "", "", ()), Node("b", "", "", "", ("a",)), Node("c", "", "", "", ("a", "b"))])
    {'a': 0, 'b': 1, 'c': 2}
    """
    band = {node.name: node.band for node in nodes}
    size: dict[str, int] = {}
    for node in nodes:
        size[node.band] = size.get(node.band, 0) + 1
    most = {name: max(10, math.ceil(1.3 * math.sqrt(count))) for name, count in size.items()}
    found: dict[str, int] = {}
    used: dict[tuple[str, int], int] = {}
    for name, needs in ordered({node.name: node.needs for node in nodes}).items():
        column = 1 + max((found[need] for need in needs), default=-1)
        while used.get((band[name], column), 0) >= most[band[name]]:
            column += 1
        found[name] = column
        used[band[name], column] = used.get((band[name], column), 0) + 1
    return _pulled(nodes, found)


def _pulled(nodes: Sequence[Node], column: dict[str, int]) -> dict[str, int]:
    """Tasks that need nothing move next to the first task that needs them, so that their edges are short."""
    first_use: dict[str, int] = {}
    for node in nodes:
        for need in node.needs:
            if need in column:
                first_use[need] = min(first_use.get(need, column[node.name]), column[node.name])
    free = [node.name for node in nodes if not any(need in column for need in node.needs)]
    return {**column, **{name: first_use[name] - 1 for name in free if name in first_use and len(free) < len(nodes)}}


def reduced(nodes: Sequence[Node]) -> list[Node]:
    """The same nodes without the edges that a longer path implies, so that a picture shows the road and not every shortcut.

    >>> reduced([Node("a", "", "", "", ()), Node("b", "", "", "", ("a",)), Node("c", "", "", "", ("a", "b"))])[2].needs
    ('b',)
    """
    above: dict[str, set[str]] = {}
    kept: dict[str, tuple[str, ...]] = {}
    for name, needs in ordered({node.name: node.needs for node in nodes}).items():
        above[name] = set(needs).union(*(above[need] for need in needs))
        kept[name] = tuple(need for need in needs if not any(need in above[other] for other in needs))
    return [Node(n.name, n.label, n.band, n.state, kept[n.name], n.reason) for n in nodes]


@dataclass(slots=True)
class _Sheet:
    """What is being laid out: cells by column and band, links between cells of neighbouring columns, column widths."""

    cells: dict[str, Cell] = field(default_factory=dict)
    links: dict[tuple[str, str], bool] = field(default_factory=dict)
    widths: list[float] = field(default_factory=list)


def lay_out(nodes: Sequence[Node]) -> Drawing:
    """Lay the graph out."""
    sheet = _sheet(nodes)
    names = list(dict.fromkeys(node.band for node in nodes))
    arrange(sheet.cells, len(sheet.widths))
    strips = _strips(sheet.widths, MAX_WIDTH if len(names) < SEVERAL else MAX_WIDTH_OF_SEVERAL)
    for columns_of_strip in strips:
        for band in range(len(names)):
            align([cell for cell in sheet.cells.values() if cell.band == band and cell.column in columns_of_strip])
    return _drawing(sheet, strips, names)


def _sheet(nodes: Sequence[Node]) -> _Sheet:
    column = columns(nodes)
    bands = {name: i for i, name in enumerate(dict.fromkeys(node.band for node in nodes))}
    sheet = _Sheet(widths=[0.0] * (max(column.values(), default=-1) + 1))
    for node in nodes:
        sheet.cells[node.name] = Cell(node.name, bands[node.band], column[node.name], BOX_HEIGHT, box=True)
        wide = text_width(node.label) + MARK_WIDTH + 16
        sheet.widths[column[node.name]] = max(sheet.widths[column[node.name]], wide)
    for node in nodes:
        for need in node.needs:
            if need in sheet.cells:
                _connect(sheet, need, sheet.cells[node.name])
    return sheet


def _connect(sheet: _Sheet, need: str, target: Cell) -> None:
    """Link two boxes through a cell in each column between; edges of one task share them in each band."""
    last = sheet.cells[need]
    for column in range(last.column + 1, target.column):
        name = f"{need} > {target.band} {column}"
        cell = sheet.cells.setdefault(name, Cell(name, target.band, column, 2.0, box=False))
        _link(sheet, last, cell)
        last = cell
    _link(sheet, last, target)


def _link(sheet: _Sheet, start: Cell, end: Cell) -> None:
    if (start.name, end.name) not in sheet.links:
        sheet.links[start.name, end.name] = end.box
        start.after.append(end)
        end.before.append(start)


def _strips(widths: Sequence[float], most: float) -> list[range]:
    """Columns of each strip; about equally wide."""
    total = sum(widths) + COLUMN_GAP * len(widths)
    several = max(math.ceil(total / most), 1)
    strips: list[range] = []
    start, right = 0, 0.0
    for column, width in enumerate(widths):
        right += width + COLUMN_GAP
        if column > start and (right - (width + COLUMN_GAP) / 2) * several / total >= len(strips) + 1:
            strips.append(range(start, column))
            start = column
    return [*strips, range(start, len(widths))]


@dataclass(frozen=True, slots=True)
class _Page:
    """Left edge and strip of each column, lane of each task whose edges go on in another strip, left edge and width of the
    bands, lowest pixel of each strip.
    """

    xs: Sequence[float]
    strip_of: Mapping[int, int]
    lanes: Mapping[str, int]
    left: float
    inner: float
    bottoms: list[float] = field(default_factory=list)

    @property
    def lanes_width(self) -> float:
        """Room beside and between the strips."""
        return (max(self.lanes.values(), default=0)) * LANE_GAP


def _page(sheet: _Sheet, strips: Sequence[range], names: Sequence[str]) -> _Page:
    strip_of = {column: i for i, strip in enumerate(strips) for column in strip}
    lanes: dict[str, int] = {}
    used: dict[int, int] = {}
    for start, end in sheet.links:
        strip = strip_of[sheet.cells[start].column]
        if strip != strip_of[sheet.cells[end].column] and start not in lanes:
            lanes[start] = used.get(strip, 0) % LANES + 1
            used[strip] = used.get(strip, 0) + 1
    left = MARGIN + max(lanes.values(), default=0) * LANE_GAP
    xs = [0.0] * len(sheet.widths)
    for columns_of_strip in strips:
        x = left + BAND_PAD
        for column in columns_of_strip:
            xs[column] = x
            x += sheet.widths[column] + COLUMN_GAP
    inner = max((x + width for x, width in zip(xs, sheet.widths, strict=True)), default=left) + BAND_PAD - left
    title = max((text_width(name) * 1.2 for name in names), default=0.0) + 2 * BAND_PAD
    return _Page(xs, strip_of, lanes, left, max(inner, title, LEGEND_WIDTH - left))


def _drawing(sheet: _Sheet, strips: Sequence[range], names: Sequence[str]) -> Drawing:
    page = _page(sheet, strips, names)
    y = MARGIN
    bands: list[tuple[str, Box]] = []
    seen: set[int] = set()
    for strip in strips:
        for band, name in enumerate(names):
            cells = [cell for cell in sheet.cells.values() if cell.band == band and cell.column in strip]
            if not cells:
                continue
            height = BAND_TITLE + _shift(cells, y + BAND_TITLE) + BAND_PAD
            bands.append((f"{name} (goes on)" if band in seen else name, Box(page.left, y, page.inner, height)))
            seen.add(band)
            y += height + BAND_GAP
        page.bottoms.append(y - BAND_GAP)
        y += STRIP_GAP - BAND_GAP + page.lanes_width
    boxes = {
        cell.name: Box(page.xs[cell.column], cell.y - BOX_HEIGHT / 2, sheet.widths[cell.column], BOX_HEIGHT)
        for cell in sheet.cells.values()
        if cell.box
    }
    bottom = page.bottoms[-1]
    return Drawing(
        2 * page.left + page.inner, bottom + LEGEND_HEIGHT, boxes, bands, list(_lines(sheet, page)), bottom + 16
    )


def _shift(cells: Sequence[Cell], top: float) -> float:
    """Move cells so that the highest begins at `top`; return the height of all."""
    high = min(cell.y - cell.height / 2 for cell in cells)
    for cell in cells:
        cell.y += top - high
    return max(cell.y + cell.height / 2 for cell in cells) - top


def _bent(start: tuple[float, float], end: tuple[float, float], trunk: float) -> tuple[Step, ...]:
    """A curve to a near place; to a far one along a trunk, which all such edges of a task share."""
    (x1, y1), (x2, y2) = start, end
    if abs(y2 - y1) < FAR:
        middle = (x1 + x2) / 2
        return (("C", (middle, y1, middle, y2, x2, y2)),)
    bend = BEND if y2 > y1 else -BEND
    first = ("C", (trunk, y1, trunk, y1, trunk, y1 + bend))
    return (first, ("L", (trunk, y2 - bend)), ("C", (trunk, y2, trunk, y2, x2, y2)))


def _lines(sheet: _Sheet, page: _Page) -> Iterable[Line]:
    trunks: dict[str, int] = {}
    for cell in sheet.cells.values():
        if not cell.box:
            x = page.xs[cell.column]
            yield Line((("M", (x, cell.y)), ("L", (x + sheet.widths[cell.column], cell.y))), arrow=False)
    for (start, end), arrow in sheet.links.items():
        one, other = sheet.cells[start], sheet.cells[end]
        x1, x2 = page.xs[one.column] + sheet.widths[one.column], page.xs[other.column]
        if page.strip_of[one.column] == page.strip_of[other.column]:
            trunk = x1 + TRUNKS[trunks.setdefault(start, len(trunks)) % len(TRUNKS)]
            yield Line((("M", (x1, one.y)), *_bent((x1, one.y), (x2, other.y), trunk)), arrow)
            continue
        lane = page.lanes[start] * LANE_GAP
        right, left = page.left + page.inner + lane, page.left - lane
        y = page.bottoms[page.strip_of[one.column]] + STRIP_GAP / 2 + lane
        corners = [(right, one.y), (right, y), (left, y), (left, other.y), (x2, other.y)]
        yield Line((("M", (x1, one.y)), *(("L", corner) for corner in corners)), arrow)
