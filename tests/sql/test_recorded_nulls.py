"""A NULL in a row of tabular data is a cell, whatever is made of the row: as where cells are stored one by one."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.conftest import Client
from tests.inprocess import InProcess, in_process

ROWS = {
    "D": [
        ["r1", [["x", 1, 0], ["y", 4, 0], ["s", "b", 0]]],
        ["r2", [["x", 2, 0], ["y", None, 0], ["s", "a", 0]]],
        ["r3", [["x", 1, 0], ["y", 6, 0], ["s", None, 0]]],
    ],
    "E": [["k1", [["id", 1, 0], ["v", "one", 0]]], ["k2", [["id", 3, 0], ["v", None, 0]]]],
}
TYPES = {"t": "tabular", "s": "sparse.mutable"}
JOIN = "D FULL JOIN E ON D.x = E.id"

QUERIES = f"""
SELECT * FROM D LEFT JOIN E ON D.x = E.id
SELECT * FROM D RIGHT JOIN E ON D.x = E.id
SELECT * FROM D JOIN E ON D.x = E.id
SELECT * FROM {JOIN}
SELECT D.* FROM {JOIN}
SELECT E.* AS * FROM {JOIN}
SELECT * AS q* FROM {JOIN}
SELECT {{*}} AS z FROM {JOIN}
SELECT * FROM (SELECT * FROM {JOIN})
SELECT * FROM (SELECT * FROM D) AS a FULL JOIN (SELECT * FROM E) AS b ON a.x = b.id
SELECT * FROM (SELECT x, y + 1 AS z FROM D) AS a FULL JOIN (SELECT id, NULL AS n FROM E) AS b ON a.x = b.id
SELECT * FROM D LEFT JOIN E ON D.x = E.id LEFT JOIN D AS g ON g.x = E.id AND g.y IS NULL
SELECT columnCount(), D.columnCount(), E.columnCount() FROM {JOIN}
SELECT count({{*}}) FROM {JOIN}
SELECT max({{*}}) FROM {JOIN}
SELECT max({{E.*}}) FROM D LEFT JOIN E ON D.x = E.id AND E.id = 3
SELECT latest({{*}}) FROM {JOIN}
SELECT COLUMN EXPR () FROM {JOIN}
SELECT COLUMN EXPR (SELECT columnName()) FROM {JOIN}
SELECT COLUMN EXPR (SELECT rowCount()) FROM {JOIN}
SELECT COLUMN EXPR (WHERE value() IS NULL) FROM {JOIN}
SELECT * FROM {JOIN} WHEN value_timestamp() < TIMESTAMP 5
SELECT print_json({{*}}) AS j FROM {JOIN}
SELECT every({{*}}) AS * FROM {JOIN}
SELECT {{D.*}} = {{E.*}} AS z FROM {JOIN}
SELECT replace_null({{*}}, 7) AS * FROM {JOIN}
SELECT * FROM transpose((SELECT * FROM D LEFT JOIN E ON D.x = E.id))
SELECT COLUMN EXPR (WHERE value() IS NULL) FROM D
SELECT COLUMN EXPR (SELECT rowCount()) FROM D
SELECT COLUMN EXPR STRUCTURED (WHERE value() IS NULL) FROM D
SELECT * FROM D
SELECT D.*, y AS z FROM D
SELECT * FROM (SELECT x, y FROM D) WHEN value_timestamp() < TIMESTAMP 5
SELECT * FROM D WHEN value_timestamp() < TIMESTAMP 5
SELECT * FROM D WHEN value_timestamp() > TIMESTAMP 5
SELECT * FROM D WHEN x = 1
SELECT sum({{*}}), max({{*}}) FROM (SELECT x, y FROM D) WHEN x = 2
SELECT * FROM merge(D, E)
SELECT * FROM merge(D, (SELECT 1 AS q, NULL AS y NAMED 'r1'))
SELECT columnCount() FROM merge(D, E)
SELECT count({{*}}), min({{*}}) FROM merge(D, E)
SELECT * FROM union(D, E)
SELECT columnCount() FROM union(D, E)
SELECT count({{*}}), min({{*}}) FROM union(D, E)
SELECT COLUMN EXPR (WHERE value() IS NULL) FROM union(D, E)
SELECT * FROM transpose(D)
SELECT columnCount() FROM transpose(D)
SELECT * FROM transpose(transpose(D))
SELECT * FROM transpose(union(D, E))
SELECT min({{*}}), max({{*}}), count({{*}}), sum({{x, y}}) FROM D
SELECT min({{*}}), count({{*}}) FROM D WHERE y IS NULL
SELECT columnCount(), horizontal_count({{*}}), horizontal_latest({{*}}) FROM D
SELECT temporal_count({{*}}), temporal_latest({{*}}) AS * FROM D
SELECT * FROM (SELECT temporal_latest({{*}}) AS * FROM D)
SELECT replace_null({{*}}, 7) AS * FROM D
SELECT {{*}} * 2 AS * FROM (SELECT x, y FROM D)
SELECT CASE WHEN x = 1 THEN {{y, s}} ELSE {{x}} END AS * FROM D
SELECT CASE WHEN x = 1 THEN {{*}} ELSE {{x, y}} END AS * FROM D
SELECT try({{*}}, {{}}) AS * FROM D
SELECT * FROM sample(D, {{rows: 3, seed: 1}})
SELECT y AS a, s AS a FROM D
SELECT first({{least: 2}}) AS * FROM D
SELECT of_join({{x: x}}) AS * FROM D
"""


@pytest.fixture(scope="module")
def loaded(client: Client) -> Client:
    for prefix, type_ in TYPES.items():
        for name, rows in ROWS.items():
            client.must("PUT", f"/v1/datasets/{prefix}{name}", {"type": type_})
            client.must("POST", f"/v1/datasets/{prefix}{name}/multirows", rows)
            client.must("POST", f"/v1/datasets/{prefix}{name}/commit")
        for name, query in {
            "first": f"SELECT * FROM {prefix}D WHERE x >= $least",
            "of_join": f"SELECT b.* FROM {prefix}D AS a LEFT JOIN {prefix}E AS b ON a.x + 1 = b.id WHERE a.x = $x",
        }.items():
            client.must("PUT", f"/v1/functions/{prefix}{name}", {"type": "sql.query", "params": {"query": query}})
    client.must("PUT", "/v1/functions/every", {"type": "sql.expression", "params": {"expression": "*"}})
    return client


def answer(client: Client, query: str, prefix: str) -> list[str]:
    """The rows of a query over the datasets of one type, without the names of these."""
    rows = client.must("GET", "/v1/query", {"q": re.sub(r"\b(D|E|first|of_join)\b", rf"{prefix}\1", query)})
    texts = [str((row["rowName"], sorted(row.get("columns", []), key=str))) for row in rows]
    return sorted(re.sub(rf"\b{prefix}(D|E|first|of_join)\b", r"\1", text) for text in texts)


@pytest.mark.parametrize("query", QUERIES.strip().splitlines())
def test_a_null_that_is_there(loaded: Client, query: str) -> None:
    assert answer(loaded, query, "t") == answer(loaded, query, "s")


WHEN = "WHEN value_timestamp() < TIMESTAMP 5"


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcess]:
    """Tabular data without any NULL, and an embedding."""
    with in_process(tmp_path_factory.mktemp("full")) as server:
        for name, type_ in {"a": "tabular", "b": "tabular", "e": "embedding"}.items():
            server.must("PUT", f"/v1/datasets/{name}", {"type": type_})
            rows = [[f"r{i}", [["x", i, 0], ["z", i / 2, 0]]] for i in range(5)]
            server.must("POST", f"/v1/datasets/{name}/multirows", rows)
            server.must("POST", f"/v1/datasets/{name}/commit")
        yield server


@pytest.mark.parametrize(
    "query",
    [
        f"SELECT * FROM a JOIN b ON a.x = b.x {WHEN}",
        f"SELECT * FROM a FULL JOIN b ON a.x = b.x {WHEN}",
        f"SELECT * FROM (SELECT x, z * 2 AS w, rowName() AS n FROM a) {WHEN}",
        f"SELECT * FROM (SELECT * FROM (SELECT x FROM a) AS f LEFT JOIN b ON f.x = b.x) {WHEN}",
        f"SELECT * FROM e {WHEN}",
        f"SELECT max({{*}}) AS * FROM a {WHEN}",
        "SELECT * FROM a LEFT JOIN e ON a.x = e.x",
        "SELECT * FROM a LEFT JOIN (SELECT x, count(*) AS n, sum(z) AS s FROM b GROUP BY x) AS g ON a.x = g.x",
        "SELECT * FROM union(a, e)",
        "SELECT COLUMN EXPR (WHERE value() > 1) FROM a",
    ],
)
def test_columns_that_hold_no_null_stay_columns(full: InProcess, query: str) -> None:
    assert not full.engine.query(query).type.open


def test_columns_that_hold_nulls_are_known(loaded: Client) -> None:
    """Where rows go into a table of known columns they are among these, whatever the first row has."""
    query = "SELECT * FROM tE LEFT JOIN tD ON tE.id = tD.x + 2 AND tD.y IS NULL ORDER BY tE.id"
    target = {"id": "joined_nulls", "type": "tabular", "params": {"unknownColumns": "error"}}
    params = {"inputData": query, "outputDataset": target, "runOnCreation": True}
    loaded.must("PUT", "/v1/procedures/joined_nulls", {"type": "transform", "params": params})
    columns = loaded.must("GET", "/v1/datasets/joined_nulls/columns")
    assert sorted(columns) == ["tD.s", "tD.x", "tD.y", "tE.id", "tE.v"]
