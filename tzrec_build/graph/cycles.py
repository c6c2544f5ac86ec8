"""Cycles of tasks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence


def find_cycle(edges: Mapping[str, Sequence[str]]) -> list[tuple[str, str]]:
    """Find one cycle, as its edges in order, or nothing. Without recursion: chains of daily instances are thousands of tasks long.

    Args:
        edges: task -> the tasks that it needs; one that is no key needs nothing.

    >>> find_cycle({"a": ["b", "c"], "b": [], "c": ["d"], "d": ["c"]})
    [('c', 'd'), ('d', 'c')]
    >>> find_cycle({"a": ["b"], "b": []})
    []
    """
    done: set[str] = set()
    for start in edges:
        if start in done:
            continue
        path, on_path = [start], {start}
        stack: list[Iterator[str]] = [iter(edges[start])]
        while stack:
            needed = next(stack[-1], None)
            if needed is None:
                stack.pop()
                done.add(path[-1])
                on_path.discard(path.pop())
            elif needed in on_path:
                loop = path[path.index(needed) :]
                return list(zip(loop, [*loop[1:], needed], strict=True))
            elif needed not in done:
                path.append(needed)
                on_path.add(needed)
                stack.append(iter(edges.get(needed, ())))
    return []
