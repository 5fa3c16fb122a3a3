"""Datasets over REST: the exchanges 4 to 15 of rest-api.md §19, and what recording accepts (§5)."""

from __future__ import annotations

import pytest

PETS = (
    ("POST", "/v1/datasets/pets/rows", {"rowName": "rex", "columns": [["kind", "dog", 0], ["age", 3, 0]]}),
    ("POST", "/v1/datasets/pets/multirows", [["tom", [["kind", "cat", 0], ["age", 7, "2015-01-01T00:00:00Z"]]]]),
    ("POST", "/v1/datasets/pets/commit", None),
)


@pytest.fixture(scope="module")
def pets(client):
    answer = client.put("/v1/datasets/pets", json={"type": "sparse.mutable"})
    assert answer.status_code == 201
    assert answer.headers["location"] == "/v1/datasets/pets"
    assert answer.headers["entitypath"] == '["datasets","pets"]'
    assert answer.text == (
        '{"id":"pets","state":"ok","type":"sparse.mutable","config":{"id":"pets","type":"sparse.mutable"},'
        '"status":{"columnCount":0,"rowCount":0,"valueCount":0}}'
    )
    for verb, path, body in PETS:
        answer = client.request(verb, path, json=body)
        assert (answer.status_code, answer.content) == (200, b"")
        assert "content-type" not in answer.headers
    return client


def test_columns_and_times(pets):
    assert pets.get("/v1/datasets/pets/columns").text == '["age","kind"]\n'
    assert pets.get("/v1/datasets/pets/columns?offset=1&limit=1").text == '["kind"]\n'
    expected = '["1970-01-01T00:00:00Z","2015-01-01T00:00:00Z"]\n'
    assert pets.get("/v1/datasets/pets/timestampRange").text == expected
    status = pets.get("/v1/datasets/pets").json()["status"]
    assert (status["columnCount"], status["rowCount"]) == (2, 2)


def test_rows(pets):
    assert sorted(pets.get("/v1/datasets/pets/rows").json()) == ["rex", "tom"]
    assert len(pets.get("/v1/datasets/pets/rows?start=1&whatever=1").json()) == 1
    assert pets.get("/v1/datasets/pets/rows?limit=0").json() == []
    for query, text in (("start=-1", "start"), ("limit=-2", "limit")):
        answer = pets.get(f"/v1/datasets/pets/rows?{query}")
        assert (answer.status_code, answer.text) == (400, f"Invalid {text} for row names")
        assert answer.headers["content-type"] == "text/plain"


@pytest.mark.parametrize(
    ("route", "body", "text"),
    [
        ("rows", {"rowName": None, "columns": []}, "Unparseable JSON Path value"),
        ("rows", {"columns": []}, "Unparseable JSON Path value"),
        ("rows", {"rowName": {}, "columns": []}, "Unparseable JSON Path value"),
        ("rows", {"rowName": [], "columns": []}, "empty row names are not allowed"),
        ("rows", {"rowName": "r", "columns": [[[], 1, 0]]}, "empty column names are not allowed"),
        ("columns", {"columnName": [], "rows": []}, "empty column names are not allowed"),
        ("rows", {"rowName": "r", "columns": [["c", {"a": 1, "b": 2}, 0]]}, "Unknown JSON CellValue"),
        ("rows", {"rowName": "r", "columns": [["c", {"blob": 3}, 0]]}, "JSON blob is not an array: '{\"blob\":3}'"),
        ("rows", {"rowName": "r", "columns": [["c", {"blob": {"base64": "a"}}, 0]]}, "is no base64 text: "),
        ("rows", {"rowName": "r", "columns": [["c", {"blob": {"base64": "é+=="}}, 0]]}, "no base64 text"),
        ("rows", {"rowName": "r", "columns": [["c", {"blob": {"base64": [1]}}, 0]]}, "no base64 text"),
        ("rows", {"rowName": "r", "columns": [["c", {"blob": {"hex": "00"}}, 0]]}, "JSON blob is not an array"),
        ("rows", {"rowName": "r", "columns": [["c", {"blob": [300]}, 0]]}, "Invalid byte value 300 reading blob data"),
        ("rows", {"rowName": "r", "columns": [["c", {"blob": [None]}, 0]]}, "unknown array entry 'null' reading blob"),
        ("rows", {"rowName": "r", "columns": [["c", 1]]}, "expected a cell"),
        ("rows", {"rowName": "r", "columns": [["c", 1, "yesterday"]]}, "couldn't parse date"),
        ("multirows", {"a": 1}, "expected an array"),
        ("multirows", [["a"]], "expected an array"),
    ],
)
def test_what_cannot_be_recorded(pets, route, body, text):
    answer = pets.post(f"/v1/datasets/pets/{route}", json=body)
    assert answer.status_code == 400
    assert text in answer.json()["error"]


def test_bodies_that_are_no_json(pets):
    answer = pets.post("/v1/datasets/pets/rows", content="{'rowName': 1}")
    assert answer.json()["error"].startswith("JSON Parsing error: [")


def test_columns_record_as_rows_do(client):
    client.put("/v1/datasets/turned", json={"type": "sparse.mutable"})
    body = {"columnName": "a.b", "rows": [["r1", 1, 0], [["x", 2], 2.5, "NaD"], [3, "s", "Inf"]]}
    assert client.post("/v1/datasets/turned/columns", json=body).status_code == 200
    assert client.post("/v1/datasets/turned/multicolumns", json=[["", [["r1", None, 0]]]]).status_code == 200
    client.post("/v1/datasets/turned/commit")
    assert sorted(client.get("/v1/datasets/turned/rows").json()) == ["3", "r1", "x.2"]
    assert client.get("/v1/datasets/turned/columns").json() == ['""', "a.b"]


def test_ids_with_odd_characters(client):
    answer = client.put("/v1/datasets/a%2Fb%20c", json={"type": "sparse.mutable"})
    assert answer.headers["location"] == "/v1/datasets/a%2Fb%20c"
    assert answer.headers["entitypath"] == '["datasets","a%2Fb%20c"]'
    assert answer.json()["config"]["id"] == "a/b c"
    for _ in range(2):
        assert client.delete("/v1/datasets/a%2Fb%20c").status_code == 204


def test_overwriting_keeps_nothing_of_the_old_one(client):
    for _ in range(2):
        assert client.put("/v1/datasets/twice", json={"type": "sparse.mutable"}).status_code == 201
        client.post("/v1/datasets/twice/rows", json={"rowName": "r", "columns": [["c", 1, 0]]})
        client.post("/v1/datasets/twice/commit")
        assert client.get("/v1/datasets/twice").json()["status"]["valueCount"] == 1


def test_a_failed_overwrite_leaves_the_old_one_in_service(client):
    client.put("/v1/datasets/old", json={"type": "sparse.mutable"})
    client.post("/v1/datasets/old/rows", json={"rowName": "r", "columns": [["c", 1, 0]]})
    client.post("/v1/datasets/old/commit")
    assert client.put("/v1/datasets/old", json={"type": "nope"}).status_code == 400
    assert client.get("/v1/datasets/old").json()["state"] == "error"
    assert client.get("/v1/datasets/old/columns").json() == ["c"]
    assert client.put("/v1/datasets/old", json={"type": "sparse.mutable"}).status_code == 201
    assert client.get("/v1/datasets/old").json()["state"] == "ok"


def test_a_query_sees_each_small_commit(client):
    """The compiled query is cached; commits that wait in the journal count all the same."""
    client.put("/v1/datasets/steps", json={"type": "sparse.mutable"})
    query = {"q": "SELECT count(*), max(x) FROM steps", "format": "table", "headers": "false", "rowNames": "false"}
    for number in range(1, 6):
        row = {"rowName": f"r{number}", "columns": [["x", number, 0]]}
        assert client.post("/v1/datasets/steps/rows", json=row).status_code == 200
        assert client.post("/v1/datasets/steps/commit").status_code == 200
        for _ in range(2):
            assert client.get("/v1/query", params=query).json() == [[number, number]]
        assert client.get("/v1/datasets/steps").json()["status"]["valueCount"] == number
