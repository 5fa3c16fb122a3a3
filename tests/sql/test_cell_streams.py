"""Open rows of sparse datasets that leave cell by cell are the rows that lists of cells would have been."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from server.sql import cell_streams, cells
from server.sql.parser import parse_statement
from server.sql.plan import Result
from server.values.cells import Cell, cells_of
from tests.inprocess import InProcess, in_process

QUERIES = [
    "SELECT * FROM d",
    "SELECT {*} AS features, n FROM d",
    "SELECT {* EXCLUDING (a)} AS f.g FROM d",
    "SELECT {b*} AS f FROM d WHERE a > 3",
    "SELECT * FROM d WHERE rowName() = 'r7'",
    "SELECT * FROM d LIMIT 1",
    "SELECT {b*} AS f FROM d LIMIT 5",
    "SELECT * FROM d ORDER BY a DESC, rowName() LIMIT 150 OFFSET 3",
    "SELECT * FROM d WHERE FALSE",
    "SELECT zz* FROM d",
    "SELECT COLUMN EXPR (WHERE rowCount() > 3) FROM d",
    "SELECT * FROM transpose(d)",
    "SELECT * NAMED rowName() + '!' FROM d",
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcess]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(cells, "PIVOT_COLUMNS", 0)
        with in_process(tmp_path_factory.mktemp("streamed") / "data") as server:
            server.must("PUT", "/v1/datasets/d", {"type": "sparse.mutable"})
            server.must("POST", "/v1/datasets/d/multirows", list(_rows()))
            server.must("POST", "/v1/datasets/d/commit")
            yield server


def _rows() -> Iterator[list]:
    for row in range(200):
        cells = [["a", row % 7, row], ["bc", row / 4, "2020-01-01T00:00:00Z"]]
        if row % 3 == 0:
            cells += [["b", "é" * (row % 5), 5], ["b.x", None, 6], ["", row, 7]]
        if row % 5 == 0:
            cells += [["a", "text", 8], ["a", 2**62 + row, 9], ["c", {"ts": "2021-01-01T00:00:00Z"}, 10]]
        if row % 11 == 0:
            cells += [["c", {"interval": "3D"}, 1], ["c", 2**63 + row, 1], ["d.e", {"blob": ["x"]}, 1], ["n", -2.5, 1]]
        yield [f"r{row}", cells if row != 7 else []]


def answers(result: Result) -> list[tuple[str, object, list[Cell]]]:
    found = []
    for batch in result.batches():
        rests = cells_of(batch.rows.rest)
        columns = [values.to_pylist() for values in batch.rows.values]
        for at, name in enumerate(batch.names.to_pylist()):
            cells = sorted(rests[at], key=lambda cell: (cell.path, cell.timestamp, repr(cell.value)))
            found.append((name, [column[at] for column in columns], cells))
    return found


@pytest.mark.parametrize("piece", [1 << 20, 10])
@pytest.mark.parametrize("query", QUERIES)
def test_a_stream_gives_what_lists_give(
    server: InProcess, monkeypatch: pytest.MonkeyPatch, query: str, piece: int
) -> None:
    monkeypatch.setattr(cell_streams, "_PIECE", piece)
    result = server.engine.query(parse_statement(query), timestamps=True)
    stream = result.plan.stream
    assert stream is not None
    result.plan.stream = None
    lists = answers(result)
    result.plan.stream = stream
    assert answers(result) == lists
    assert answers(result) == lists  # a reader that was used once reads again


def test_the_plan_shows_what_runs(server: InProcess) -> None:
    shown = server.must("GET", "/v1/query/plan?q=SELECT%20*%20FROM%20d")
    rows, names, cells = shown["sql"].split(";\n")
    assert "AS line" in rows
    assert "list(" not in shown["sql"]
    assert "k.name" in names
    assert "ORDER BY" in cells
    assert "streamed_lines" in shown["plan"]
    shown = server.must("GET", "/v1/query/plan?q=SELECT%20b*%20FROM%20d%20LIMIT%201")
    assert [" k WHERE " in statement for statement in shown["sql"].split(";\n")] == [False, True, False]
