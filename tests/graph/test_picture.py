"""Columns, edges, collapsing and writers of the graph picture."""

from __future__ import annotations

import itertools
import json
import random
import xml.etree.ElementTree as ET

import pytest

from tzrec_build.graph.collapse import collapsed
from tzrec_build.graph.layout import MAX_WIDTH, Drawing, Node, columns, lay_out, reduced, text_width
from tzrec_build.graph.picture import dot, geometry, mermaid, svg
from tzrec_build.graph.picture_states import LOOKS

SVG = "{http://www.w3.org/2000/svg}"
DIAMOND = [
    Node("config:p", "config", "p", "fresh", ()),
    Node("train:p", "train", "p", "stale", ("config:p",), "parameter lr: 0.1 → 0.2"),
    Node("fg:p", "fg <&>", "p", "fresh", ("config:p",)),
    Node("page:p", "page", "p", "failed", ("train:p", "fg:p", "config:p")),
    Node("step:q:a", "a", "q", "restorable", ()),
]


def chain(count: int, band: str = "p") -> list[Node]:
    return [Node(f"{band}{i}", f"step_{i}", band, "plain", (f"{band}{i - 1}",) if i else ()) for i in range(count)]


def tangle(seed: int, count: int = 120) -> list[Node]:
    draw = random.Random(seed)
    nodes = []
    for i in range(count):
        needs = {str(draw.randrange(max(0, i - 30), i)) for _ in range(draw.randrange(3)) if i}
        nodes.append(Node(str(i), f"task_{i}", f"band {i * 3 // count}", "stale", tuple(sorted(needs))))
    return nodes


GRAPHS = {
    "diamond": DIAMOND,
    "chain of 100": chain(100),
    "300 alone": [Node(str(i), str(i), "p", "plain", ()) for i in range(300)],
    "one for all": [Node("0", "0", "a", "plain", ()), *(Node(str(i), "x", f"b{i % 9}", "plain", ("0",)) for i in range(1, 200))],
    **{f"tangle {seed}": tangle(seed) for seed in range(4)},
}  # fmt: skip


def points(drawing: Drawing):
    """Points along each line, curves included, a few per step."""
    for line in drawing.lines:
        x, y = line.steps[0][1]
        for letter, values in line.steps[1:]:
            ends = values[-2:]
            for t in (0.1, 0.25, 0.5, 0.75, 0.9):
                if letter == "L":
                    yield line, x + t * (ends[0] - x), y + t * (ends[1] - y)
                else:
                    (x1, y1, x2, y2), s = values[:4], 1 - t
                    yield (
                        line,
                        s**3 * x + 3 * s * s * t * x1 + 3 * s * t * t * x2 + t**3 * ends[0],
                        s**3 * y + 3 * s * s * t * y1 + 3 * s * t * t * y2 + t**3 * ends[1],
                    )
            x, y = ends


def test_a_column_is_the_longest_path_to_a_task():
    found = columns(DIAMOND)
    assert {name: found[name] for name in ("config:p", "train:p", "fg:p", "page:p")} == {
        "config:p": 0, "train:p": 1, "fg:p": 1, "page:p": 2,
    }  # fmt: skip


def test_edges_that_a_longer_path_implies_are_left_out():
    assert reduced(DIAMOND)[3].needs == ("train:p", "fg:p")


@pytest.mark.parametrize("name", GRAPHS)
def test_every_task_lies_right_of_what_it_needs_or_in_a_later_strip(name):
    nodes = GRAPHS[name]
    boxes = lay_out(reduced(nodes)).boxes
    for node in nodes:
        for need in node.needs:
            one, other = boxes[need], boxes[node.name]
            assert one.x + one.width < other.x or one.y + one.height < other.y


@pytest.mark.parametrize("name", GRAPHS)
def test_boxes_have_room_and_lie_in_the_picture(name):
    drawing = lay_out(reduced(GRAPHS[name]))
    boxes = sorted(drawing.boxes.values(), key=lambda box: (box.x, box.y))
    for one, other in itertools.combinations(boxes, 2):
        apart = one.x + one.width < other.x or other.x + other.width < one.x
        assert apart or one.y + one.height + 4 < other.y or other.y + other.height + 4 < one.y
    for box in boxes:
        assert box.x > 0
        assert box.y > 0
        assert box.x + box.width < drawing.width
        assert box.y + box.height < drawing.legend_y < drawing.height


@pytest.mark.parametrize("name", GRAPHS)
def test_no_edge_passes_a_box(name):
    drawing = lay_out(reduced(GRAPHS[name]))
    for _, x, y in points(drawing):
        for box in drawing.boxes.values():
            assert not (box.x + 1 < x < box.x + box.width - 1 and box.y + 1 < y < box.y + box.height - 1)


@pytest.mark.parametrize("name", GRAPHS)
def test_labels_fit_into_their_boxes(name):
    nodes = GRAPHS[name]
    boxes = lay_out(reduced(nodes)).boxes
    assert all(text_width(node.label) + 26 < boxes[node.name].width for node in nodes)


def test_bands_of_pipelines_do_not_overlap():
    bands = [box for _, box in lay_out(tangle(1)).bands]
    assert all(one.y + one.height < other.y for one, other in itertools.pairwise(bands))


def test_a_long_chain_goes_on_below():
    drawing = lay_out(chain(100))
    assert drawing.width < MAX_WIDTH * 1.2
    titles = [title for title, _ in drawing.bands]
    assert titles[0] == "p"
    assert len(titles) > 3
    assert set(titles[1:]) == {"p (goes on)"}


def test_a_chain_longer_than_pythons_stack_is_drawn():
    assert len(lay_out(chain(1500)).boxes) == 1500


def test_the_same_graph_gives_the_same_picture():
    assert svg(tangle(3)) == svg(tangle(3))


def test_svg_names_every_task_with_state_and_reason_and_has_a_legend():
    root = ET.fromstring(svg(DIAMOND))
    titles = [title.text for title in root.iter(f"{SVG}title")]
    assert titles == [
        "task graph",
        "config:p: up to date",
        "train:p: to be built; parameter lr: 0.1 → 0.2",
        "fg:p: up to date",
        "page:p: failed",
        "step:q:a: to be restored from the cache",
    ]
    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert {"config", "fg <&>", "p", "q"} <= set(texts)
    assert texts[-4:] == ["failed", "to be built", "to be restored from the cache", "up to date"]


def test_states_differ_in_grey_and_by_their_mark():
    looks = [look for state, look in LOOKS.items() if state != "plain"]
    grey = [sum(w * int(look.fill[i : i + 2], 16) for w, i in ((0.299, 1), (0.587, 3), (0.114, 5))) for look in looks]
    assert all(one + 12 < other for one, other in itertools.pairwise(grey))  # more urgent, darker
    assert len({look.mark for look in looks}) == len(looks) == 5


@pytest.mark.parametrize(("write", "edge"), [(dot, '"config:p" -> "train:p"'), (mermaid, "t0 --> t1")])
def test_other_writers_have_every_edge(write, edge):
    text = write(DIAMOND)
    assert edge in text
    assert text.count("->" if write is dot else "-->") == 5


def test_quotes_in_names_stay_text():
    nodes = [Node('a"b', 'x"y\\', 'p"q', "fresh", (), 'says "no"')]
    assert r'label="x\"y\\", tooltip="a\"b: up to date; says \"no\""' in dot(nodes)
    assert '"x#quot;y\\"' in mermaid(nodes)


def daily(days: int, state: str = "fresh", *, chained: bool = False) -> list[Node]:
    nodes = []
    for day in range(days):
        before = (f"pick:d:ds@{day - 1}",) if chained and day else ()
        nodes += [
            Node(f"train:d:ds@{day}", "train", "d", state if day == 2 else "fresh", ("step:data:t", *before), "why"),
            Node(f"pick:d:ds@{day}", "pick", "d", "fresh", (f"train:d:ds@{day}",)),
        ]
    return [Node("step:data:t", "t", "data", "fresh", ()), *nodes]


def test_instances_that_look_alike_are_one_row_with_a_count():
    found = collapsed(daily(7, "stale"))
    assert [(node.label, node.state) for node in found] == [
        ("t", "fresh"),
        ("train \u00d77 (1)", "stale"),
        ("pick \u00d77", "fresh"),
    ]
    assert found[1].needs == ("step:data:t",)
    assert found[2].needs == (found[1].name,)
    assert found[1].reason == "1 to be built, 6 up to date; train:d:ds@2: why"
    assert found[1].band == "d · 7 instances"


def test_a_chain_of_instances_is_told_in_the_title():
    found = collapsed(daily(3, chained=True))
    assert [node.band for node in found] == ["data", *["d · 3 instances, some after others"] * 2]
    assert len(lay_out(reduced(found)).boxes) == 3


def test_an_instance_of_another_shape_and_a_single_one_stay_alone():
    other = [
        Node("train:d:ds@9", "train", "d", "fresh", ("convert:d:ds@9",)),
        Node("convert:d:ds@9", "convert", "d", "fresh", ()),
    ]
    found = collapsed([*daily(2), *other])
    assert [node.label for node in found] == ["t", "train \u00d72", "pick \u00d72", "train", "convert"]
    assert [node.label for node in collapsed(daily(1))] == ["t", "train", "pick"]


def test_the_geometry_has_all_that_a_drawing_tool_needs():
    body = json.loads(geometry(DIAMOND))
    assert set(body["boxes"]) == set(body["nodes"]) == {node.name for node in DIAMOND}
    assert {node["state"] for node in body["nodes"].values()} <= set(body["looks"])
    assert [state for _, state in body["legend"]] == ["failed", "stale", "restorable", "fresh"]
