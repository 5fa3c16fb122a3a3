"""The exchanges 28 to 47 of rest-api.md §19: queries and functions, byte by byte."""

from __future__ import annotations

import io

import pyarrow as pa
import pytest

GHOST = (
    '{"details":{"collection":"datasets","entry":"ghost"},"error":"dataset entry \'ghost\' doesn\'t exist",'
    '"httpCode":404}\n'
)
GHOST_IN_QUERY = GHOST.replace(
    '{"collection"', r'{"caret":"SELECT * FROM ghost\n              ^^^^^","collection"'
).replace('"entry":"ghost"}', '"column":15,"entry":"ghost","length":5,"line":1,"offset":14}')


@pytest.fixture(scope="module")
def pets(client):
    client.put("/v1/datasets/pets", json={"type": "sparse.mutable"})
    rows = [["rex", [["kind", "dog", 0], ["age", 3, 0]]], ["tom", [["kind", "cat", 0], ["age", 7, "2015-01-01"]]]]
    client.post("/v1/datasets/pets/multirows", json=rows)
    assert client.post("/v1/datasets/pets/commit").status_code == 200
    return client


def test_full_and_table(pets):
    query = {"q": "SELECT * FROM pets ORDER BY rowName()"}
    assert pets.get("/v1/query", params=query).text == (
        '[{"rowName":"rex","columns":[["age",3,"1970-01-01T00:00:00Z"],["kind","dog","1970-01-01T00:00:00Z"]]},'
        '{"rowName":"tom","columns":[["age",7,"2015-01-01T00:00:00Z"],["kind","cat","1970-01-01T00:00:00Z"]]}]'
    )
    table = pets.get("/v1/query", params=query | {"format": "table", "rowHashes": "FALSE"})
    assert table.text == '[["_rowName","age","kind"],["rex",3,"dog"],["tom",7,"cat"]]'
    assert table.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("format", "text"),
    [
        ("full", '[{"rowName":"result","columns":[["n",NUMBER,"-Inf"]]}]'),
        ("table", '[["_rowName","n"],["result",NUMBER]]'),
        ("aos", '[{"_rowName":"result","n":NUMBER}]'), ("soa", '{"_rowName":["result"],"n":[NUMBER]}'),
        ("sparse", '[[["_rowName","result"],["n",NUMBER]]]'), ("atom", "NUMBER"),
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    ("number", "digits"),
    [("0.000001", "0.000001"), ("0.00000001", "1e-8"), ("1e21", "1e21"), ("-1.5e300", "-1.5e300"), ("1e8", "100000000"),
     ("0.1", "0.1"), ("0.00002", "0.00002"), ("123456789.25", "123456789.25")],
)  # fmt: skip
def test_digits_of_numbers(client, format, text, number, digits):
    answer = client.get("/v1/query", params={"q": f"SELECT {number} AS n", "format": format})
    assert answer.text == text.replace("NUMBER", digits)


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        ({"q": "SELECT count(*) FROM pets", "format": "table", "headers": False, "rowNames": False}, 200, "[[2]]"),
        ({"q": "SELECT 1 AS x", "format": "table", "headers": "False", "rowNames": "0"}, 200, "[[1]]"),
        ({"q": "SELECT 1 AS x", "format": "table", "headers": 0, "rowNames": None}, 200, '[["result",1]]'),
        ({"q": "SELECT 1 AS x", "rowNames": [1]}, 400,
         '{"error":"Attempting to interpret REST parameter value \'[1]\' as a boolean: '
         'use true, false, 1 or 0 in any letter case","httpCode":400}\n'),
        ({"q": "SELECT age FROM pets WHERE kind = 'cat'", "format": "atom"}, 200, "7"),
        ({"q": "SELECT age FROM pets", "format": "atom"}, 400,
         '{"error":"Query with atom format returning multiple rows. Consider using limit.","httpCode":400}\n'),
        ({"q": "SELECT 1", "format": "xml"}, 400, '{"error":"Unknown output format \'xml\'","httpCode":400}\n'),
        ({"q": "SELECT * FROM ghost"}, 404, GHOST_IN_QUERY),
        ({"q": "SELECT * FROM pets WHERE false"}, 200, "[]"),
        ({"q": "SELECT * FROM pets WHERE false", "format": "table"}, 200, '[["_rowName"]]'),
        ({"q": "SELECT 1 AS x", "format": "aos", "ignored": True}, 200, '[{"_rowName":"result","x":1}]'),
    ],
)  # fmt: skip
def test_bodies(pets, body, status, text):
    answer = pets.get_json("/v1/query", body)
    assert (answer.status_code, answer.text) == (status, text)


def test_redirected(pets):
    body = {"target": "/v1/query", "body": {"q": "SELECT 2 AS x", "format": "table"}}
    assert pets.post("/v1/redirect/get", json=body).text == '[["_rowName","x"],["result",2]]'


def test_parameters(pets):
    mixed = pets.request("GET", "/v1/query?q=SELECT 1", content='{"format":"table"}')
    assert mixed.json() == {"error": "You cannot mix query string and body parameters", "httpCode": 400}
    for nothing in ("null", "{}", " \n"):
        assert pets.request("GET", "/v1/query?q=SELECT 1", content=nothing).status_code == 200
    odd = pets.get("/v1/query", params={"q": "SELECT 1", "headers": "maybe"})
    assert odd.json()["error"].startswith("Attempting to interpret REST parameter value 'maybe' as a boolean")
    unknown = pets.request("GET", "/v1/query?q=SELECT 1&frmat=table", content='{"format":"table"}')
    assert unknown.json()["details"]["unknownParameters"] == [{"paramName": "frmat", "paramValue": "table"}]
    assert pets.get("/v1/query?q=SELECT+1+AS+x&format=table").text == '[["_rowName","x"],["result",1]]'


def test_arrow(pets):
    accept = {"accept": "application/vnd.apache.arrow.stream"}
    answer = pets.get("/v1/query", params={"q": "SELECT age, kind FROM pets ORDER BY age"}, headers=accept)
    assert answer.headers["content-type"] == accept["accept"]
    table = pa.ipc.open_stream(io.BytesIO(answer.content)).read_all()
    assert table.column("_rowName").to_pylist() == ["rex", "tom"]
    assert table.column("age").to_pylist() == [3, 7]


def test_looking_into_a_dataset(pets):
    assert pets.get("/v1/datasets/pets/columns/kind/valuecounts").text == '[["cat",1],["dog",1]]\n'
    assert pets.get("/v1/datasets/pets/columns/kind/values").text == '["cat","dog"]'
    query = {"select": "kind", "where": "age > 3", "format": "table"}
    assert pets.get("/v1/datasets/pets/query", params=query).text == '[["_rowName","kind"],["tom","cat"]]'


def test_functions(pets):
    created = pets.put("/v1/functions/area", json={"type": "sql.expression", "params": {"expression": "w * h AS area"}})
    assert created.status_code == 201
    assert created.text.startswith(
        '{"id":"area","state":"ok","type":"sql.expression","config":{"id":"area","type":"sql.expression",'
        '"params":{"expression":"w * h AS area"}},"status":{"expression":{"ast":'
    )
    given = {"input": '{"w":2,"h":3}'}
    assert pets.get("/v1/functions/area/application", params=given).text == '{"output":{"area":6}}'
    plain = pets.get("/v1/functions/area/application", params=given | {"outputFormat": "json"})
    assert plain.text == '{"area":6}'
    batch = {"input": {"q": {"w": 3, "h": 4}, "p": {"w": 1, "h": 2}}}
    assert pets.get_json("/v1/functions/area/batch", batch).text == '{"p":{"area":2},"q":{"area":12}}'
    assert pets.get("/v1/functions/area/details").text == "null\n"
    posted = pets.post("/v1/functions/area/application", json={"input": {}})
    assert posted.json() == {"error": "unknown resource POST /v1/functions/area/application", "httpCode": 404}


def test_builtin_names_are_taken(pets):
    answer = pets.put("/v1/functions/sqrt", json={"type": "sql.expression", "params": {"expression": "1 AS x"}})
    assert answer.status_code == 400
    assert answer.json()["error"] == "Cannot add function: MLDB already has a built-in function named sqrt"
