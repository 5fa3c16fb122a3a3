"""Sparse datasets that get cells of another kind while a query of them is on its way."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from server.declarations import QueryResult
from server.entities.appliers import Applier, read_input
from server.errors import Vanished
from server.transfer.results import named_rows
from tests.inprocess import InProcess, in_process

CHANGES: dict[str, list[Any]] = {
    "a text where numbers were": ["x", "text", 5],
    "a second value of a cell": ["x", 3, 9],
    "a null": ["x", None, 5],
    "a further column": ["z", 1, 5],
}
QUERIES = {
    "a few rows": "SELECT x FROM s ORDER BY rowName() LIMIT 10",
    "many rows": "SELECT x FROM s",
    "whole rows": "SELECT * FROM s",
    "folded": "SELECT count(*) AS n, max(x) AS most FROM s",
    "joined": "SELECT a.x AS x FROM s AS a JOIN s AS b ON a.rowName() = b.rowName()",
    "transposed": "SELECT * FROM transpose(s)",
}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcess]:
    with in_process(tmp_path_factory.mktemp("changing")) as server:
        yield server


@pytest.fixture
def server(running: InProcess) -> InProcess:
    running.must("PUT", "/v1/datasets/s", {"type": "sparse.mutable"})
    record(running, "r1", ["x", 1, 5])
    record(running, "r2", ["x", 2, 5])
    return running


def record(server: InProcess, row: str, cell: list[Any]) -> None:
    server.must("POST", "/v1/datasets/s/rows", {"rowName": row, "columns": [cell]})
    server.must("POST", "/v1/datasets/s/commit")
    server.must("GET", "/v1/datasets/s")  # whose status folds the journal


def refuse(*arguments: Any) -> None:
    raise OSError("the disk fails")


def read(result: QueryResult) -> list[Any]:
    return sorted(
        (name, sorted((str(cell.path), repr(cell.value), cell.timestamp) for cell in cells))
        for name, cells in named_rows(result)
    )


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize("kept", [False, True])
def test_a_query_finds_what_was_committed_after_it_was_compiled(
    server: InProcess, query: str, change: str, kept: bool
) -> None:
    if kept:
        read(server.engine.query(QUERIES[query], timestamps=True))
    result = server.engine.query(QUERIES[query], timestamps=True)
    record(server, "r2" if change == "a second value of a cell" else "r3", CHANGES[change])
    found = read(result)
    assert found == read(server.engine.query(QUERIES[query], timestamps=True))
    assert found == read(server.engine.query(f"{QUERIES[query]} ", timestamps=True))


def test_who_was_told_the_columns_is_not_given_others(server: InProcess) -> None:
    result = server.engine.query("SELECT x FROM s")
    assert [column.kind.name for column in result.type.columns] == ["INTEGER"]
    record(server, "r3", ["x", "text", 5])
    with pytest.raises(Vanished, match="ask again"):
        read(result)
    assert read(server.engine.query("SELECT count(*) AS n FROM s"))


def test_a_function_finds_what_was_committed_after_it_was_bound(server: InProcess) -> None:
    params = {"query": "SELECT x FROM s WHERE rowName() = $row"}
    server.must("PUT", "/v1/functions/f", {"type": "sql.query", "params": params})
    function = server.engine.catalog.function("f")
    applier = Applier(function, ThreadPoolExecutor(1))
    assert value(applier, "r1") == 1
    record(server, "r3", ["x", "text", 5])
    assert value(applier, "r3") == "text"


def value(applier: Applier, row: str) -> Any:
    [found] = applier.apply_many([read_input({"row": row})])
    [(path, (atom, _))] = found
    assert path == ("x",)
    return atom


def test_a_commit_that_fails_leaves_queries_as_they_are(server: InProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    result = server.engine.query("SELECT x FROM s")
    with monkeypatch.context() as patched:
        patched.setattr("server.storage.cells.write_meta", refuse)
        server.must("POST", "/v1/datasets/s/rows", {"rowName": "r3", "columns": [["x", "text", 5]]})
        server.must("POST", "/v1/datasets/s/commit")
        assert server.ask("GET", "/v1/datasets/s")[0] == 500
        assert len(read(result)) == 2
    assert len(read(server.engine.query("SELECT x FROM s"))) == 3
