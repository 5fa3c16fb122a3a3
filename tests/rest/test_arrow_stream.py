"""Arrow streams hold every kind of value, and tell what they hold."""

from __future__ import annotations

import math
from typing import Any

import pyarrow as pa
import pytest

from server.values.atoms import Interval, PathValue, Timestamp
from server.values.cells import cells_of
from tests.conftest import Client
from tests.sql.test_queries import load

ARROW = {"accept": "application/vnd.apache.arrow.stream"}


@pytest.fixture(scope="module")
def loaded(client: Client) -> Client:
    load(client)
    return client


def streamed(client: Client, query: str) -> pa.Table:
    answer = client.get("/v1/query", params={"q": query}, headers=ARROW)
    assert answer.status_code == 200, answer.text
    return pa.ipc.open_stream(answer.content).read_all()


@pytest.mark.parametrize(
    ("expression", "kind", "value"),
    [
        ("7", "integer", 7),
        ("1.5", "number", 1.5),
        ("inf", "number", math.inf),
        ("1 < 2", "boolean", True),
        ("18446744073709551615", "unsigned", 2**64 - 1),
        ("'é'", "string", "é"),
        ("TIMESTAMP '1970-01-01T00:00:05Z'", "timestamp", 5.0),
        ("INTERVAL '-1 month 2 day'", "interval", {"months": -1, "days": -2, "seconds": -0.0}),
        ("parse_path('a.b')", "path", "a.b"),
        ("base64_decode('AAE=')", "blob", b"\x00\x01"),
        ("NULL", "any", None),
        ("CASE x WHEN 1 THEN 'one' ELSE 2 END", "any", "one"),
    ],
)
def test_atoms(loaded: Client, expression: str, kind: str, value: Any) -> None:
    table = streamed(loaded, f"SELECT {expression} AS c FROM d WHERE rowName() = 'r1'")
    assert table.column_names == ["_rowName", "c"]
    assert table.schema.field("c").metadata == {b"mldb.kind": kind.encode()}
    assert table.column("c").to_pylist() == [value]


def test_rows_and_embeddings(loaded: Client) -> None:
    table = streamed(loaded, "SELECT {x: 1, y: {z: 'q'}} AS r, [[1, 2], [3, 4]] AS m, ['a', NULL] AS s")
    assert table.drop_columns(["_rowName"]).to_pylist() == [
        {"r.x": 1, "r.y.z": "q", "m": [1, 2, 3, 4], "s": ["a", None]}
    ]
    assert table.schema.field("m").metadata == {b"mldb.kind": b"integer", b"mldb.shape": b"2,2"}


def test_open_rows_are_cells_of_every_kind(loaded: Client) -> None:
    table = streamed(loaded, 'SELECT * FROM "all types"')
    assert table.schema.field("_rest").metadata == {b"mldb.kind": b"cells"}
    (cells,) = zip(*cells_of(table.column("_rest")), strict=True)
    found = dict(zip(table.column("_rowName").to_pylist(), (cell.value for cell in cells), strict=True))
    assert {cell.path for cell in cells} == {("k",)}
    expected = {
        "ts": Timestamp(1.0), "iv1": Interval(0, -1, 0.0), "iv2": Interval(1, 0, 0.0), "path": PathValue(("p", "q")),
        "blob": b"ab", "big": 2**64 - 1, "float": 1.5, "int": -5, "str3": "é", "null": None, "neg": -math.inf,
    }  # fmt: skip
    assert {name: found[name] for name in expected} == expected


def test_nested_rows_that_only_the_data_tell(loaded: Client) -> None:
    table = streamed(loaded, """SELECT parse_json('{"a": {"b": [1, "x"]}}') AS *, x FROM d WHERE rowName() = 'r1'""")
    assert table.column("x").to_pylist() == [1]
    (cells,) = cells_of(table.column("_rest"))
    assert [(cell.path, cell.value) for cell in cells] == [(("a", "b", "0"), 1), (("a", "b", "1"), "x")]


def test_multiple_values_keep_their_times(loaded: Client) -> None:
    table = streamed(loaded, "SELECT v FROM multi WHERE rowName() = 'm'")
    (cells,) = cells_of(table.column("_rest"))
    assert [(cell.value, cell.timestamp) for cell in cells] == [(1, 0.0), (5, 10.0), (3, 20.0)]


@pytest.mark.parametrize(
    "query", ["SELECT x, s FROM d", "SELECT [x, 1] AS e, tokenize(s) AS * FROM d", "SELECT k FROM mixed"]
)
def test_a_result_without_rows_has_the_same_columns(loaded: Client, query: str) -> None:
    full, empty = streamed(loaded, query), streamed(loaded, f"{query} LIMIT 0")
    assert (len(full) > 0, len(empty)) == (True, 0)
    assert empty.schema.names == full.schema.names
    assert [field.metadata for field in empty.schema] == [field.metadata for field in full.schema]
