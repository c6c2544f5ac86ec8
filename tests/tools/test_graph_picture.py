"""The drawing of a laid-out graph in pixels."""

from __future__ import annotations

import json
import struct

import pytest

from tzrec_build.tools import graph_picture

LOOK = {
    "meaning": "to be built",
    "fill": "#f2bd4b",
    "border": "#8a5a00",
    "ink": "#1d2433",
    "mark": [[[0, 0], [10, 10]]],
    "dashed": True,
}
GEOMETRY = {
    "width": 400.0,
    "height": 120.0,
    "boxes": {"train:p": {"x": 100.0, "y": 40.0, "width": 200.0, "height": 28.0}},
    "bands": [["p with $x$", {"x": 10.0, "y": 10.0, "width": 380.0, "height": 70.0}]],
    "lines": [
        {"steps": [["M", [20, 54]], ["C", [60, 54, 60, 54, 100, 54]]], "arrow": True},
        {"steps": [["M", [300, 54]], ["L", [380, 54]]], "arrow": False},
    ],
    "legend_y": 90.0,
    "nodes": {"train:p": {"label": "train $a_b$", "state": "stale"}},
    "legend": [[20.0, "stale"]],
    "looks": {"stale": LOOK},
    "colours": {"edge": "#7d889c", "band": "#f6f7fa", "band_ink": "#44516a"},
    "mark": {"width": 20.0, "size": 10.0},
    "font_px": 12,
}


def pixels(data: bytes):
    import io

    from matplotlib.image import imread

    return imread(io.BytesIO(data))


def test_two_pixels_to_each_of_the_layout_and_boxes_in_their_colour():
    image = pixels(graph_picture.draw(GEOMETRY, ".png"))
    assert image.shape[:2] == (240, 800)
    fill = [round(value * 255) for value in image[54 * 2 + 15, 280 * 2][:3]]
    assert fill == [0xF2, 0xBD, 0x4B]
    assert [round(value * 255) for value in image[20, 4][:3]] == [255, 255, 255]


def test_text_is_there_and_dollars_are_no_formula():
    image = pixels(graph_picture.draw(GEOMETRY, ".png"))
    label = image[43 * 2 : 65 * 2, 126 * 2 : 200 * 2, :3].mean(axis=2)
    assert (label < 0.3).sum() > 200


def test_equal_geometry_gives_equal_bytes():
    for suffix in (".png", ".pdf"):
        assert graph_picture.draw(GEOMETRY, suffix) == graph_picture.draw(GEOMETRY, suffix)


def test_a_huge_graph_is_drawn_smaller_not_refused(monkeypatch):
    monkeypatch.setattr(graph_picture, "MOST_PIXELS", 200)
    data = graph_picture.draw(GEOMETRY, ".png")
    assert struct.unpack(">II", data[16:24]) == (200, 60)


@pytest.mark.parametrize(("suffix", "magic"), [(".png", b"\x89PNG"), (".pdf", b"%PDF")])
def test_main_writes_the_picture(tmp_path, suffix, magic):
    (tmp_path / "g.json").write_text(json.dumps(GEOMETRY))
    output = tmp_path / f"g{suffix}"
    assert graph_picture.main(["--geometry", str(tmp_path / "g.json"), "--output", str(output)]) == 0
    assert output.read_bytes().startswith(magic)
