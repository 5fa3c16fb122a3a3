"""``parse_json`` and ``print_json`` (sql-dialect.md §8.4)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, Literal

import orjson

from server.errors import MldbError
from server.values.atoms import Atom, atom_to_json, collapse, number_text
from server.values.batches import Cell
from server.values.paths import Path, natural_key

Arrays = Literal["parse", "encode"]
_DEEPEST = 200  # the JSON writer's own limit is 254
ERROR_COLUMN = "__parse_json_error__"


def arrays_option(value: Atom) -> Arrays:
    """The option ``arrays`` of ``parse_json``; ``MldbError`` for anything but its two values."""
    if value is None:
        raise MldbError("NULL value found parsing enumeration ParseJsonArrays")
    if value == "parse":
        return "parse"
    if value == "encode":
        return "encode"
    raise MldbError(f"unknown value for ParseJsonArrays: {value!r}")


def parse_json(text: str, *, arrays: Arrays = "parse", ignore_errors: bool = False) -> dict[Path, Atom]:
    """The atoms of a JSON object or array by path.

    Keys are single path elements. Empty objects and arrays give no atom. ``MldbError`` if the text is not an object
    or array; with ``ignore_errors`` the row ``{__parse_json_error__: 1}`` instead.
    """
    try:
        value = orjson.loads(text)
        if not isinstance(value, dict | list):
            raise MldbError(f"JSON passed to parse_json must be an object or an array; got '{text}'")
    except (MldbError, orjson.JSONDecodeError) as error:
        if ignore_errors:
            return {(ERROR_COLUMN,): 1}
        if isinstance(error, MldbError):
            raise
        if text.lstrip()[:1] not in ("{", "["):
            raise MldbError(f"JSON passed to parse_json must be an object or an array; got '{text}'") from None
        raise MldbError(f"JSON passed to parse_json is not valid: {error}; it must be an object or an array") from None
    return _atoms(value, arrays)


def _atoms(root: Any, arrays: Arrays) -> dict[Path, Atom]:
    """Depth first, without recursion: the text decides how deep it nests."""
    atoms: dict[Path, Atom] = {}
    stack: list[tuple[Path, Iterator[tuple[str, Any]]]] = [((), _members(root, arrays))]
    while stack:
        path, members = stack[-1]
        for key, value in members:
            if isinstance(value, dict | list):
                stack.append(((*path, key), _members(value, arrays)))
                break
            atoms[(*path, key)] = _atom(value)
        else:
            stack.pop()
    return atoms


def _members(value: Any, arrays: Arrays) -> Iterator[tuple[str, Any]]:
    if isinstance(value, list) and arrays == "encode":
        value = _encoded(value)
    return iter(value.items()) if isinstance(value, dict) else ((str(at), item) for at, item in enumerate(value))


def _atom(value: Any) -> Atom:
    if isinstance(value, bool):
        return int(value)
    return collapse(value) if isinstance(value, float) else value


def _encoded(values: list[Any]) -> list[Any] | dict[str, Any]:
    """Atoms become ``{text: 1}``, objects their JSON text by index; a mixture stays an array."""
    if not any(isinstance(value, dict | list) for value in values):
        return {_text(_atom(value)): 1 for value in values}
    if all(isinstance(value, dict) for value in values):
        return [_dumps(value, orjson.OPT_SORT_KEYS) for value in values]
    return values


def _text(atom: Atom) -> str:
    if atom is None:
        return ""
    return number_text(atom) if isinstance(atom, int | float) else str(atom)


def print_json(value: Atom | Sequence[Any]) -> str:
    """The JSON text of an atom, or of an embedding: nested lists of atoms."""
    return _dumps(_plain(value))


def print_json_row(cells: Iterable[Cell]) -> str:
    """The JSON text of a row: an object in natural order of names, an array if the names are exactly 0 to n-1."""
    return _dumps(_row(cells))


def _dumps(value: Any, option: int = 0) -> str:
    try:
        return orjson.dumps(value, option=option).decode()
    except orjson.JSONEncodeError as error:
        raise MldbError(f"value cannot be written as JSON: {error}") from None


def _plain(value: Any) -> Any:
    return list(map(_plain, value)) if isinstance(value, list | tuple) else atom_to_json(value)


def _row(cells: Iterable[Cell]) -> Any:
    root: dict[str, Any] = {}
    ordered = sorted(cells, key=lambda cell: _natural_key(cell.path))
    if any(len(cell.path) > _DEEPEST for cell in ordered):
        raise MldbError(f"value cannot be written as JSON: it nests more than {_DEEPEST} levels")
    for cell in ordered:
        inner = root
        for element in cell.path[:-1]:
            below = inner.get(element)
            if not isinstance(below, _Object):
                # An atom and a row under one name: a JSON object can hold one of them, and the row says more.
                below = inner[element] = _Object()
            inner = below
        inner.setdefault(cell.path[-1], atom_to_json(cell.value))
    return _arrays_in(root)


_natural_key = lru_cache(maxsize=4096)(natural_key)  # the names of one row mostly are those of the next


class _Object(dict[str, Any]):
    """A nested row, told apart from the objects that stand for atoms (``{"ts": …}``)."""


def _arrays_in(row: dict[str, Any]) -> Any:
    values = {name: _arrays_in(value) if isinstance(value, _Object) else value for name, value in row.items()}
    if "0" in values and list(values) == [str(index) for index in range(len(values))]:
        return list(values.values())
    return values
