"""Rows of sparse data that have a time each are read as those of tables are, in every way that cells leave."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

import pytest

from tests.inprocess import InProcess, in_process

TYPES = {"s": "sparse.mutable", "t": "tabular"}
QUERIES = [
    "SELECT * FROM D",
    "SELECT * FROM (SELECT * FROM D ORDER BY a) LIMIT 3",
    "SELECT {*} AS x FROM D",
    "SELECT a, latest_timestamp(a) AS at FROM D",
    "SELECT a + b AS sum FROM D",
    "SELECT a FROM D WHEN value_timestamp() > TIMESTAMP '1970-01-01T00:05:00Z'",
    "SELECT max({*}) AS * FROM D",
    "SELECT latest({*}), earliest({*}) FROM D",
    "SELECT * FROM merge(D, (SELECT 5 AS n NAMED 'r3'))",
    "SELECT horizontal_latest({*}) AS newest FROM D",
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcess]:
    rows = [
        [f"r{row}", [[name, row * factor, 60 * (row * 7 % 40)] for name, factor in (("a", 1), ("b", 0.5))]]
        for row in range(40)
    ]
    with in_process(tmp_path_factory.mktemp("times")) as server:
        for id, type_ in TYPES.items():
            server.must("PUT", f"/v1/datasets/{id}", {"type": type_})
            server.must("POST", f"/v1/datasets/{id}/multirows", rows)
            server.must("POST", f"/v1/datasets/{id}/commit")
        server.must("GET", "/v1/query?q=SELECT%201%20FROM%20s")  # what is in the journal goes into the tables
        with server.engine.database.cursor() as cursor:
            (table,) = cursor.execute("SELECT table_name FROM duckdb_tables() WHERE table_name LIKE '%_int'").fetchall()
            assert cursor.execute(f'SELECT max("time") < 0 FROM {table[0]}').fetchall() == [(True,)]
        yield server


@pytest.mark.parametrize("query", QUERIES)
def test_tables_and_cells_agree(server: InProcess, query: str) -> None:
    def answer(dataset: str) -> dict[str, object]:
        found = server.must(
            "GET", f"/v1/query?format=full&q={quote(query.replace(' D', f' {dataset}').replace('(D', f'({dataset}'))}"
        )
        return {str(row["rowName"]): sorted(map(str, row["columns"])) for row in found}

    assert answer("s") == answer("t") != {}
