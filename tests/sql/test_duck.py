"""Spelling of DuckDB SQL: whatever a name or a value holds, DuckDB reads back the same."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.sql.duck import literal, literal_number, literal_text, macro, outer_references, references
from server.storage.database import Database, identifier
from server.values.atoms import Interval, PathValue, Timestamp
from server.values.kinds import Kind
from tests.effort import cases

UGLY = [
    "",
    "'",
    "''",
    '"',
    "a'b\"c",
    "\0",
    "a\0b\0",
    "\n\r\t",
    "é",
    "日本語",
    "\U0001f600",
    "\\",
    "--",
    "/*",
    "$1",
    "x" * 10_000,
]
PLAIN_TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


@pytest.fixture(scope="module")
def cursor() -> Iterator[Any]:
    database = Database()
    with database.cursor() as cursor:
        yield cursor
    database.close()


def read(cursor: Any, sql: str) -> Any:
    return cursor.execute(f"SELECT {sql}").fetchall()[0][0]


@pytest.mark.parametrize("text", UGLY)
def test_texts(cursor: Any, text: str) -> None:
    assert read(cursor, literal_text(text)) == text


@settings(max_examples=cases(200))
@given(PLAIN_TEXTS)
def test_any_text(text: str) -> None:
    import duckdb

    assert duckdb.execute(f"SELECT {literal_text(text)}").fetchall() == [(text,)]


@pytest.mark.parametrize("name", [name for name in UGLY if "\0" not in name and name])
def test_identifiers(cursor: Any, name: str) -> None:
    assert cursor.execute(f"SELECT 1 AS {identifier(name)}").description[0][0] == name


NUMBERS = [0.0, -0.0, 1.5, -1e308, 5e-324, 1.7976931348623157e308, math.inf, -math.inf, math.pi, 0.1]


@pytest.mark.parametrize("number", NUMBERS)
def test_numbers(cursor: Any, number: float) -> None:
    found = read(cursor, literal_number(number))
    assert (found, math.copysign(1, found)) == (number, math.copysign(1, number))


def test_nan(cursor: Any) -> None:
    assert math.isnan(read(cursor, literal_number(math.nan)))


@pytest.mark.parametrize(
    ("value", "kind", "back"),
    [
        (None, Kind.NULL, None),
        (True, Kind.INTEGER, 1),
        (-(2**63), Kind.INTEGER, -(2**63)),
        (2**63 - 1, Kind.INTEGER, 2**63 - 1),
        (2**63, Kind.UNSIGNED, 2**63),
        (2**64 - 1, Kind.UNSIGNED, 2**64 - 1),
        (2**64, Kind.NUMBER, 2.0**64),
        (-(2**63) - 1, Kind.NUMBER, -(2.0**63)),
        (2.0, Kind.INTEGER, 2),
        (2.5, Kind.NUMBER, 2.5),
        ("it's", Kind.STRING, "it's"),
        (b"", Kind.BLOB, b""),
        (b"\x00\xff'", Kind.BLOB, b"\x00\xff'"),
        (Timestamp(-math.inf), Kind.TIMESTAMP, -math.inf),
        (Interval(-1, -2, -0.5), Kind.INTERVAL, {"months": -1, "days": -2, "seconds": -0.5}),
        (PathValue(("a.b", "é", "")), Kind.PATH, '"a.b".é.""'),
    ],
)
def test_literals(cursor: Any, value: Any, kind: Kind, back: Any) -> None:
    sql, found = literal(value)
    assert (read(cursor, sql), found) == (back, kind)


def test_references_are_found_by_relation() -> None:
    sql = 'r1.a + r12."b ""c""" || r1.c2'
    assert (references(sql, 1), references(sql, 12), references(sql, 2)) == ({"a", "c2"}, {'"b ""c"""'}, set())
    assert references("r.b + r1a.c + r11.d", 1) == set()


def test_reads_leaves_out_texts_and_the_relations_of_its_own_sub_queries() -> None:
    assert outer_references("r1.a || 'r2.b' || 'it''s r3.c'") == {1: {"a"}}
    assert outer_references("r1.a IN (SELECT r2.b FROM t AS r2 WHERE r2.c = r1.d)") == {1: {"a", "d"}}


def test_macros_compute_nested_arguments_once() -> None:
    deep = "m_num(m_num(m_num(r1.a)))"
    assert macro("m_text", "r1.a") == "m_text(r1.a)"
    assert macro("m_pair", deep, "r1.b").count(deep) == 1
    assert macro("m_text", "s_print_json(k, s_print_json(k, s_print_json(k, r1.a)))").startswith("list_transform([")
