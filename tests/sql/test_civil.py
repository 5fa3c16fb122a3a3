"""Dates that the engine computes are those that ``dates`` and ``core`` compute row by row."""

from __future__ import annotations

import math

import duckdb
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from server.errors import MldbError
from server.sql.functions import civil, dates
from server.sql.functions.arithmetic import arithmetic
from server.sql.functions.conversions import storage_class
from server.sql.functions.core import cast_integer, cast_number
from server.values.atoms import Atom, Interval, Timestamp, collapse, number_text, parse_timestamp
from tests.effort import cases

whole = st.integers(-62_300_000_000, 253_500_000_000).map(float)
seconds = whole | st.floats(allow_nan=True, allow_infinity=True) | st.floats(-1e10, 1e10)


def found(cursor: duckdb.DuckDBPyConnection, sql: str, *values: object) -> object:
    return cursor.execute(f"SELECT {sql}", values).fetchall()[0][0]


def same(one: object, other: object) -> bool:
    both_nan = isinstance(one, float) and isinstance(other, float) and math.isnan(one) and math.isnan(other)
    return both_nan or one == other


@settings(max_examples=cases(40))
@given(moment=seconds)
@example(moment=-62_135_596_800.0)
@example(moment=253_402_300_799.0)
@example(moment=951_782_400.0)  # 29 February 2000
def test_parts_and_starts(cursor, moment):
    for macro, names, function in (
        ("m_part", civil.PARTS, dates.date_part),
        ("m_start", civil.STARTS, dates.date_trunc),
    ):
        for unit in names:
            try:
                expected = function(unit, moment)
            except (MldbError, OverflowError, ValueError):
                with pytest.raises(duckdb.InvalidInputException):
                    found(cursor, f"{macro}_{unit}(?::DOUBLE)", moment)
                continue
            assert same(found(cursor, f"{macro}_{unit}(?::DOUBLE)", moment), expected), (unit, moment)


def interval(value: Interval) -> str:
    return f"{{'months': {value.months}, 'days': {value.days}, 'seconds': {value.seconds!r}::DOUBLE}}"


intervals = st.builds(
    lambda sign, months, days, seconds: Interval(sign * months, sign * days, sign * float(seconds)),
    st.sampled_from([1, -1]),
    st.integers(0, 3) | st.integers(0, 20_000),
    st.integers(0, 100_000),
    st.integers(0, 100_000),
)


@settings(max_examples=cases(100))
@given(moment=seconds, by=intervals, op=st.sampled_from("+-"))
@example(moment=1_422_662_400.0, by=Interval(1, 0, 0.0), op="+")  # 31 January: the end of February
@example(moment=1_425_081_600.0, by=Interval(1, 0, 0.0), op="-")  # 28 February: the end of January
def test_moments_and_intervals(cursor, moment, by, op):
    sql = f"m_shift(?::DOUBLE, {interval(by)}, {op}1)"
    try:
        expected = arithmetic(op, Timestamp(moment), by)
    except MldbError:
        with pytest.raises(duckdb.InvalidInputException):
            found(cursor, sql, moment)
        return
    assert isinstance(expected, Timestamp)
    assert same(found(cursor, sql, moment), expected.seconds)


@settings(max_examples=cases(200))
@given(one=seconds, other=seconds)
def test_what_lies_between_two_moments(cursor, one, other):
    sql = "m_between(?::DOUBLE, ?::DOUBLE)"
    try:
        expected = arithmetic("-", Timestamp(one), Timestamp(other))
    except MldbError:
        with pytest.raises(duckdb.InvalidInputException):
            found(cursor, sql, one, other)
        return
    assert isinstance(expected, Interval)
    parts = {"months": expected.months, "days": expected.days, "seconds": expected.seconds}
    assert found(cursor, sql, one, other) == parts


digits = st.from_regex(r"-?[0-9]{1,22}(\.[0-9]{0,20})?([eE][-+]?[0-9]{1,3})?", fullmatch=True)


@settings(max_examples=cases(200))
@given(text=digits | st.text(max_size=6))
def test_numbers_from_text(cursor, text):
    if "\0" in text or not text.isprintable():
        return
    assert found(cursor, "m_cast_integer(?)", text) == cast_integer(text)
    number: Atom = cast_number(text)
    read = found(cursor, "m_cast_number(?)", text)
    assert same(read, number) or (read is not None and storage_class(number) == "INTEGER" and read == number)


@settings(max_examples=cases(200))
@given(number=st.floats())
@example(number=1e15)
@example(number=-1e15)
@example(number=1e-4)
@example(number=2.0**63)
def test_text_and_whole_part_of_numbers(cursor, number):
    assert found(cursor, "TRY_CAST(trunc(?::DOUBLE) AS BIGINT)", number) == cast_integer(number)
    if number != 0:  # of minus zero and whole numbers m_numtext makes the text of an integer
        assert found(cursor, "m_numtext(?::DOUBLE)", number) == number_text(collapse(number))


ISO = r"[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-2][0-9]:[0-6][0-9](:[0-6][0-9](\.[0-9]{1,6})?)?Z?)?"


@settings(max_examples=cases(200))
@given(
    text=st.from_regex(ISO, fullmatch=True)
    | st.datetimes().map(lambda moment: moment.isoformat(timespec="seconds"))
    | st.dates().map(str)
    | st.text(max_size=12)
)
@example(text="2015-01-01T24:00:00Z")
@example(text="2015-01-01T23:59:60Z")
@example(text="2015-02-29")
def test_moments_from_text(cursor, text):
    assert same(found(cursor, "m_parse_ts(?)", text), parse_timestamp(text))
