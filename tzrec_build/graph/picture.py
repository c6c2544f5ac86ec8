"""The task graph as text: SVG, Graphviz, Mermaid, and the JSON from which a tool draws pixels. Pure: data in, text out."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from html import escape

from tzrec_build.graph.layout import MARGIN, MARK_WIDTH, Box, Drawing, Line, Node, lay_out, reduced, text_width
from tzrec_build.graph.picture_states import LOOKS, Look

EDGE, BAND, BAND_INK = "#7d889c", "#f6f7fa", "#44516a"
MARK_SIZE = 10.0
FONT_PX = 12
_STYLE = (
    f"text{{font:{FONT_PX}px system-ui,'Segoe UI',Helvetica,Arial,sans-serif}}.band{{font-weight:600;fill:{BAND_INK};paint-order:stroke;stroke:{BAND};stroke-width:4px}}"
    f".edge{{fill:none;stroke:{EDGE};stroke-width:1.2;stroke-linejoin:round}}.mark{{fill:none;stroke-width:1.7}}"
)


def tooltip(node: Node) -> str:
    """What a reader sees who points at a box."""
    state = "" if node.state == "plain" else f": {LOOKS[node.state].meaning}"
    return f"{node.name}{state}{f'; {node.reason}' if node.reason else ''}"


def legend(nodes: Sequence[Node]) -> list[tuple[float, str]]:
    """Left edge and state of each entry: the states that the picture has."""
    entries = []
    x = MARGIN
    present = {node.state for node in nodes}
    for state, look in LOOKS.items():
        if state in present and state != "plain":
            entries.append((x, state))
            x += MARK_WIDTH + 14 + text_width(look.meaning)
    return entries


def svg(nodes: Sequence[Node]) -> str:
    """The graph as a stand-alone SVG with tooltips; its text can be searched."""
    nodes = reduced(nodes)
    drawing = lay_out(nodes)
    width, height = f"{drawing.width:.0f}", f"{drawing.height:.0f}"
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'role="img"><title>task graph</title><style>{_STYLE}</style>'
        '<defs><marker id="tip" viewBox="0 0 6 6" refX="5.5" refY="3" markerWidth="6" markerHeight="6" orient="auto">'
        f'<polygon points="0,0 6,3 0,6" fill="{EDGE}"/></marker></defs>'
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>'
    )
    parts = [head]
    parts += [_rect(box, f'rx="8" fill="{BAND}"') for _, box in drawing.bands]
    parts += [_path(line) for line in drawing.lines]
    for title, box in drawing.bands:
        parts.append(f'<text class="band" x="{box.x + 12:.1f}" y="{box.y + 17:.1f}">{escape(title)}</text>')
    parts += [_node(node, drawing.boxes[node.name]) for node in nodes]
    for x, state in legend(nodes):
        parts.append(_legend_entry(x, drawing.legend_y, LOOKS[state]))
    return "\n".join([*parts, "</svg>\n"])


def _rect(box: Box, more: str) -> str:
    return f'<rect x="{box.x:.1f}" y="{box.y:.1f}" width="{box.width:.1f}" height="{box.height:.1f}" {more}/>'


def _path(line: Line) -> str:
    steps = "".join(f"{letter}{' '.join(f'{value:.1f}' for value in values)}" for letter, values in line.steps)
    return f'<path class="edge" d="{steps}"{MARKER if line.arrow else ""}/>'


MARKER = ' marker-end="url(#tip)"'


def _border(look: Look) -> str:
    dashes = ' stroke-dasharray="5 3"' if look.dashed else ""
    return f'rx="5" fill="{look.fill}" stroke="{look.border}" stroke-width="1.3"{dashes}'


def _mark(look: Look, x: float, y: float) -> str:
    colour = look.ink if look.ink == "#ffffff" else look.border
    lines = "".join(
        f"M{' '.join(f'{x + px * MARK_SIZE / 10:.1f} {y + py * MARK_SIZE / 10:.1f}' for px, py in points)}"
        for points in look.mark
    )
    return f'<path class="mark" stroke="{colour}" d="{lines}"/>' if lines else ""


def _node(node: Node, box: Box) -> str:
    look = LOOKS[node.state]
    x = box.x + (MARK_WIDTH + 6 if look.mark else 10)
    return (
        f"<g><title>{escape(tooltip(node))}</title>{_rect(box, _border(look))}"
        f"{_mark(look, box.x + 8, box.y + (box.height - MARK_SIZE) / 2)}"
        f'<text x="{x:.1f}" y="{box.y + box.height / 2 + 4:.1f}" fill="{look.ink}">{escape(node.label)}</text></g>'
    )


def _legend_entry(x: float, y: float, look: Look) -> str:
    box = Box(x, y, MARK_SIZE + 8, MARK_SIZE + 6)
    return (
        f"{_rect(box, _border(look))}{_mark(look, x + 4, y + 3)}"
        f'<text x="{x + MARK_SIZE + 14:.1f}" y="{y + 12:.1f}" fill="#1d2433">{escape(look.meaning)}</text>'
    )


def geometry(nodes: Sequence[Node]) -> str:
    """The laid-out graph as JSON, for `tzrec_build.tools.graph_picture`."""
    nodes = reduced(nodes)
    drawing: Drawing = lay_out(nodes)
    body = {
        **asdict(drawing),
        "nodes": {node.name: {"label": node.label, "state": node.state} for node in nodes},
        "legend": legend(nodes),
        "looks": {state: asdict(look) for state, look in LOOKS.items()},
        "colours": {"edge": EDGE, "band": BAND, "band_ink": BAND_INK},
        "mark": {"width": MARK_WIDTH, "size": MARK_SIZE},
        "font_px": FONT_PX,
    }
    return json.dumps(body)


def dot(nodes: Sequence[Node]) -> str:
    """The graph for Graphviz, a cluster per pipeline."""
    lines = ["digraph tasks {", "  rankdir=LR; node [shape=box, style=filled];"]
    for i, band in enumerate(dict.fromkeys(node.band for node in nodes)):
        lines.append(f"  subgraph cluster_{i} {{ label={_quoted(band)};")
        for node in nodes:
            if node.band == band:
                look = LOOKS[node.state]
                style = "filled,dashed" if look.dashed else "filled"
                colours = f'fillcolor="{look.fill}", color="{look.border}", fontcolor="{look.ink}"'
                texts = f"label={_quoted(node.label)}, tooltip={_quoted(tooltip(node))}"
                lines.append(f'    {_quoted(node.name)} [{texts}, style="{style}", {colours}];')
        lines.append("  }")
    known = {node.name for node in nodes}
    for node in nodes:
        lines += [f"  {_quoted(need)} -> {_quoted(node.name)};" for need in node.needs if need in known]
    return "\n".join([*lines, "}\n"])


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def mermaid(nodes: Sequence[Node]) -> str:
    """The graph for Mermaid, as GitHub and GitLab draw it in Markdown."""
    number = {node.name: f"t{i}" for i, node in enumerate(nodes)}
    lines = ["flowchart LR"]
    for i, band in enumerate(dict.fromkeys(node.band for node in nodes)):
        lines.append(f'  subgraph p{i}["{_entity(band)}"]')
        lines += [f'    {number[n.name]}["{_entity(n.label)}"]:::{n.state}' for n in nodes if n.band == band]
        lines.append("  end")
    lines += [f"  {number[need]} --> {number[node.name]}" for node in nodes for need in node.needs if need in number]
    for state in dict.fromkeys(node.state for node in nodes):
        look = LOOKS[state]
        dashes = ",stroke-dasharray:5 3" if look.dashed else ""
        lines.append(f"  classDef {state} fill:{look.fill},stroke:{look.border},color:{look.ink}{dashes}")
    return "\n".join(lines) + "\n"


def _entity(text: str) -> str:
    return text.replace("#", "#35;").replace('"', "#quot;")


WRITERS: Mapping[str, Callable[[Sequence[Node]], str]] = {".svg": svg, ".dot": dot, ".mmd": mermaid}
DRAWN = (".png", ".pdf")  # drawn from `geometry` by a tool
