"""Instances of one pipeline ([each]) that look alike, drawn as one row with a count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from tzrec_build.graph.layout import Node
from tzrec_build.graph.picture_states import LOOKS, most_urgent


def split_name(task: str) -> tuple[str, str, str]:
    """Pipeline, instance ("" for none) and what a task is called inside of it.

    >>> split_name("train:p:ds@1,x@a"), split_name("step:p:ds@1:clean"), split_name("protos")
    (('p', 'ds@1,x@a', 'train'), ('p', 'ds@1', 'clean'), ('', '', 'protos'))
    """
    verb, *rest = task.split(":")
    if not rest:
        return "", "", task
    pipeline, *more = rest
    instance = ":".join(part for part in more if "@" in part)  # doit takes "=" in a name for a variable
    names = [part for part in more if "@" not in part]
    return pipeline, instance, " ".join(names if verb == "step" and names else [verb, *names])


def collapsed(nodes: Sequence[Node]) -> list[Node]:
    """The same graph with one row for all instances of a pipeline whose tasks hang together in the same way.

    An edge from one instance to another of the same row cannot be drawn in one row: the band's title tells it.
    """
    row_of = _rows(nodes)
    members: dict[str, list[Node]] = {}
    for node in nodes:
        members.setdefault(row_of.get(node.name, node.name), []).append(node)
    chained = {
        node.band
        for node in nodes
        for need in node.needs
        if row_of.get(need, "") and _row_key(row_of[need]) == _row_key(row_of.get(node.name, ""))
        and split_name(need)[1] != split_name(node.name)[1]
    }  # fmt: skip
    return [_merged(name, several, row_of, chained) for name, several in members.items()]


def _row_key(name: str) -> str:
    return name.rpartition(" > ")[0]


def _rows(nodes: Sequence[Node]) -> dict[str, str]:
    """Task -> name of the box that stands for it and its likes; tasks that stay alone are left out."""
    shapes: dict[tuple[str, str], list[tuple[str, tuple[str, ...]]]] = {}
    for node in nodes:
        pipeline, instance, what = split_name(node.name)
        if instance:
            inside = sorted(split_name(need)[2] for need in node.needs if split_name(need)[:2] == (pipeline, instance))
            shapes.setdefault((pipeline, instance), []).append((what, tuple(inside)))
    alike = Counter((pipeline, tuple(sorted(shape))) for (pipeline, _), shape in shapes.items())
    number = {key: i for i, key in enumerate(alike)}
    rows = {}
    for node in nodes:
        pipeline, instance, what = split_name(node.name)
        key = (pipeline, tuple(sorted(shapes.get((pipeline, instance), ()))))
        if instance and alike[key] > 1:
            rows[node.name] = f"{pipeline} {number[key]} > {what}"
    return rows


def _merged(name: str, several: Sequence[Node], row_of: Mapping[str, str], chained: set[str]) -> Node:
    first = several[0]
    own = _row_key(name)
    needs = dict.fromkeys(
        row_of.get(need, need)
        for node in several
        for need in node.needs
        if not (own and _row_key(row_of.get(need, "")) == own and split_name(need)[1] != split_name(node.name)[1])
    )
    if name == first.name:
        return Node(name, first.label, first.band, first.state, tuple(needs), first.reason)
    state = most_urgent([node.state for node in several])
    count = Counter(node.state for node in several)
    parts = [f"{count[key]} {LOOKS[key].meaning}" for key in LOOKS if count[key]]
    what = split_name(first.name)[2]
    label = f"{what} \u00d7{len(several)}" + (f" ({count[state]})" if len(count) > 1 else "")
    pipeline = split_name(first.name)[0]
    band = f"{pipeline} \u00b7 {len(several)} instances" + (", some after others" if first.band in chained else "")
    example = next(node for node in several if node.state == state)
    why = f"; {example.name}: {example.reason}" if example.reason else ""
    return Node(name, label, band, state, tuple(needs), f"{', '.join(parts)}{why}")
