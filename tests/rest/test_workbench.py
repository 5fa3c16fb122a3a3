"""What the query editor asks for: the dialect, how a query is compiled, and results as files."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime

import pyarrow as pa
import pytest
from pyarrow import parquet

ROWS = [["ä", [["x", 1, 0], ["name", 'say "hi",\n', 0]]], ["b", [["x", 2.5, 0], ["mixed", "text", 0]]]]
QUERY = "SELECT x, name FROM files ORDER BY rowName()"


@pytest.fixture(scope="module", autouse=True)
def files(client):
    client.put("/v1/datasets/files", json={"type": "sparse.mutable"})
    client.post("/v1/datasets/files/multirows", json=ROWS)
    client.post("/v1/datasets/files/commit")


def export(client, q, format):
    answer = client.get("/v1/query/export", params={"q": q, "format": format})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-disposition"] == f'attachment; filename="result.{format}"'
    return answer.content


def test_the_dialect_has_signatures(client):
    functions = {one["name"]: one for one in client.get("/v1/dialect").json()["functions"]}
    assert functions["sqrt"]["signature"].startswith("sqrt(")
    assert all(one["summary"] for one in functions.values())


def test_a_plan_compiles_without_running(client):
    shown = client.get("/v1/query/plan", params={"q": QUERY}).json()
    assert "SELECT" in shown["sql"]
    assert shown["plan"]
    assert shown["columns"] == ["x", "name"]


def test_a_check_tells_where_the_error_is(client):
    assert client.get("/v1/query/check", params={"q": QUERY}).json() == {"error": None}
    error = client.get("/v1/query/check", params={"q": "SELECT x\nFROM files WHERE +"}).json()["error"]
    assert (error["details"]["line"], error["details"]["offset"]) == (2, 27)


def test_csv_is_read_back_as_it_was(client):
    rows = list(csv.DictReader(io.StringIO(export(client, QUERY, "csv").decode())))
    assert [row["_rowName"] for row in rows] == ["b", "ä"]
    assert rows[1]["name"] == 'say "hi",\n'
    assert rows[0]["name"] == ""


@pytest.mark.parametrize(
    "q",
    [
        QUERY,
        "SELECT * FROM files",
        'SELECT parse_json(\'{"a": [1, {"b": 2}]}\') AS *',
        "SELECT x FROM files WHERE x > 9",
    ],
)
def test_every_result_fits_into_every_file(client, q):
    wanted = len(client.query(q)) - 1
    assert parquet.read_table(io.BytesIO(export(client, q, "parquet"))).num_rows == wanted
    assert pa.ipc.open_stream(export(client, q, "arrow")).read_all().num_rows == wanted
    assert len(list(csv.reader(io.StringIO(export(client, q, "csv").decode())))) == wanted + 1
    assert export(client, q, "json").startswith(b"[")


DATED = "SELECT CAST('2020-01-02T03:04:05Z' AS timestamp) AS at, true AS yes, 1 AS n"


def test_files_hold_dates_as_dates(client):
    assert export(client, DATED, "csv") == b"_rowName,at,yes,n\nresult,2020-01-02T03:04:05Z,1,1\n"
    table = parquet.read_table(io.BytesIO(export(client, DATED, "parquet")))
    assert table["at"].to_pylist() == [datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC)]
    assert table["yes"].to_pylist() == [True]


def test_columns_that_show_with_the_rows_are_columns_of_the_file(client):
    q = "SELECT tokenize(name, {splitChars: ' ,\"\n'}) AS *, x FROM files ORDER BY rowName()"
    rows = list(csv.DictReader(io.StringIO(export(client, q, "csv").decode())))
    assert rows == [
        {"_rowName": "b", "x": "2.5", "say": "", "hi": ""},
        {"_rowName": "ä", "x": "1", "say": "1", "hi": "1"},
    ]
    table = parquet.read_table(io.BytesIO(export(client, q, "parquet")))
    assert table.select(["say", "x"]).to_pydict() == {"say": [None, 1], "x": [2.5, 1.0]}
    mixed = "SELECT parse_json(name) AS * FROM (SELECT '{\"a\": 1}' AS name)"
    assert parquet.read_table(io.BytesIO(export(client, mixed, "parquet"))).to_pydict() == {
        "_rowName": ["result"],
        "a": [1],
    }


def test_other_formats_and_bad_queries_are_refused(client):
    assert "parquet" in client.get("/v1/query/export", params={"q": "SELECT 1", "format": "xls"}).json()["error"]
    assert client.get("/v1/query/export", params={"q": "SELECT nope("}).status_code == 400
