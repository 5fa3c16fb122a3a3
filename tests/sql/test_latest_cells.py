"""The LATEST filter over stored cells: the greatest time, then the smallest value (sql-dialect.md §2.4)."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from tests.inprocess import InProcess, in_process

ROWS = 60
VALUES: dict[str, list[Any]] = {
    "whole": [-3, 0, 2, 2**40],
    "number": [1, 1.5, -2.25, 1e300],
    "text": ["", "a", "é"],
    "mixed": [1, "1", 2.5, "b", None],
    "void": [None, 4],
}
SOURCES = {
    "s": "{}",
    "(SELECT * FROM s)": "{}",
    "(SELECT {*} AS x FROM s)": "x.{}",
    "s AS a JOIN (SELECT 1 AS one) AS b ON true": "a.{}",
    "s WHEN value_timestamp() < TIMESTAMP '2100-01-01'": "{}",
}
ROW = {source: "a.rowName()" if " AS a" in source else "rowName()" for source in SOURCES}
Cells = dict[str, list[tuple[Any, int]]]


def recorded() -> dict[str, Cells]:
    rng = random.Random(5)
    return {
        f"r{row}": {
            name: [(rng.choice(values), rng.randrange(3)) for _ in range(rng.randrange(4))]
            for name, values in VALUES.items()
        }
        for row in range(ROWS)
    }


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcess]:
    rows = [
        [row, [[name, value, time] for name, pairs in cells.items() for value, time in pairs]]
        for row, cells in recorded().items()
    ]
    with in_process(tmp_path_factory.mktemp("latest")) as server:
        server.must("PUT", "/v1/datasets/s", {"type": "sparse.mutable"})
        for half in (rows[::2], rows[1::2]):
            server.must("POST", "/v1/datasets/s/multirows", half)
            server.must("POST", "/v1/datasets/s/commit")
        yield server


def latest(pairs: list[tuple[Any, int]]) -> Any:
    def order(pair: tuple[Any, int]) -> tuple[Any, ...]:
        value, time = pair
        return -time, value is None, isinstance(value, str), value

    return min(pairs, key=order)[0] if pairs else None


@pytest.mark.parametrize("column", VALUES)
@pytest.mark.parametrize("source", SOURCES)
def test_an_expression_reads_the_latest_value(server: InProcess, source: str, column: str) -> None:
    name = SOURCES[source].format(column)
    query = (
        f"SELECT CASE WHEN TRUE THEN {name} END AS value, {name} IS NULL AS missing, {ROW[source]} AS row FROM {source}"
    )
    found = server.must("GET", f"/v1/query?format=aos&rowNames=false&q={quote(query)}")
    wanted = {row: latest(cells[column]) for row, cells in recorded().items()}
    assert {each["row"]: each["value"] for each in found} == wanted
    assert {each["row"]: bool(each["missing"]) for each in found} == {row: v is None for row, v in wanted.items()}
