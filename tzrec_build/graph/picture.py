"""The task graph as a picture: layers from left to right, one band per pipeline, coloured by state. Pure: data in, text out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape

BOX_HEIGHT = 30
ROW_GAP = 14
COLUMN_GAP = 46
BAND_GAP = 34
MARGIN = 20
CHAR_WIDTH = 7.3  # of 12 px system-ui, rounded up
ORDER_ROUNDS = 6
STATES: Mapping[str, tuple[str, str, str]] = {  # state -> fill, border, what it means
    "fresh": ("#e6f4ea", "#34803f", "up to date"),
    "stale": ("#fff4d6", "#b07a00", "to be made"),
    "plain": ("#eef1f6", "#5b6b85", "artifact"),
}
_STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#1d2433}.band{font-weight:600;fill:#5b6b85}"
    "path{fill:none;stroke:#9aa6ba;stroke-width:1.2}rect{stroke-width:1.2}"
)


@dataclass(frozen=True, slots=True)
class Node:
    """One box: doit's task name, the text in it, the band that it lies in, its state and the tasks that it needs."""

    name: str
    label: str
    band: str
    state: str
    needs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Box:
    """Where a node is drawn, in pixels."""

    x: float
    y: float
    width: float


def layers(nodes: Sequence[Node]) -> dict[str, int]:
    """Column of each node: the length of the longest path that leads to it.

    >>> layers([Node("a", "", "", "", ()), Node("b", "", "", "", ("a",)), Node("c", "", "", "", ("a", "b"))])
    {'a': 0, 'b': 1, 'c': 2}
    """
    known = {node.name: node for node in nodes}
    found: dict[str, int] = {}

    def depth(name: str) -> int:
        if name not in found:
            found[name] = 0
            found[name] = 1 + max((depth(need) for need in known[name].needs if need in known), default=-1)
        return found[name]

    for node in nodes:
        depth(node.name)
    return {node.name: found[node.name] for node in nodes}


def reduced(nodes: Sequence[Node]) -> list[Node]:
    """The same nodes without the edges that a longer path implies, so that a picture shows the road and not every shortcut.

    >>> reduced([Node("a", "", "", "", ()), Node("b", "", "", "", ("a",)), Node("c", "", "", "", ("a", "b"))])[2].needs
    ('b',)
    """
    column = layers(nodes)
    above: dict[str, set[str]] = {}
    for node in sorted(nodes, key=lambda node: column[node.name]):
        needs = [need for need in node.needs if need in column]
        above[node.name] = set(needs).union(*(above[need] for need in needs))
    return [
        replace(node, needs=tuple(n for n in node.needs if not any(n in above.get(other, ()) for other in node.needs)))
        for node in nodes
    ]


def place(nodes: Sequence[Node]) -> dict[str, Box]:
    """Lay the nodes out: bands from top to bottom, layers as columns, each column ordered by the middle of its neighbours."""
    column = layers(nodes)
    widths = [0.0] * (max(column.values(), default=-1) + 1)
    for node in nodes:
        widths[column[node.name]] = max(widths[column[node.name]], len(node.label) * CHAR_WIDTH + 18)
    lefts = [MARGIN + sum(widths[:i]) + COLUMN_GAP * i for i in range(len(widths))]
    boxes: dict[str, Box] = {}
    top = float(MARGIN)
    for band in dict.fromkeys(node.band for node in nodes):
        rows = _rows([node for node in nodes if node.band == band], column)
        tallest = max((len(row) for row in rows), default=0)
        top += 22
        for row in rows:
            free = (tallest - len(row)) * (BOX_HEIGHT + ROW_GAP) / 2
            for i, name in enumerate(row):
                y = top + free + i * (BOX_HEIGHT + ROW_GAP)
                boxes[name] = Box(lefts[column[name]], y, widths[column[name]])
        top += tallest * (BOX_HEIGHT + ROW_GAP) + BAND_GAP - ROW_GAP
    return boxes


def _rows(nodes: Sequence[Node], column: Mapping[str, int]) -> list[list[str]]:
    rows: dict[int, list[str]] = {}
    for node in nodes:
        rows.setdefault(column[node.name], []).append(node.name)
    near: dict[str, list[str]] = {node.name: [] for node in nodes}
    for node in nodes:
        for need in node.needs:
            if need in near:
                near[node.name].append(need)
                near[need].append(node.name)
    order = [rows[i] for i in sorted(rows)]
    for turn in range(ORDER_ROUNDS):
        rank = {name: i - len(row) / 2 for row in order for i, name in enumerate(row)}
        for row in order if turn % 2 == 0 else reversed(order):
            row.sort(key=lambda name: sum(rank[other] for other in near[name]) / max(len(near[name]), 1))
            rank.update({name: i - len(row) / 2 for i, name in enumerate(row)})
    return order


def svg(nodes: Sequence[Node]) -> str:
    """The graph as a stand-alone SVG."""
    nodes = reduced(nodes)
    boxes = place(nodes)
    width = max((box.x + box.width for box in boxes.values()), default=0) + MARGIN
    height = max((box.y + BOX_HEIGHT for box in boxes.values()), default=0) + MARGIN + 24
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" role="img"><title>task graph</title><style>{_STYLE}</style>'
        '<defs><marker id="tip" viewBox="0 0 6 6" refX="6" refY="3" markerWidth="6" markerHeight="6" orient="auto">'
        '<polygon points="0,0 6,3 0,6" fill="#9aa6ba"/></marker></defs>'
        f'<rect width="{width:.0f}" height="{height:.0f}" fill="#ffffff"/>'
    )
    parts = [head]
    parts += [_edge(boxes[need], boxes[node.name]) for node in nodes for need in node.needs if need in boxes]
    for band in dict.fromkeys(node.band for node in nodes):
        y = min(boxes[node.name].y for node in nodes if node.band == band)
        parts.append(f'<text class="band" x="{MARGIN}" y="{y - 9:.0f}">{escape(band)}</text>')
    parts += [_box(node, boxes[node.name]) for node in nodes]
    x = float(MARGIN)
    for state in dict.fromkeys(node.state for node in nodes if node.state != "plain"):
        fill, border, meaning = STATES[state]
        parts.append(
            f'<rect x="{x:.0f}" y="{height - 26:.0f}" width="12" height="12" rx="3" fill="{fill}" stroke="{border}"/>'
            f'<text x="{x + 18:.0f}" y="{height - 16:.0f}">{meaning}</text>'
        )
        x += 30 + len(meaning) * CHAR_WIDTH
    return "\n".join([*parts, "</svg>\n"])


def _edge(start: Box, end: Box) -> str:
    x1, y1 = start.x + start.width, start.y + BOX_HEIGHT / 2
    x2, y2 = end.x, end.y + BOX_HEIGHT / 2
    bend = max((x2 - x1) / 2, 12)
    return f'<path d="M{x1:.1f} {y1:.1f}C{x1 + bend:.1f} {y1:.1f} {x2 - bend:.1f} {y2:.1f} {x2:.1f} {y2:.1f}" marker-end="url(#tip)"/>'


def _box(node: Node, box: Box) -> str:
    fill, border, _ = STATES[node.state]
    return (
        f'<g><title>{escape(node.name)}</title><rect x="{box.x:.1f}" y="{box.y:.1f}" width="{box.width:.1f}" '
        f'height="{BOX_HEIGHT}" rx="6" fill="{fill}" stroke="{border}"/>'
        f'<text x="{box.x + box.width / 2:.1f}" y="{box.y + 19:.1f}" text-anchor="middle">{escape(node.label)}</text></g>'
    )


def dot(nodes: Sequence[Node]) -> str:
    """The graph for Graphviz."""
    lines = ["digraph tasks {", "  rankdir=LR; node [shape=box, style=filled];"]
    for node in nodes:
        lines.append(f'  "{node.name}" [label="{node.label}", fillcolor="{STATES[node.state][0]}"];')
        lines += [f'  "{need}" -> "{node.name}";' for need in node.needs]
    return "\n".join([*lines, "}\n"])


def mermaid(nodes: Sequence[Node]) -> str:
    """The graph for Mermaid, as GitHub and GitLab draw it in Markdown."""
    number = {node.name: f"t{i}" for i, node in enumerate(nodes)}
    lines = ["flowchart LR"]
    for band in dict.fromkeys(node.band for node in nodes):
        lines.append(f'  subgraph "{band}"')
        lines += [f'    {number[node.name]}["{node.label}"]' for node in nodes if node.band == band]
        lines.append("  end")
    lines += [f"  {number[need]} --> {number[node.name]}" for node in nodes for need in node.needs if need in number]
    return "\n".join(lines) + "\n"


WRITERS: Mapping[str, Callable[[Sequence[Node]], str]] = {".svg": svg, ".dot": dot, ".mmd": mermaid}
