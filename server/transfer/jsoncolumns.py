"""JSON objects as columns: what of each path is in which object (entity-types.md §3.3)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

from server.values.paths import Path

Arrays = Literal["parse", "encode"]


@dataclass(slots=True)
class JsonColumn:
    """The JSON atoms of one path: ``rows`` are the numbers of their objects, ascending, each at most once."""

    path: Path
    rows: list[int] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)


def columns_of(objects: Iterable[Any], arrays: Arrays) -> list[JsonColumn]:
    """The columns of objects, in the order in which they are first met; ``ValueError`` where one is something else.

    ``parse``: an array's elements are members named by their number. ``encode``: an array of atoms becomes a column
    with 1 for each of its values, any other one keeps its elements, arrays and objects as their JSON.
    """
    columns: list[JsonColumn] = []
    root = _Node((), columns)
    add = _Encoding() if arrays == "encode" else _Parsing()
    for row, value in enumerate(objects):
        if type(value) is not dict:
            raise ValueError("a line must be a JSON object")
        add.members(root, row, value.items())
    return columns


class _Node:
    """What has been met below one path: columns that end here by their last element, and further nodes."""

    __slots__ = ("_columns", "_nodes", "_path", "leaves")

    def __init__(self, path: Path, columns: list[JsonColumn]) -> None:
        self._path = path
        self._columns = columns
        self._nodes: dict[str, _Node] = {}
        self.leaves: dict[str, JsonColumn] = {}

    def new_leaf(self, name: str) -> JsonColumn:
        column = self.leaves[name] = JsonColumn((*self._path, name))
        self._columns.append(column)
        return column

    def below(self, name: str) -> _Node:
        node = self._nodes.get(name)
        if node is None:
            node = self._nodes[name] = _Node((*self._path, name), self._columns)
        return node


class _Parsing:
    def members(self, node: _Node, row: int, members: Any) -> None:
        """Add the named members of an object to the columns below its node."""
        leaves = node.leaves
        for name, value in members:
            type_ = type(value)
            if type_ is dict:
                self.members(node.below(name), row, value.items())
            elif type_ is list:
                self.array(node.below(name), row, value)
            else:
                column = leaves.get(name) or node.new_leaf(name)
                column.rows.append(row)
                column.values.append(value)

    def array(self, node: _Node, row: int, items: list[Any]) -> None:
        self.members(node, row, zip(map(str, range(len(items))), items, strict=True))


class _Encoding(_Parsing):
    def array(self, node: _Node, row: int, items: list[Any]) -> None:
        self.members(node, row, _encoded(items))


def _encoded(items: list[Any]) -> Iterator[tuple[str, Any]]:
    if not any(isinstance(item, dict | list) for item in items):
        for name in dict.fromkeys(map(_element_name, items)):
            yield name, 1
        return
    for index, item in enumerate(items):
        yield str(index), json_text(item) if isinstance(item, dict | list) else item


def _element_name(item: Any) -> str:
    return item if isinstance(item, str) else json_text(item)


def json_text(value: Any) -> str:
    """Compact JSON, members sorted by name."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
