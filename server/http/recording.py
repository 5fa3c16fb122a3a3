"""Rows and columns as recording routes take them (rest-api.md §5)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from server.declarations import Recorded
from server.entities import jsontext
from server.errors import MldbError
from server.values.atoms import atom_from_json, timestamp_from_json
from server.values.paths import Path, parse_path

_PIECE = 1 << 20  # bytes of JSON that are read at once: nothing else runs meanwhile
_BETWEEN = re.compile(rb"\]\s*\]\s*\](\s*,)")  # after the last cell of a row
_COLUMNS_KEPT = 4096  # names of cells whose paths are remembered,
_LONGEST_KEPT = 128  # if they have no more characters than these


def one(body: bytes, name: str, cells: str) -> list[Recorded]:
    """``{name: …, cells: [[name, value, timestamp], …]}``: one row or column."""
    value = _parsed(body)
    given = value if isinstance(value, dict) else {}
    return [(_path(given.get(name)), _cells(given.get(cells)))]


def several(body: bytes) -> list[Recorded]:
    """``[[name, [[name, value, timestamp], …]], …]``: rows or columns. ``MldbError`` for anything else."""
    if len(body) > _PIECE:
        try:
            return [each for piece in _pieces(body.strip()) for each in _several(piece)]
        except MldbError:
            pass  # it is told better of the whole; or what looked like the end of a row was part of a text
    return list(_several(_parsed(body)))


def _parsed(body: bytes) -> Any:
    """The body as JSON; no body reads as null."""
    return jsontext.parse(body) if body.strip() else None


def _pieces(array: bytes) -> Iterator[Any]:
    """The elements of an array, some at a time. ``MldbError`` when it is none, or was not cut between elements.

    An array that consists of elements and commas is what its parts are, wherever it was cut.
    """
    if not array.startswith(b"["):
        raise MldbError("no array")
    begin = 1
    while found := _BETWEEN.search(array, begin + _PIECE):
        yield _elements(b"[" + array[begin : found.start(1)] + b"]")
        begin = found.end(1)
    yield _elements(b"[" + array[begin:])


def _elements(piece: bytes) -> list[Any]:
    found: list[Any] = jsontext.parse(piece)
    if not found:
        raise MldbError("a comma without an element")
    return found


def _several(value: Any) -> Iterator[Recorded]:
    if not isinstance(value, list):
        raise MldbError("expected an array of [name, [[name, value, timestamp], …]]")
    for item in value:
        if not isinstance(item, list) or len(item) != 2:
            raise MldbError("expected an array of [name, [[name, value, timestamp], …]]")
        yield _path(item[0]), _cells(item[1])


def _path(value: Any) -> Path:
    """A name: text is parsed, an array holds the elements."""
    if isinstance(value, str):
        return parse_path(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return (str(value),)
    if isinstance(value, list) and all(isinstance(part, str | int) and not isinstance(part, bool) for part in value):
        return tuple(map(str, value))
    raise MldbError("Unparseable JSON Path value")


def _cells(value: Any) -> list[tuple[Path, Any, float]]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise MldbError("expected an array of [name, value, timestamp]")
    return [_cell(cell) for cell in value]


def _cell(cell: Any) -> tuple[Path, Any, float]:
    if not isinstance(cell, list) or len(cell) != 3:
        raise MldbError("expected a cell [name, value, timestamp]")
    name, value, time = cell
    path = _remembered(name) if type(name) is str and len(name) <= _LONGEST_KEPT else _path(name)
    return path, atom_from_json(value), timestamp_from_json(time)


_remembered = lru_cache(_COLUMNS_KEPT)(parse_path)
