"""Values on their way between Python and DuckDB: every shape, with what is ugly in it, comes back as it went."""

from __future__ import annotations

import math
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.entities.progress import TaskProgress
from server.errors import MldbError
from server.sql import tasks
from server.sql.functions import conversions
from server.sql.routines import ANYS, CELLS, ITEMS, NUMBERS, TEXTS, Routine, from_arrow, install, split_macros, to_arrow
from server.storage.database import Database
from server.values.atoms import Interval, PathValue, Timestamp, collapse
from server.values.batches import Cell
from server.values.kinds import Kind
from tests.effort import cases

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
elements = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
numbers = st.floats(allow_nan=False).map(collapse)
atoms = (
    st.none()
    | st.integers(-(2**63), 2**64 - 1)
    | numbers
    | texts
    | st.binary(max_size=6)
    | st.floats(allow_nan=False).map(Timestamp)
    | st.builds(Interval, st.integers(0, 65535), st.integers(0, 65535), st.floats(-1e6, 1e6))
    | st.lists(elements, min_size=1, max_size=3).map(lambda path: PathValue(tuple(path)))
)
cells = st.builds(Cell, st.lists(elements, max_size=3).map(tuple), atoms, st.floats(allow_nan=False))


def there_and_back(values: list[Any], shape: Any) -> list[Any]:
    return from_arrow(to_arrow(values, shape), shape)


@settings(max_examples=cases(100))
@given(st.lists(atoms, max_size=6))
def test_atoms(values: list[Any]) -> None:
    assert there_and_back(values, Kind.ANY) == values


@settings(max_examples=cases(100))
@given(st.lists(st.lists(cells, max_size=4), max_size=4))
def test_rows(rows: list[Any]) -> None:
    assert there_and_back(rows, CELLS) == rows


@settings(max_examples=cases(50))
@given(st.lists(st.none() | st.lists(atoms, max_size=4), max_size=4))
def test_lists_of_atoms(rows: list[Any]) -> None:
    assert there_and_back(rows, ANYS) == rows


@pytest.mark.parametrize(
    ("shape", "values"),
    [
        (Kind.NUMBER, [1.5, None, math.inf, -0.0]),
        (Kind.INTEGER, [1, None, -(2**63), 2**63 - 1]),
        (Kind.UNSIGNED, [0, 2**64 - 1, None]),
        (Kind.BOOLEAN, [True, False, None]),
        (Kind.STRING, ["", None, "é", "\0", "日本", "\U0001f600"]),
        (Kind.BLOB, [b"", b"\x00\xff", None]),
        (Kind.TIMESTAMP, [Timestamp(0.5), None, Timestamp(-math.inf)]),
        (Kind.INTERVAL, [Interval(-1, -2, -0.5), None, Interval(0, 0, 0.0)]),
        (Kind.PATH, [PathValue(("a.b", "")), None, PathValue(('"',))]),
        (NUMBERS, [[1.0, math.inf], [], None]),
        (TEXTS, [["a", "é"], [], None]),
        (Kind.NUMBER, []),
        (CELLS, [None, [], [Cell((), None, 0.0)]]),
    ],
)  # fmt: skip
def test_shapes(shape: Any, values: list[Any]) -> None:
    assert there_and_back(values, shape) == values


def test_nan_stays_nan() -> None:
    assert math.isnan(there_and_back([math.nan], Kind.ANY)[0])
    assert math.isnan(there_and_back([[math.nan]], NUMBERS)[0][0])
    assert math.isnan(there_and_back([[Cell(("a",), math.nan, math.nan)]], CELLS)[0][0].timestamp)


def test_items_of_rows() -> None:
    rows = [[(("a.b",), [Cell(("c",), 1, 0.0)])], [], None]
    built = to_arrow(rows, ITEMS)
    assert built.to_pylist()[0][0]["p"] == '"a.b"'
    assert [len(row) for row in built.to_pylist()] == [1, 0, 0]


def test_chunks_of_a_column_are_one() -> None:
    chunked = pa.chunked_array([pa.array([1.0]), pa.array([], pa.float64()), pa.array([2.0])])
    assert from_arrow(chunked, Kind.NUMBER) == [1.0, 2.0]


def test_macro_texts() -> None:
    text = "\none(x) := x\ntwo(x, y) := CASE WHEN x\n    THEN y := 1 END\n"
    assert split_macros(text) == ["one(x) AS x", "two(x, y) AS CASE WHEN x\n    THEN y := 1 END"]


# ── routines ──


def boom(value: Any) -> Any:
    if value == "bad":
        raise MldbError("it is bad")
    return value


ROUTINES = [
    *conversions.ROUTINES,
    Routine("u_same", (Kind.ANY,), Kind.ANY, lambda value: value),
    Routine("u_is_null", (Kind.ANY,), Kind.BOOLEAN, lambda value: value is None, strict=False),
    Routine("u_boom", (Kind.STRING,), Kind.STRING, boom),
    Routine("u_seven", (), Kind.INTEGER, lambda: 7),
    Routine("s_count", (Kind.INTEGER,), Kind.INTEGER, lambda value: SEEN.append(value) or value, slow=True),
]
MACROS = [conversions.MACROS, "m_boom(x) := u_boom(x)"]
SEEN: list[int] = []


@pytest.fixture
def database():
    database = Database()
    database.define(lambda connection: install(connection, ROUTINES, MACROS))
    yield database
    database.close()


def test_null_rules(database: Database) -> None:
    with database.cursor() as cursor:
        sql = "SELECT u_same(any_n(NULL)) IS NULL, u_is_null(any_n(NULL)), u_is_null(any_n(1.0)), u_seven()"
        assert cursor.execute(sql).fetchall() == [(True, True, False, 7)]


def test_errors_carry_their_text(database: Database) -> None:
    with database.cursor() as cursor, pytest.raises(Exception, match="it is bad"):
        cursor.execute("SELECT u_boom(x) FROM (VALUES ('good'), ('bad')) AS t(x)").fetchall()


def test_installing_twice_changes_nothing(database: Database) -> None:
    database.define(lambda connection: install(connection, ROUTINES, MACROS))
    with database.cursor() as cursor:
        assert cursor.execute("SELECT u_seven()").fetchall() == [(7,)]


def test_slow_rows_end_with_their_task(database: Database) -> None:
    """A task that is over: no further row is computed, and nothing fails for it."""
    progress = TaskProgress()
    SEEN.clear()
    with database.cursor() as cursor, tasks.found_by_number(progress) as number:
        sql = f"SELECT count(s_count({number}, x)) FROM range(10) AS t(x)"
        assert cursor.execute(sql).fetchall() == [(10,)]
        progress.cancel()
        assert cursor.execute(sql).fetchall() == [(0,)]
    assert sorted(SEEN) == list(range(10))
    with database.cursor() as cursor:
        assert cursor.execute(sql).fetchall() == [(10,)]  # the number is nobody's any more
