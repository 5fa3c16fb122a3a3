"""Functions on Arrow batches as DuckDB functions: they are there for as long as something calls them, and no longer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from server.sql import engine
from tests.inprocess import InProcess, in_process


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[InProcess]:
    monkeypatch.setattr(engine, "CACHED_PLANS", 3)
    with in_process(tmp_path / "data") as server:
        server.must("PUT", "/v1/functions/stem", {"type": "stemmer", "params": {"language": "english"}})
        yield server


def stemmed(server: InProcess, number: int) -> Any:
    query = f"SELECT stem({{words: {{{number} AS potatoes}}}}) AS *"
    return server.must("GET", "/v1/query", {"q": query, "format": "table"})


def defined(server: InProcess) -> int:
    with server.engine.database.cursor() as cursor:
        names = cursor.execute("SELECT function_name FROM duckdb_functions()").fetchall()
    return sum(name.startswith("f_") for (name,) in names)


def test_what_is_used_all_the_time_outlives_all_others(server: InProcess) -> None:
    expression = {"type": "sql.expression", "params": {"expression": "stem({words: {*}}) AS *"}}
    server.must("PUT", "/v1/functions/stemmed", expression)
    for number in range(60):
        stemmed(server, number)
        if number % 2 == 0:
            assert stemmed(server, 5000)[1] == ["result", 5000]
    applied = server.must("GET", "/v1/functions/stemmed/application", {"input": {"potatoes": 1}})
    assert applied == {"output": {"words": [["potato", [1, "-Inf"]]]}}


def test_functions_go_with_the_plans_that_call_them(server: InProcess) -> None:
    for number in range(20):
        stemmed(server, number)
    assert defined(server) <= 5


def test_a_change_of_the_catalogue_frees_what_older_plans_called(server: InProcess) -> None:
    for number in range(3):
        stemmed(server, number)
    server.must("PUT", "/v1/datasets/d", {"type": "sparse.mutable"})
    stemmed(server, 3)  # takes the place of the older plans
    stemmed(server, 4)  # removes what they called
    assert defined(server) <= 2
