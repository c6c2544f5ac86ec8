"""The picture of a group's feature importance; imports matplotlib, so tools import it when they run."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tzrec_build.files import write_bytes

WIDTH_IN, ROW_IN, FRAME_IN, DPI = 8.0, 0.28, 1.1, 120
MOST_ROWS = 200  # 57 inches, 6,900 pixels: the CSV has the rest
KEPT, DROPPED, FRAME = "#2b6cb0", "#cbd5e0", "#4a5568"


def write_picture(path: Path, group: str, drop_p: Mapping[str, float]) -> None:
    """Draw one bar per feature, most useful on top: the longer the bar, the less the training would drop the feature.

    Equal values give equal bytes: the picture holds no date and no version.

    Args:
        path: PNG to write.
        group: name of the feature group, for the title.
        drop_p: feature -> dropout probability in [0, 1].
    """
    ranked = sorted(drop_p.items(), key=lambda item: item[1])
    rows = ranked[:MOST_ROWS]
    figure = Figure(figsize=(WIDTH_IN, FRAME_IN + ROW_IN * len(rows)), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    places = range(len(rows))
    axes.barh(places, [1.0] * len(rows), color=DROPPED, height=0.62, alpha=0.35)
    axes.barh(places, [1.0 - value for _, value in rows], color=KEPT, height=0.62)
    axes.set_yticks(places, [name for name, _ in rows], fontsize=9)
    for place, (_, value) in zip(places, rows, strict=True):
        axes.text(1.015, place, f"{1.0 - value:.3f}", va="center", fontsize=8, color=FRAME)
    axes.set_xlim(0.0, 1.0)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.tick_params(length=0, colors=FRAME, labelsize=9)
    axes.spines[:].set_visible(False)
    cut = f", first {MOST_ROWS} of {len(ranked)}" if len(ranked) > len(rows) else ""
    axes.set_title(f"{group}: chance that a feature is kept{cut}", loc="left", fontsize=11)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", metadata={"Software": None})
    write_bytes(path, picture.getvalue())
