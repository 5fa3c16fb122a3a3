"""``date_part`` and ``date_trunc`` (sql-dialect.md §8.6), quirks included where the reference asserts them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from server.errors import MldbError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ZONE = re.compile(r"([+-])(\d{1,2})(?::?(\d{2}))?")
_DAY = timedelta(days=1)

Found = TypeVar("Found")


def zone_seconds(zone: str) -> int:
    """Seconds of ``+05:30``, ``-0400`` or ``+01``; ``MldbError`` for another text."""
    found = _ZONE.fullmatch(zone.strip())
    if zone.strip() == "Z":
        return 0
    if found is None:
        raise MldbError(f"failed to parse timezone '{zone}'; one is written as '+05:30', '-0400' or '+01'")
    seconds = int(found[2]) * 3600 + int(found[3] or 0) * 60
    return -seconds if found[1] == "-" else seconds


def date_part(unit: str, seconds: float, zone: str | None = None) -> int | None:
    """A part of an instant (seconds since 1970 UTC); None for one that is no date. The zone is *subtracted*."""
    part = _lookup(_PARTS, unit)
    if not math.isfinite(seconds):
        return None
    return part(_moment(seconds, zone))


def date_trunc(unit: str, seconds: float, zone: str | None = None) -> float:
    """The start of the unit that holds an instant, in seconds; what is no date stays as it is.

    With a zone, the shifted time is what is truncated and returned.
    """
    start = _lookup(_STARTS, unit)
    if not math.isfinite(seconds):
        return seconds
    return (start(_moment(seconds, zone)) - _EPOCH) / timedelta(seconds=1)


def time_unit(text: str) -> str:
    """A unit as the tables name it: of any case, one or several (``Hours`` is ``hour``)."""
    return text.lower().removesuffix("s")


def _lookup(table: dict[str, Found], unit: str) -> Found:
    found = table.get(time_unit(unit))
    if found is None:
        remedy = "; CAST (x AS number) gives the seconds since 1970" if unit.lower() == "epoch" else ""
        raise MldbError(f"Invalid time unit '{unit}'; it may be {', '.join(table)}{remedy}")
    return found


def _moment(seconds: float, zone: str | None) -> datetime:
    try:
        return _EPOCH + timedelta(seconds=seconds - (zone_seconds(zone) if zone is not None else 0))
    except OverflowError:
        raise MldbError(f"date out of range: {seconds} seconds since 1970") from None


def _day_of_year(moment: datetime) -> int:
    """From 0."""
    return moment.timetuple().tm_yday - 1


def _quarter(moment: datetime) -> int:
    """January to March 1, April to July 2, August to November 3, December 4: as the reference asserts."""
    return moment.month // 4 + 1


_PARTS: dict[str, Callable[[datetime], int]] = {
    "microsecond": lambda moment: moment.microsecond,
    "millisecond": lambda moment: moment.microsecond // 1000,
    "second": lambda moment: moment.second,
    "minute": lambda moment: moment.minute,
    "hour": lambda moment: moment.hour,
    "day": lambda moment: moment.day,
    "dow": lambda moment: moment.isoweekday() % 7,
    "doy": _day_of_year,
    "isodow": lambda moment: moment.isoweekday(),
    "isodoy": lambda moment: (moment.isocalendar().week - 1) * 7 + moment.isoweekday(),
    "week": lambda moment: _day_of_year(moment) // 7,
    "isoweek": lambda moment: moment.isocalendar().week,
    "month": lambda moment: moment.month,
    "quarter": _quarter,
    "year": lambda moment: moment.year,
    "isoyear": lambda moment: moment.isocalendar().year,
}


def _midnight(moment: datetime) -> datetime:
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)


def _quarter_start(moment: datetime) -> datetime:
    """Day 1 of month (quarter - 1) * 3, as the reference asserts; the first quarter starts in January."""
    return _midnight(moment).replace(month=max(1, (_quarter(moment) - 1) * 3), day=1)


_STARTS: dict[str, Callable[[datetime], datetime]] = {
    "microsecond": lambda moment: moment,
    "millisecond": lambda moment: moment.replace(microsecond=moment.microsecond // 1000 * 1000),
    "second": lambda moment: moment.replace(microsecond=0),
    "minute": lambda moment: moment.replace(second=0, microsecond=0),
    "hour": lambda moment: moment.replace(minute=0, second=0, microsecond=0),
    "day": _midnight,
    "dow": _midnight,
    "doy": _midnight,
    "isodow": _midnight,
    "isodoy": _midnight,
    "week": lambda moment: _midnight(moment) - moment.isoweekday() % 7 * _DAY,
    "isoweek": lambda moment: _midnight(moment) - moment.weekday() * _DAY,
    "month": lambda moment: _midnight(moment).replace(day=1),
    "quarter": _quarter_start,
    "year": lambda moment: _midnight(moment).replace(month=1, day=1),
    "isoyear": lambda moment: datetime.fromisocalendar(moment.isocalendar().year, 1, 1).replace(tzinfo=UTC),
}
