"""Layers, edges and writers of the graph picture."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from tzrec_build.graph.picture import Node, dot, layers, mermaid, place, reduced, svg

DIAMOND = [
    Node("config:p", "config", "p", "fresh", ()),
    Node("train:p", "train", "p", "stale", ("config:p",)),
    Node("fg:p", "fg <&>", "p", "fresh", ("config:p",)),
    Node("page:p", "page", "p", "stale", ("train:p", "fg:p", "config:p")),
    Node("step:q:a", "a", "q", "fresh", ()),
]


def test_a_layer_is_the_longest_path_to_a_node():
    assert layers(DIAMOND) == {"config:p": 0, "train:p": 1, "fg:p": 1, "page:p": 2, "step:q:a": 0}


def test_edges_that_a_longer_path_implies_are_left_out():
    assert reduced(DIAMOND)[3].needs == ("train:p", "fg:p")


def test_boxes_do_not_overlap_and_bands_follow_each_other():
    boxes = place(DIAMOND)
    spots = [(box.x, box.y) for box in boxes.values()]
    assert len(set(spots)) == len(spots)
    assert boxes["train:p"].x == boxes["fg:p"].x > boxes["config:p"].x + boxes["config:p"].width
    assert boxes["step:q:a"].y > max(boxes[name].y for name in boxes if name.endswith(":p"))


def test_a_chain_of_three_hundred_is_drawn():
    chain = [Node(str(i), str(i), "p", "plain", (str(i - 1),) if i else ()) for i in range(300)]
    assert len(place(chain)) == 300


def test_svg_is_well_formed_and_names_every_task():
    root = ET.fromstring(svg(DIAMOND))
    titles = [title.text for title in root.iter("{http://www.w3.org/2000/svg}title")]
    assert titles == ["task graph", *[node.name for node in DIAMOND]]
    assert len(list(root.iter("{http://www.w3.org/2000/svg}path"))) == 4


@pytest.mark.parametrize(("write", "edge"), [(dot, '"config:p" -> "train:p"'), (mermaid, "t0 --> t1")])
def test_other_writers_have_every_edge(write, edge):
    text = write(DIAMOND)
    assert edge in text
    assert text.count("->" if write is dot else "-->") == 5
