"""Relational queries give what DuckDB itself gives, where the two must agree.

Each query is made in both dialects at once. What is known to differ (sql-dialect.md §10.1) is spelled so that it does
not: NULLs come first, sums of nothing are 0, IN looks over no NULLs, BETWEEN has a lower bound, an order is total.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.sql.engine import Engine
from server.sql.formats import render
from tests.effort import EFFORT, cases
from tests.inprocess import in_process

pytestmark = pytest.mark.timeout(180 * max(1.0, EFFORT))  # many examples take their time
ROWS = 40
TEXTS = ("a", "b", "ab", "é", "zz", "")
COMPARED = ("({0} = {1})", "({0} != {1})", "({0} < {1})", "({0} <= {1})", "({0} > {1})", "({0} >= {1})")
STORED = (("a", "sparse.mutable"), ("b", "tabular"))


@dataclass(frozen=True)
class Both:
    """The same thing in the dialect and in DuckDB's SQL."""

    mldb: str
    duck: str

    def __repr__(self) -> str:
        return f"{self.mldb}  ⟷  {self.duck}"


def rows_of(offset: int) -> list[tuple[str, dict[str, Any]]]:
    """Rows of small numbers and texts with many equal ones, and nulls (absent cells)."""
    found = []
    for number in range(ROWS):
        seed = (number + offset) * 2654435761 % 2**32
        row = {
            "x": seed % 5, "y": seed // 7 % 9 - 4, "f": seed // 11 % 8 / 2 + 0.25, "s": TEXTS[seed // 13 % len(TEXTS)],
        }  # fmt: skip
        found.append((f"r{number:02d}", {name: value for place, (name, value) in enumerate(row.items())
                                         if (number * 3 + place * 5 + offset) % 6}))  # fmt: skip
    return found


@dataclass
class Engines:
    mldb: Engine
    duck: duckdb.DuckDBPyConnection


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engines]:
    with in_process(tmp_path_factory.mktemp("server") / "data") as server, duckdb.connect() as duck:
        for offset, (table, kind) in enumerate(STORED):
            rows = rows_of(offset * 17)
            params = {"unknownColumns": "add"} if kind == "tabular" else {}
            server.must("PUT", f"/v1/datasets/{table}", {"type": kind, "params": params})
            recorded = [[name, [[column, value, 0] for column, value in cells.items()]] for name, cells in rows]
            server.must("POST", f"/v1/datasets/{table}/multirows", recorded)
            server.must("POST", f"/v1/datasets/{table}/commit")
            duck.execute(f"CREATE TABLE {table} (name VARCHAR, x BIGINT, y BIGINT, f DOUBLE, s VARCHAR)")
            values = [(name, *(cells.get(column) for column in "xyfs")) for name, cells in rows]
            duck.executemany(f"INSERT INTO {table} VALUES (?, ?, ?, ?, ?)", values)
        yield Engines(server.engine, duck)


# ── expressions ──────────────────────────────────────────────────────────────────────────────────────────────


def both(template: str, *parts: Both) -> Both:
    """One spelling for both."""
    return Both(template.format(*(part.mldb for part in parts)), template.format(*(part.duck for part in parts)))


def same(text: str) -> Both:
    return Both(text, text)


def numbers(table: str = "") -> st.SearchStrategy[Both]:
    columns = st.sampled_from([same(f"{table}{name}") for name in ("x", "y", "f")])
    leaves = columns | st.integers(-3, 5).map(lambda number: same(f"({number})"))
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.builds(both, st.sampled_from(("({0} + {1})", "({0} - {1})", "({0} * {1})")), inner, inner),
            st.builds(both, st.just("abs({0})"), inner),
            st.builds(both, st.just("CASE WHEN {0} > {1} THEN {0} ELSE {2} END"), inner, inner, inner),
        ),
        max_leaves=4,
    )


def conditions(table: str = "") -> st.SearchStrategy[Both]:
    number = numbers(table)
    text = same(f"{table}s")
    simple = st.one_of(
        st.builds(both, st.sampled_from(COMPARED), number, number),
        st.sampled_from(COMPARED).map(lambda template: both(template, text, same("'b'"))),
        st.builds(both, st.just("({0} BETWEEN -2 AND {1})"), number, number),
        st.builds(both, st.just("({0} IN (1, 3, -2))"), number),
        st.builds(both, st.just("({0} IS NULL)"), number),
        st.just(both("({0} IS NOT NULL)", text)),
        st.just(both("({0} LIKE '%b')", text)),
        st.just(both("({0} NOT IN ('a', 'zz'))", text)),
    )
    return st.recursive(
        simple,
        lambda inner: st.one_of(
            st.builds(both, st.sampled_from(("({0} AND {1})", "({0} OR {1})")), inner, inner),
            st.builds(both, st.just("(NOT {0})"), inner),
        ),
        max_leaves=3,
    )


def values(table: str = "") -> st.SearchStrategy[Both]:
    return st.one_of(numbers(table), st.just(same(f"{table}s")), conditions(table))


def keys_of(of: st.SearchStrategy[Both] | None = None) -> st.SearchStrategy[Both]:
    """What reads a column: to DuckDB, a constant key is the number of a column."""
    return (values() if of is None else of).filter(lambda value: re.search(r"\b[xyfs]\b", value.duck) is not None)


def aggregates(*names: str) -> st.SearchStrategy[Both]:
    def one(name: str, value: Both) -> Both:
        empty = {"sum": "0", "avg": "'nan'::DOUBLE"}.get(name)
        duck = f"{name}({value.duck})"
        return Both(f"{name}({value.mldb})", duck if empty is None else f"coalesce({duck}, {empty})")

    if names:
        return st.builds(one, st.sampled_from(names), numbers())
    return st.one_of(
        st.builds(one, st.sampled_from(("sum", "avg", "min", "max", "count")), numbers()),
        st.builds(one, st.sampled_from(("min", "max", "count")), st.just(same("s"))),
    )


# ── statements ───────────────────────────────────────────────────────────────────────────────────────────────


def listed(items: list[Both]) -> Both:
    """A SELECT list; columns are c0, c1, …"""
    return Both(
        ", ".join(f"{item.mldb} AS c{number}" for number, item in enumerate(items)),
        ", ".join(f"{item.duck} AS c{number}" for number, item in enumerate(items)),
    )


def ordered(keys: list[tuple[Both, bool]], last: Both) -> Both:
    """ORDER BY these keys, then by what makes the order total."""
    mldb = [f"{key.mldb}{' DESC' if falling else ''}" for key, falling in keys]
    duck = [f"{key.duck}{' DESC NULLS LAST' if falling else ' ASC NULLS FIRST'}" for key, falling in keys]
    return Both(" ORDER BY " + ", ".join([*mldb, last.mldb]), " ORDER BY " + ", ".join([*duck, last.duck]))


_where = st.none() | conditions()
_limits = st.sampled_from(("", "", " LIMIT 5", " LIMIT 3 OFFSET 2", " LIMIT 100 OFFSET 30"))
_NAME = Both("rowName()", "name")


def _filtered(where: Both | None) -> Both:
    return same("") if where is None else both(" WHERE {0}", where)


@st.composite
def plain(draw: Any) -> Both:
    """SELECT … FROM … WHERE … [ORDER BY … LIMIT …], with or without DISTINCT ON."""
    items, where = draw(st.lists(values(), min_size=1, max_size=3)), _filtered(draw(_where))
    table = draw(st.sampled_from(("a", "b")))
    keys = draw(st.lists(st.tuples(keys_of(), st.booleans()), max_size=2))
    text = listed(items)
    distinct = same("")
    if keys and draw(st.booleans()):
        distinct = both("DISTINCT ON ({0}) ", keys[0][0])
    order = ordered(keys, _NAME)
    limit = draw(_limits)
    made = both("SELECT {0}{1} FROM " + table + "{2}{3}", distinct, text, where, order)
    return Both(made.mldb + limit, made.duck + limit)


@st.composite
def grouped(draw: Any) -> Both:
    keys, where = draw(st.lists(keys_of(), min_size=1, max_size=2)), _filtered(draw(_where))
    items = [*keys, *draw(st.lists(aggregates(), min_size=1, max_size=3)), same("count(*)")]
    having = draw(st.none() | aggregates("sum", "max", "count").map(lambda one: both(" HAVING {0} > 1", one)))
    made = both("SELECT {0} FROM a{1} GROUP BY ", listed(items), where)
    by = Both(", ".join(key.mldb for key in keys), ", ".join(key.duck for key in keys))
    return both("{0}{1}{2}", made, by, having or same(""))


@st.composite
def one_group(draw: Any) -> Both:
    """With count, an empty input has one row too."""
    items = [same("count(*)"), *draw(st.lists(aggregates(), min_size=1, max_size=3))]
    return both("SELECT {0} FROM b{1}", listed(items), _filtered(draw(_where)))


@st.composite
def joined(draw: Any) -> Both:
    kind = draw(st.sampled_from(("JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN")))
    on = draw(st.sampled_from((same("l.x = r.y"), same("l.s = r.s"), both("{0}", same("l.x = r.x AND l.y < r.y")))))
    if draw(st.booleans()) and kind == "JOIN":
        on = both("{0} AND {1}", on, draw(conditions("l.")))
    items = draw(st.lists(st.one_of(values("l."), values("r.")), min_size=1, max_size=3))
    where = draw(st.none() | st.one_of(conditions("l."), conditions("r.")))
    return both("SELECT {0} FROM a AS l " + kind + " b AS r ON {1}{2}", listed(items), on, _filtered(where))


@st.composite
def nested(draw: Any) -> Both:
    """Sub-selects in FROM and in IN."""
    inner = both("SELECT {0} AS x, {1} AS y, f, s FROM a{2}", draw(numbers()), draw(numbers()), _filtered(draw(_where)))
    if draw(st.booleans()):
        inner = both(
            "SELECT {0} AS x, sum(y) AS y, max(f) AS f, min(s) AS s FROM a GROUP BY {0}", draw(keys_of(numbers()))
        )
        inner = Both(inner.mldb, inner.duck.replace("sum(y)", "coalesce(sum(y), 0)"))
    member = draw(
        st.none()
        | conditions().map(
            lambda where: both("({0} IN (SELECT y FROM b WHERE {1} AND y IS NOT NULL))", same("x"), where)
        )
    )
    where = _filtered(member if member is not None else draw(_where))
    return both("SELECT {0} FROM ({1}) AS q{2}", listed(draw(st.lists(values(), min_size=1, max_size=2))), inner, where)


# ── comparing ────────────────────────────────────────────────────────────────────────────────────────────────


def plain_value(value: Any) -> Any:
    """A value of either side as one that compares: booleans as numbers, floats rounded, NaN as a word."""
    if isinstance(value, dict):
        value = float(value["num"].replace("-NaN", "NaN"))
    if isinstance(value, bool | int | float):
        return "NaN" if math.isnan(value) else float(f"{float(value):.10g}")
    return value


def sortable(row: list[Any]) -> Any:
    return [(value is None, isinstance(value, str), value if value is not None else 0) for value in row]


def compare(engines: Engines, query: Both) -> None:
    wanted = [[plain_value(value) for value in row] for row in engines.duck.execute(query.duck).fetchall()]
    width = len(engines.duck.description or ())
    rows = json.loads(render(engines.mldb.query(query.mldb), "aos"))
    got = [[plain_value(row.get(f"c{number}")) for number in range(width)] for row in rows]
    if " ORDER BY " not in query.mldb:
        got, wanted = sorted(got, key=sortable), sorted(wanted, key=sortable)
    assert got == wanted


both_engines = settings(max_examples=cases(30), suppress_health_check=list(HealthCheck))


@both_engines
@given(plain())
def test_select(engines: Engines, query: Both) -> None:
    compare(engines, query)


@both_engines
@given(st.one_of(grouped(), one_group()))
def test_groups(engines: Engines, query: Both) -> None:
    compare(engines, query)


@both_engines
@given(joined())
def test_joins(engines: Engines, query: Both) -> None:
    compare(engines, query)


@both_engines
@given(nested())
def test_nested(engines: Engines, query: Both) -> None:
    compare(engines, query)
