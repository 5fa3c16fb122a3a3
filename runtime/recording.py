"""Rows from Python as JSON of the recording routes (plugin-runtime.md §5).

Names become arrays of their elements, as a name given to Python is ONE element and must not be parsed.
Whatever cannot be converted is a ``TypeError``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from runtime.jsontext import blob

_LOWEST: Final = -(2**63)
_HIGHEST: Final = 2**64 - 1


def name(given: Any) -> list[str]:
    """The path elements of a row or column name."""
    if isinstance(given, str):
        return [str(given)]
    if isinstance(given, list | tuple):
        return [_element(element) for element in given]
    return [_element(given)]


def _element(given: Any) -> str:
    if isinstance(given, str):
        return str(given)
    if isinstance(given, int) and not isinstance(given, bool) and given >= 0:
        return str(int(given))
    raise TypeError(f"a path element is a text or an integer that is not negative, not {given!r}")


def value(given: Any) -> Any:
    """The JSON of a cell's value."""
    if given is None or type(given) is str:
        return given
    if isinstance(given, bool):
        return int(given)
    if isinstance(given, int):
        return _integer(given)
    if isinstance(given, float):
        return float(given) if math.isfinite(given) else {"num": _non_finite(given)}
    if isinstance(given, str):
        return str(given)
    if isinstance(given, datetime):
        return {"ts": _moment(given)}
    if isinstance(given, bytes | bytearray):
        return blob(given)
    raise TypeError(f"a value of type {type(given).__name__} cannot be recorded")


def _integer(given: int) -> int:
    if not _LOWEST <= given <= _HIGHEST:
        raise TypeError("an integer of more than 64 bits cannot be recorded")
    return int(given)


def _non_finite(given: float) -> str:
    if math.isnan(given):
        return "NaN"
    return "Inf" if given > 0 else "-Inf"


def _moment(given: datetime) -> str:
    if given.tzinfo is not None:
        given = given.astimezone(UTC).replace(tzinfo=None)
    return given.isoformat() + "Z"


def timestamp(given: Any) -> Any:
    """The JSON of a timestamp: seconds since 1970, or ISO text."""
    if isinstance(given, str):
        return str(given)
    if isinstance(given, datetime):
        return _moment(given)
    if isinstance(given, int | float) and not isinstance(given, bool):
        return given if math.isfinite(given) else _infinite_moment(float(given))
    raise TypeError(f"a timestamp is seconds, a text or a datetime, not {given!r}")


def _infinite_moment(given: float) -> str:
    if math.isnan(given):
        return "NaD"
    return "Inf" if given > 0 else "-Inf"


def cells(given: Any) -> list[list[Any]]:
    """``[[name, value, timestamp], …]``."""
    converted = []
    for cell in _sequence(given):
        if not isinstance(cell, list | tuple) or len(cell) != 3:
            raise TypeError(f"a cell is [name, value, timestamp], not {cell!r}")
        converted.append([name(cell[0]), value(cell[1]), timestamp(cell[2])])
    return converted


def groups(given: Any) -> list[list[Any]]:
    """``[[name, [[name, value, timestamp], …]], …]``."""
    converted = []
    for group in _sequence(given):
        if not isinstance(group, list | tuple) or len(group) != 2:
            raise TypeError(f"a row or column is [name, cells], not {group!r}")
        converted.append([name(group[0]), cells(group[1])])
    return converted


def is_beyond_doubt(row: list[str], converted: list[list[Any]]) -> bool:
    """Whether a dataset that takes any row takes this one: nothing in it is left for the host to refuse."""
    return _is_plain(row) and all(_is_plain(path) and _is_moment(time) for path, _, time in converted)


def _is_plain(path: list[str]) -> bool:
    return bool(path) and not any("\0" in element for element in path)


def _is_moment(time: Any) -> bool:
    if type(time) is not str:
        return True
    try:
        datetime.fromisoformat(time)
    except ValueError:
        return False
    return time.endswith("Z")


def _sequence(given: Any) -> Iterable[Any]:
    if isinstance(given, list | tuple):
        return given
    raise TypeError(f"a list is expected, not {type(given).__name__}")


def body(converted: Any) -> bytes:
    """The request body."""
    try:
        return orjson.dumps(converted)
    except TypeError as error:
        raise TypeError(str(error)) from None
