"""What libraries give for the values of other systems, as atoms and as the cells of a row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from server.values.atoms import Atom, Interval, Timestamp, collapse
from server.values.paths import Path


def atom_of_python(value: Any) -> Atom:
    """Dates are timestamps (UTC unless they say otherwise), durations intervals, times of the day texts, truth values
    0 and 1, decimals numbers; of anything else the text counts.
    """
    match value:
        case bool():
            return int(value)
        case datetime():
            return Timestamp(value.replace(tzinfo=value.tzinfo or UTC).timestamp())
        case date():
            return Timestamp(datetime(value.year, value.month, value.day, tzinfo=UTC).timestamp())
        case timedelta():
            sign, size = (-1 if value < timedelta() else 1), abs(value)
            return Interval(0, sign * size.days, sign * (size.seconds + size.microseconds / 1e6))
        case time():
            return value.isoformat()
        case Decimal():
            return collapse(float(value))
        case int():
            return value if -(2**63) <= value < 2**64 else float(value)
        case memoryview() | bytearray():
            return bytes(value)
        case float() | str() | bytes() | None:
            return value
    return str(value)


def cells_of_python(path: Path, value: Any) -> Iterator[tuple[Path, Atom]]:
    """Column path and atom of each leaf of nested dicts and lists; without the leaves that are null."""
    if isinstance(value, Mapping):
        for name, member in value.items():
            yield from cells_of_python((*path, str(name)), member)
    elif isinstance(value, list | tuple):
        for index, member in enumerate(value):
            yield from cells_of_python((*path, str(index)), member)
    elif value is not None:
        yield path, atom_of_python(value)


def python_of(atom: Atom) -> Any:
    """An atom as libraries take it: timestamps as dates with a zone, intervals as durations (a month has 30 days)."""
    match atom:
        case Timestamp(seconds):
            return datetime.fromtimestamp(seconds, UTC)
        case Interval(months, days, seconds):
            return timedelta(days=30 * months + days, seconds=seconds)
        case None | int() | float() | str() | bytes():
            return atom
    return str(atom)
