"""``/info`` of SQL functions tells what stays true, whatever is recorded later (rest-api.md §8.4)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import Client
from tests.sql.test_queries import load

ANY = {"isConstant": False, "type": "MLDB::AnyValueInfo"}


def number(scalar: str, name: str) -> dict[str, Any]:
    return {"kind": "scalar", "scalar": scalar, "isConstant": False, "type": f"MLDB::{name}ValueInfo"}


@pytest.fixture(scope="module")
def loaded(client: Client) -> Client:
    load(client)
    return client


def told(client: Client, query: str) -> dict[str, Any]:
    """The output's known columns, by name."""
    assert client.put("/v1/functions/told", json={"type": "sql.query", "params": {"query": query}}).status_code == 201
    info = client.get("/v1/functions/told/info").json()
    assert client.get("/v1/functions/told").json()["status"]["info"] == info
    assert client.get("/v1/functions/told/application", params={"input": "{}"}).status_code == 200
    return {column["columnName"]: column["valueInfo"] for column in info["output"]["knownColumns"]}


@pytest.mark.parametrize(
    ("query", "columns"),
    [
        ("SELECT x, y, s FROM d", {"x": ANY, "y": ANY, "s": ANY}),
        ("SELECT * FROM d", {"x": ANY, "y": ANY, "s": ANY}),
        ("SELECT v, w FROM multi", {"v": ANY, "w": ANY}),
        ("SELECT x FROM t_d", {"x": number("integer", "Integer")}),
        ("SELECT avg(x) AS mean, count(*) AS n FROM d",
         {"mean": number("float", "Float64"), "n": number("integer", "Integer")}),
        ("SELECT d.x, e.v FROM d JOIN e ON d.x = e.id", {"d": None, "e": None}),
        ("SELECT x FROM (SELECT x FROM d WHERE x = 1)", {"x": ANY}),
    ],
)  # fmt: skip
def test_kinds_of_sparse_columns_are_not_promised(loaded: Client, query: str, columns: dict[str, Any]) -> None:
    found = told(loaded, query)
    assert set(found) == set(columns)
    assert {name: found[name] for name, info in columns.items() if info is not None} == {
        name: info for name, info in columns.items() if info is not None
    }


def test_the_answer_holds_when_other_values_are_recorded(client: Client) -> None:
    client.put("/v1/datasets/growing", json={"type": "sparse.mutable"})
    client.post("/v1/datasets/growing/rows", json={"rowName": "a", "columns": [["x", 1, 0]]})
    client.post("/v1/datasets/growing/commit")
    before = told(client, "SELECT x FROM growing ORDER BY rowName() DESC")
    client.post("/v1/datasets/growing/rows", json={"rowName": "b", "columns": [["x", "text", 0]]})
    client.post("/v1/datasets/growing/commit")
    assert told(client, "SELECT x FROM growing ORDER BY rowName() DESC") == before == {"x": ANY}
    assert client.get("/v1/functions/told/application", params={"input": "{}"}).json() == {"output": {"x": "text"}}


def test_an_expression_that_calls_a_query_promises_as_little(loaded: Client) -> None:
    loaded.put("/v1/functions/inner", json={"type": "sql.query", "params": {"query": "SELECT * FROM d WHERE x = $x"}})
    loaded.put("/v1/functions/outer", json={"type": "sql.expression", "params": {"expression": "inner({*}), 1 AS one"}})
    output = loaded.get("/v1/functions/outer/info").json()["output"]
    assert (output["hasUnknownColumns"], output["hasUnknownColumnsRecursive"]) == (False, True)
    row, one = output["knownColumns"]
    assert row == {
        "columnName": "inner({*})",
        "valueInfo": {
            "kind": "row",
            "isConstant": False,
            "hasUnknownColumns": True,
            "hasUnknownColumnsRecursive": True,
            "knownColumns": [{"columnName": name, "valueInfo": ANY, "sparsity": "sparse"} for name in ("s", "x", "y")],
            "type": "MLDB::RowValueInfo",
        },
        "sparsity": "dense",
    }
    assert one == {"columnName": "one", "valueInfo": number("integer", "Integer"), "sparsity": "dense"}
    loaded.delete("/v1/functions/outer")
    loaded.delete("/v1/functions/inner")
