"""Datasets of so many columns that their rows are open: names are asked of the data, and answers are the same."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import Client

COLUMNS = 1500  # more than are pivoted
ROWS = {f"r{i}": {f"c{j}": i * j for j in range(COLUMNS) if j % (i + 1) == 0} | {"p.a": i, "p.b": -i} for i in range(6)}
COUNTS = {name: sum(name in row for row in ROWS.values()) for row in ROWS.values() for name in row}


@pytest.fixture(scope="module")
def wide(client: Client) -> Client:
    rows = [[name, [[column, value, 10] for column, value in row.items()]] for name, row in ROWS.items()]
    assert client.put("/v1/datasets/wide", json={"type": "sparse.mutable"}).status_code == 201
    assert client.post("/v1/datasets/wide/multirows", json=rows).status_code == 200
    assert client.post("/v1/datasets/wide/commit").status_code == 200
    once = {"type": "transposed", "params": {"dataset": {"id": "wide"}}}
    twice = {"type": "transposed", "params": {"dataset": once}}
    assert client.put("/v1/datasets/twice", json=twice).status_code == 201
    return client


def found(client: Client, query: str) -> dict[str, dict[str, Any]]:
    """Rows by name, in their order."""
    return {row.pop("_rowName"): row for row in client.query(query, "aos")}


def chosen(condition: Any) -> dict[str, dict[str, Any]]:
    """The cells for which a condition over the name and the value holds, by row."""
    return {name: {c: v for c, v in row.items() if condition(c, v)} for name, row in ROWS.items()}


SOURCES = ["wide", "(SELECT * FROM wide)", "twice", "merge(wide, (SELECT 1 AS c0 NAMED 'r0' WHERE false))"]


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize(
    ("where", "condition"),
    [
        ("rowCount() = 6", lambda c, v: COUNTS[c] == 6),
        ("rowCount() > 2 AND columnName() LIKE 'c1%'", lambda c, v: COUNTS[c] > 2 and c.startswith("c1")),
        ("rowCount() > 2 AND value() > 100", lambda c, v: COUNTS[c] > 2 and v > 100),
        ("value() > rowCount() * 1000", lambda c, v: v > COUNTS[c] * 1000),
        ("columnPathElement(0) = 'p'", lambda c, v: c.startswith("p.")),
        ("columnName() = 'c60' OR value() = 1499", lambda c, v: c == "c60" or v == 1499),
        ("false", lambda c, v: False),
    ],
)
def test_columns_are_chosen(wide: Client, source: str, where: str, condition: Any) -> None:
    query = f"SELECT COLUMN EXPR (WHERE {where}) FROM {source} ORDER BY rowName()"
    assert found(wide, query) == chosen(condition)


@pytest.mark.parametrize("source", SOURCES)
def test_counts_as_values_and_in_names(wide: Client, source: str) -> None:
    query = (
        f"SELECT COLUMN EXPR (SELECT rowCount() + value() AS 'n_' + columnName() WHERE rowCount() = 6) FROM {source}"
    )
    expected = {
        name: {f"n_{c}" if "." not in c else f'"n_{c}"': 6 + v for c, v in row.items() if COUNTS[c] == 6}
        for name, row in ROWS.items()
    }
    assert found(wide, query) == expected


def test_the_most_frequent_columns(wide: Client) -> None:
    query = "SELECT COLUMN EXPR (ORDER BY rowCount() DESC, columnName() OFFSET 1 LIMIT 3) FROM wide ORDER BY rowName()"
    names = sorted(COUNTS, key=lambda name: (-COUNTS[name], name))[1:4]
    assert found(wide, query) == chosen(lambda c, v: c in names)


def test_a_long_list_of_names_is_looked_at_before_the_limit(wide: Client) -> None:
    listed = ", ".join(f"'c{number}'" for number in range(700, 1100))
    where = f"WHERE columnName() IN ({listed}) ORDER BY columnName() LIMIT 3"
    rows = found(wide, f"SELECT COLUMN EXPR ({where}) FROM wide ORDER BY rowName()")
    assert rows == chosen(lambda c, v: c in ("c1000", "c1001", "c1002"))


def test_order_of_columns_cannot_depend_on_values(wide: Client) -> None:
    answer = wide.get_json("/v1/query", {"q": "SELECT COLUMN EXPR (ORDER BY value() LIMIT 2) FROM wide"})
    assert answer.status_code == 400
    assert (
        answer.json()["error"]
        == "ORDER BY in COLUMN EXPR may depend on the column's name and rowCount(), not on its values"
    )
    assert answer.json()["details"]["column"] == 30


@pytest.mark.parametrize("source", SOURCES)
def test_structured(wide: Client, source: str) -> None:
    query = f"SELECT COLUMN EXPR STRUCTURED (WHERE columnName() = 'p') FROM {source} ORDER BY rowName()"
    assert found(wide, query) == chosen(lambda c, v: c.startswith("p."))
    query = f"SELECT COLUMN EXPR STRUCTURED (AS 'q' WHERE columnName() = 'p') FROM {source} ORDER BY rowName()"
    assert found(wide, query) == {name: {"q.a": row["p.a"], "q.b": row["p.b"]} for name, row in ROWS.items()}


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize(
    ("select", "order"),
    [
        ("p.* AS *", "c60 DESC"),  # the output may have a c60, and has none
        ("c60, c60 AS p.a", "p.a"),  # the output's own comes first
        ("{c60} AS *", "p.b"),
        ("c6*", "p.b"),
        ("rowName() AS n", "c60 * -1"),
    ],
)
def test_order_by_what_the_output_lacks(wide: Client, source: str, select: str, order: str) -> None:
    rows = wide.query(f"SELECT {select} FROM {source} ORDER BY {order}")[1:]
    ascending = [f"r{i}" for i in range(6)]
    assert [row[0] for row in rows] == (ascending if order == "p.a" else ascending[::-1])


def test_aggregates_over_chosen_columns(wide: Client) -> None:
    query = "SELECT count({COLUMN EXPR (WHERE rowCount() = 6)}) AS *, sum({c60, p.a}) AS s FROM wide"
    (row,) = found(wide, query).values()
    assert row == {c: 6 for c, n in COUNTS.items() if n == 6} | {"s.c60": 900, "s.p.a": 15}


def test_when_and_group(wide: Client) -> None:
    query = (
        "SELECT COLUMN EXPR (WHERE rowCount() = 6) FROM wide WHEN value_timestamp() > TIMESTAMP 5 ORDER BY rowName()"
    )
    assert found(wide, query) == chosen(lambda c, v: COUNTS[c] == 6)
    query = "SELECT COLUMN EXPR (WHERE rowCount() = 6) FROM wide WHEN value_timestamp() < TIMESTAMP 5"
    assert found(wide, query) == {name: {} for name in ROWS}


@pytest.mark.parametrize(
    ("query", "unknown"),
    [
        ("SELECT nosuch.* FROM wide", "nosuch"),
        ("SELECT w.*, v.* FROM wide AS w", "v"),
        ("SELECT nosuch.* FROM wide AS w JOIN wide AS v ON w.c0 = v.c0", "nosuch"),
    ],
)
def test_unknown_tables_of_wildcards(wide: Client, query: str, unknown: str) -> None:
    answer = wide.get_json("/v1/query", {"q": query})
    assert (answer.status_code, answer.json()["error"]) == (400, f"Unknown dataset {unknown}")


def test_known_beginnings_of_wildcards(wide: Client) -> None:
    assert wide.query("SELECT p.* FROM wide WHERE rowName() = 'r2'") == [["_rowName", "p.a", "p.b"], ["r2", 2, -2]]
    assert wide.query("SELECT p.c.* FROM wide WHERE rowName() = 'r2'") == [["_rowName"], ["r2"]]
