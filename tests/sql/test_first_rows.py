"""ORDER BY with LIMIT over large tables: the rows that may be first are found by the key before ties are broken."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.sql import relations
from tests.effort import cases
from tests.inprocess import InProcess, in_process

numbers = st.integers(-3, 3) | st.none()
rows = st.lists(st.tuples(numbers, st.floats(-2, 2, width=16) | st.none(), st.sampled_from("abé") | st.none()))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcess]:
    with in_process(tmp_path_factory.mktemp("first")) as server:
        yield server


def answer(server: InProcess, query: str) -> Any:
    return server.must("GET", "/v1/query", {"q": query, "format": "table"})


def looks_twice(server: InProcess, query: str) -> bool:
    """Whether the last of the first rows' keys is found before the rows."""
    sql = server.must("GET", f"/v1/query/plan?q={quote(query)}")["sql"]
    return "(SELECT min(" in sql or "(SELECT max(" in sql


@settings(max_examples=cases(40))
@given(
    given_rows=rows,
    key=st.sampled_from("ixs"),
    way=st.sampled_from(["ASC", "DESC"]),
    limit=st.integers(0, 6),
    offset=st.integers(0, 3),
    where=st.sampled_from(["", "WHERE i >= 0", "WHERE x < 1 OR s IN ('a', 'é')", "WHERE i > 9"]),
)
def test_the_same_rows_as_by_sorting_all(server, given_rows, key, way, limit, offset, where):
    server.must("PUT", "/v1/datasets/t", {"type": "tabular"})
    cells = [
        [f"r{number}", [[name, value, 0] for name, value in zip("ixs", row, strict=True)]]
        for number, row in enumerate([(0, 0.5, "a"), *given_rows])
    ]
    server.must("POST", "/v1/datasets/t/multirows", cells)
    server.must("POST", "/v1/datasets/t/commit")
    query = f"SELECT * FROM t {where} ORDER BY {key} {way} LIMIT {limit} OFFSET {offset}"
    every = answer(server, query)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(relations, "MANY_ROWS", 0)
        patch.setattr(relations, "LEADING_SHARE", 1)
        assert looks_twice(server, f"{query} -- twice") == (limit + offset < len(cells))
        assert answer(server, f"{query} -- twice") == every


def test_a_small_table_is_sorted(server):
    server.must("PUT", "/v1/datasets/small", {"type": "tabular"})
    server.must("POST", "/v1/datasets/small/multirows", [["r", [["i", 1, 0]]]])
    server.must("POST", "/v1/datasets/small/commit")
    assert not looks_twice(server, "SELECT * FROM small ORDER BY i LIMIT 1")


@pytest.mark.parametrize(("limit", "twice"), [(1, True), (2, False)])
def test_more_rows_than_an_eighth_are_found_by_sorting_all(server, monkeypatch, limit, twice):
    monkeypatch.setattr(relations, "MANY_ROWS", 0)
    server.must("PUT", "/v1/datasets/nine", {"type": "tabular"})
    server.must("POST", "/v1/datasets/nine/multirows", [[f"r{i}", [["i", i, 0]]] for i in range(9)])
    server.must("POST", "/v1/datasets/nine/commit")
    assert looks_twice(server, f"SELECT * FROM nine ORDER BY i LIMIT {limit}") == twice


def test_more_rows_than_there_are(server, monkeypatch):
    monkeypatch.setattr(relations, "MANY_ROWS", 0)
    server.must("PUT", "/v1/datasets/few", {"type": "tabular"})
    server.must("POST", "/v1/datasets/few/multirows", [[f"r{i}", [["i", i, 0]]] for i in range(3)])
    server.must("POST", "/v1/datasets/few/commit")
    assert answer(server, f"SELECT i FROM few ORDER BY i LIMIT {2**64}")[1:] == [["r0", 0], ["r1", 1], ["r2", 2]]
    assert answer(server, f"SELECT i FROM few ORDER BY i LIMIT {2**64} OFFSET {2**64}")[1:] == []


def test_rows_of_a_stored_table_are_not_counted_again(server):
    server.must("PUT", "/v1/datasets/three", {"type": "tabular"})
    server.must("POST", "/v1/datasets/three/multirows", [[f"r{i}", [["i", i, 0]]] for i in range(3)])
    server.must("POST", "/v1/datasets/three/commit")
    counted = {
        "SELECT count(*) AS n FROM three": [3],
        "SELECT count(*) * 2 AS n FROM three ORDER BY count(*)": [6],
        "SELECT count(*) AS n FROM three LIMIT 0": [],
        "SELECT count(*) AS n FROM three WHERE i > 0": [2],
        "SELECT count(*) AS n FROM three GROUP BY i % 2": [2, 1],
        "SELECT count(*) AS n FROM (SELECT * FROM three LIMIT 2)": [2],
        "SELECT count(*) AS n FROM sample(three, {rows: 2})": [2],
    }
    for query, expected in counted.items():
        assert [row[1] for row in answer(server, query)[1:]] == expected, query
    plan = server.must("GET", f"/v1/query/plan?q={quote('SELECT count(*) AS n FROM three')}")
    assert "count" not in plan["sql"]


@pytest.mark.parametrize(
    "query", ["SELECT * FROM merge(many, many)", "SELECT * FROM many WHEN value_timestamp() < TIMESTAMP 5"]
)
def test_whether_columns_hold_null_is_asked_of_all_at_once(server, monkeypatch, query):
    server.must("PUT", "/v1/datasets/many", {"type": "tabular"})
    cells = [[f"c{i}", None if i == 7 else i, 0] for i in range(300)]
    server.must("POST", "/v1/datasets/many/multirows", [["r", cells]])
    server.must("POST", "/v1/datasets/many/commit")
    asked = []
    execute = server.engine._execute
    monkeypatch.setattr(server.engine, "_execute", lambda sql: asked.append(sql) or execute(sql))
    rows = answer(server, query)
    assert rows[1][1:] == [None if i == 7 else i for i in range(300)]
    assert 1 <= len(asked) <= 2  # once for each relation
