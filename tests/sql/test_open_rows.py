"""Every query of the fixtures over rows that are open, as those of thousands of columns: the answers are the same."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import Client, RunningServer
from tests.sql.test_queries import blocks, check, load


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    running = RunningServer(tmp_path_factory.mktemp("opened") / "data", module="tests.sql.open_server")
    with running.client() as client:
        load(client)
        yield client
    running.stop()


def test_rows_are_open(opened: Client) -> None:
    assert opened.get("/v1/query/plan", params={"q": "SELECT * FROM d"}).json()["open"]


@pytest.mark.parametrize(("query", "marker", "answer"), blocks())
def test_query(opened: Client, query: str, marker: str, answer: str) -> None:
    check(opened, query, marker, answer)
