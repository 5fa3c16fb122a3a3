from __future__ import annotations

import math

import pytest

from server.errors import MldbError
from server.sql.functions.dates import date_part, date_trunc
from server.values.atoms import parse_timestamp, timestamp_text


def at(text: str) -> float:
    seconds = parse_timestamp(text)
    assert seconds is not None
    return seconds


@pytest.mark.parametrize(
    ("unit", "zone", "part"),
    [
        ("microsecond", None, 567891), ("MILLISECOND", None, 567), ("second", None, 26), ("minute", None, 14),
        ("hour", None, 15), ("hour", "-0100", 16), ("hour", "+01", 14), ("minute", "+05:30", 44), ("day", None, 12),
        ("day", "-12:00", 13), ("dow", None, 6), ("isodow", None, 6), ("doy", None, 254), ("week", None, 36),
        ("isoweek", None, 37), ("isodoy", None, 258), ("month", None, 9), ("quarter", None, 3), ("year", None, 2015),
        ("isoyear", None, 2015),
    ],
)  # fmt: skip
def test_date_part(unit: str, zone: str | None, part: int) -> None:
    assert date_part(unit, at("2015-09-12T15:14:26.567891Z"), zone) == part


@pytest.mark.parametrize(("month", "quarter"), list(enumerate([1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4], 1)))
def test_quarters_are_those_of_the_reference(month: int, quarter: int) -> None:
    assert date_part("quarter", at(f"2014-{month:02d}-15")) == quarter


@pytest.mark.parametrize(
    ("unit", "text", "zone", "start"),
    [
        ("minute", "2015-09-12T15:14:26Z", "-00:30", "2015-09-12T15:44:00Z"),
        ("millisecond", "2015-09-12T15:14:26.5678Z", None, "2015-09-12T15:14:26.567Z"),
        ("second", "2015-09-12T15:14:26.5Z", None, "2015-09-12T15:14:26Z"),
        ("hour", "2015-09-12T15:14:26Z", None, "2015-09-12T15:00:00Z"),
        ("isodoy", "2015-09-12T15:14:26Z", None, "2015-09-12T00:00:00Z"),
        ("week", "2015-09-12", None, "2015-09-06T00:00:00Z"),
        ("week", "2015-09-06", None, "2015-09-06T00:00:00Z"),
        ("isoweek", "2015-09-06", None, "2015-08-31T00:00:00Z"),
        ("month", "2015-09-12", None, "2015-09-01T00:00:00Z"),
        ("quarter", "2014-12-31", None, "2014-09-01T00:00:00Z"),
        ("quarter", "2014-02-28", None, "2014-01-01T00:00:00Z"),
        ("year", "2014-12-31", None, "2014-01-01T00:00:00Z"),
        ("isoyear", "2014-12-31", None, "2014-12-29T00:00:00Z"),
        ("hour", "1969-07-20T20:17:40Z", None, "1969-07-20T20:00:00Z"),
    ],
)
def test_date_trunc(unit: str, text: str, zone: str | None, start: str) -> None:
    assert timestamp_text(date_trunc(unit, at(text), zone)) == start


def test_what_is_no_date() -> None:
    assert date_part("year", math.nan) is None
    assert date_trunc("year", math.inf) == math.inf


@pytest.mark.parametrize(
    ("unit", "seconds", "zone", "message"),
    [
        ("fortnight", 0.0, None, "Invalid time unit 'fortnight'"),
        ("hour", 0.0, "CET", "failed to parse timezone 'CET'"),
        ("hour", 1e15, None, "date out of range"),
    ],
)
def test_refused(unit: str, seconds: float, zone: str | None, message: str) -> None:
    for function in (date_part, date_trunc):
        with pytest.raises(MldbError, match=message):
            function(unit, seconds, zone)
