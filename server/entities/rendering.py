"""The JSON of a function's output row: ``compat`` (with timestamps below the top) and plain (rest-api.md §8.2–8.3)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from server.entities.rows import Embedding, Leaf
from server.errors import MldbError
from server.values.atoms import atom_to_json, timestamp_text
from server.values.numbers import numbers_to_json
from server.values.paths import Path, element_key


class Node(dict[str, "Node | Leaf"]):
    """A row value as a tree: members are rows again or leaves."""


def tree(row: Iterable[tuple[Path, Leaf | None]]) -> Node | Leaf:
    """Nest leaves by their paths; of several values in one place the last stays. A leaf of the empty path is bare.

    None instead of a leaf is a row.
    """
    root = Node()
    for path, leaf in row:
        if not path and leaf is not None:
            return leaf
        node = root
        for element in path[:-1]:
            below = node.get(element)
            if not isinstance(below, Node):
                below = node[element] = Node()
            node = below
        if not isinstance(node.get(path[-1]), Node):
            node[path[-1]] = Node() if leaf is None else leaf
    return root


# ── compat ───────────────────────────────────────────────────────────────────────────────────────────────────


def compat(row: Iterable[tuple[Path, Leaf | None]], keep: Sequence[str]) -> dict[str, Any]:
    """The default answer: ``{"output": {name: value}}``; of ``keep`` only, where that names any."""
    root = tree(row)
    if not isinstance(root, Node):
        raise MldbError("Expected row expression", code=500)
    names = sorted(keep) if keep else sorted(root)
    return {"output": {name: _without_time(root[name]) if name in root else None for name in names}}


def _without_time(value: Node | Leaf) -> Any:
    if isinstance(value, Node):
        return [
            [_element_json(name), [_without_time(value[name]), timestamp_text(_time_of(value[name]))]]
            for name in _in_order(value)
        ]
    content = value[0]
    if isinstance(content, Embedding):
        return {"shape": list(content.shape), "type": content.element, "val": _nested(content)}
    return atom_to_json(content)


def _time_of(value: Node | Leaf) -> float:
    """The latest timestamp within a value; "not a date" counts least."""
    if not isinstance(value, Node):
        return value[1]
    times = [time for time in map(_time_of, value.values()) if not math.isnan(time)]
    return max(times, default=math.nan)


def _element_json(element: str) -> int | str:
    """A lone path element: a number when it is a canonical non-negative integer."""
    canonical = element.isascii() and element.isdigit() and (element == "0" or element[0] != "0")
    return int(element) if canonical and len(element) < 20 else element


def _in_order(node: Node) -> list[str]:
    return sorted(node, key=element_key)


# ── plain ────────────────────────────────────────────────────────────────────────────────────────────────────


def plain_json(row: Iterable[tuple[Path, Leaf | None]], keep: Sequence[str] = ()) -> Any:
    """The plain JSON of a value: rows as objects, or as arrays when their names are 0, 1, 2, …"""
    root = tree(row)
    if keep and isinstance(root, Node):
        return {name: _plain(root[name]) if name in root else None for name in sorted(keep)}
    return _plain(root)


def _plain(value: Node | Leaf) -> Any:
    if isinstance(value, Node):
        names = _in_order(value)
        if names and names == [str(index) for index in range(len(names))]:
            return [_plain(value[name]) for name in names]
        return {name: _plain(value[name]) for name in names}
    content = value[0]
    return _nested(content) if isinstance(content, Embedding) else atom_to_json(content)


def _nested(embedding: Embedding) -> Any:
    """An embedding's elements as lists nested by dimension."""
    if embedding.element in ("FLOAT32", "FLOAT64"):
        level = numbers_to_json(list(embedding.values))
    else:
        level = [atom_to_json(value) for value in embedding.values]
    for size in reversed(embedding.shape[1:]):
        level = [level[at : at + size] for at in range(0, len(level), size)] if size else []
    return level
