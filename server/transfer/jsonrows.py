"""JSON values as the cells of a row (entity-types.md §3.3)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import orjson

from server.values.atoms import Atom, collapse
from server.values.paths import Path

Arrays = Literal["parse", "encode"]
_ATOMS = (str, int, float, bool, type(None))


def cells_of_object(value: dict[str, Any], arrays: Arrays) -> Iterator[tuple[Path, Atom]]:
    """Column path and atom of each leaf. ``encode``: an array of atoms becomes a column with 1 for each element."""
    return _object_cells((), value, arrays)


def _object_cells(path: Path, value: dict[str, Any], arrays: Arrays) -> Iterator[tuple[Path, Atom]]:
    for name, member in value.items():
        yield from _cells((*path, name), member, arrays)


def _cells(path: Path, value: Any, arrays: Arrays) -> Iterator[tuple[Path, Atom]]:
    if isinstance(value, dict):
        yield from _object_cells(path, value, arrays)
    elif isinstance(value, list):
        yield from _encoded(path, value) if arrays == "encode" else _indexed(path, value, arrays)
    else:
        yield path, atom_of(value)


def _indexed(path: Path, items: list[Any], arrays: Arrays) -> Iterator[tuple[Path, Atom]]:
    for index, item in enumerate(items):
        yield from _cells((*path, str(index)), item, arrays)


def _encoded(path: Path, items: list[Any]) -> Iterator[tuple[Path, Atom]]:
    if all(isinstance(item, _ATOMS) for item in items):
        for name in dict.fromkeys(map(_element_name, items)):
            yield (*path, name), 1
        return
    for index, item in enumerate(items):
        yield (*path, str(index)), atom_of(item) if isinstance(item, _ATOMS) else json_text(item)


def _element_name(item: Any) -> str:
    return item if isinstance(item, str) else json_text(item)


def json_text(value: Any) -> str:
    """Compact JSON, members sorted by name."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def atom_of(value: Any) -> Atom:
    """A JSON atom: booleans are numbers, a number that is an integer is one."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, float):
        return collapse(value)
    atom: Atom = value
    return atom
