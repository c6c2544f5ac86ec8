"""Draws the picture of a task graph that ``doit graph`` has laid out: PNG or PDF, for where no SVG can be shown."""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tzrec_build.files import write_bytes

SCALE = 2.0  # pixels of the PNG per pixel of the layout, so that text stays sharp on dense screens
MOST_PIXELS = 24_000  # of one side: above it viewers, and matplotlib at 65,536, give up
DPI = 72.0  # one point is one pixel of the layout


def draw(geometry: Mapping[str, Any], suffix: str) -> bytes:
    """Draw a laid-out graph.

    Args:
        geometry: what `tzrec_build.graph.picture.geometry` gives, parsed.
        suffix: ``.png`` or ``.pdf``.
    Returns:
        The bytes of the picture; equal for equal geometry.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    width, height = geometry["width"], geometry["height"]
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.axis("off")
    _draw_bands(axes, geometry)
    _draw_edges(axes, geometry)
    _draw_boxes(axes, geometry)
    _draw_legend(axes, geometry)
    scale = min(SCALE, MOST_PIXELS / max(width, height))
    stream = io.BytesIO()
    nothing = {"Software": None} if suffix == ".png" else {"CreationDate": None, "Producer": None, "Creator": None}
    figure.savefig(stream, format=suffix[1:], dpi=DPI * scale, metadata=nothing)
    return stream.getvalue()


def _rectangle(box: Mapping[str, float], radius: float, **style: Any) -> Any:
    from matplotlib.patches import FancyBboxPatch

    shape = f"round,pad=0,rounding_size={radius}"
    return FancyBboxPatch((box["x"], box["y"]), box["width"], box["height"], boxstyle=shape, **style)


def _draw_bands(axes: Any, geometry: Mapping[str, Any]) -> None:
    colours, size = geometry["colours"], geometry["font_px"]
    for title, box in geometry["bands"]:
        axes.add_patch(_rectangle(box, 8, facecolor=colours["band"], edgecolor="none", zorder=0))
        axes.text(
            box["x"] + 12, box["y"] + 17, _plain(title), size=size, weight="bold", color=colours["band_ink"], zorder=4
        )


def _draw_edges(axes: Any, geometry: Mapping[str, Any]) -> None:
    from matplotlib.collections import PathCollection, PolyCollection
    from matplotlib.path import Path as Curve

    codes = {"M": [Curve.MOVETO], "L": [Curve.LINETO], "C": [Curve.CURVE4] * 3}
    curves, tips = [], []
    for line in geometry["lines"]:
        points = [point for _, values in line["steps"] for point in zip(values[::2], values[1::2], strict=True)]
        curves.append(Curve(points, [code for letter, _ in line["steps"] for code in codes[letter]]))
        if line["arrow"]:
            x, y = points[-1]
            tips.append([(x, y), (x - 7, y - 3.5), (x - 7, y + 3.5)])
    colour = geometry["colours"]["edge"]
    axes.add_collection(PathCollection(curves, facecolor="none", edgecolor=colour, linewidth=1.2, zorder=1))
    axes.add_collection(PolyCollection(tips, facecolor=colour, edgecolor="none", zorder=2))


def _draw_boxes(axes: Any, geometry: Mapping[str, Any]) -> None:
    mark = geometry["mark"]
    for name, node in geometry["nodes"].items():
        box, look = geometry["boxes"][name], geometry["looks"][node["state"]]
        _draw_state(axes, box, look, (box["x"] + 8, box["y"] + (box["height"] - mark["size"]) / 2), mark["size"])
        x = box["x"] + (mark["width"] + 6 if look["mark"] else 10)
        y = box["y"] + box["height"] / 2 + 4
        axes.text(x, y, _plain(node["label"]), size=geometry["font_px"], color=look["ink"], zorder=4)


def _draw_legend(axes: Any, geometry: Mapping[str, Any]) -> None:
    size, y = geometry["mark"]["size"], geometry["legend_y"]
    for x, state in geometry["legend"]:
        look = geometry["looks"][state]
        _draw_state(axes, {"x": x, "y": y, "width": size + 8, "height": size + 6}, look, (x + 4, y + 3), size)
        axes.text(x + size + 14, y + 12, look["meaning"], size=geometry["font_px"], color="#1d2433", zorder=4)


def _draw_state(
    axes: Any, box: Mapping[str, float], look: Mapping[str, Any], corner: tuple[float, float], size: float
) -> None:
    style = (0, (4, 2.4)) if look["dashed"] else "solid"
    axes.add_patch(
        _rectangle(box, 5, facecolor=look["fill"], edgecolor=look["border"], linewidth=1.3, linestyle=style, zorder=3)
    )
    colour = look["ink"] if look["ink"] == "#ffffff" else look["border"]
    for points in look["mark"]:
        xs = [corner[0] + x * size / 10 for x, _ in points]
        ys = [corner[1] + y * size / 10 for _, y in points]
        axes.plot(xs, ys, color=colour, linewidth=1.7, zorder=4)


def _plain(text: str) -> str:
    """A text that matplotlib does not take for a formula."""
    return text.replace("$", r"\$")


def main(argv: Sequence[str] | None = None) -> int:
    """Read the geometry, write the picture."""
    parser = argparse.ArgumentParser(prog="graph_picture", description=__doc__)
    parser.add_argument("--geometry", required=True, type=Path, help="JSON of a laid-out graph")
    parser.add_argument("--output", required=True, type=Path, help="picture to write: .png or .pdf")
    arguments = parser.parse_args(argv)
    geometry = json.loads(arguments.geometry.read_text(encoding="utf-8"))
    write_bytes(arguments.output, draw(geometry, arguments.output.suffix))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
