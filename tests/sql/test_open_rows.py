"""Every query of the fixtures over rows that are open, as those of thousands of columns: the answers are the same."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from server.sql import sparse
from tests.inprocess import InProcess, in_process
from tests.sql.test_queries import blocks, check, load


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcess]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sparse, "PIVOT_COLUMNS", 0)
        with in_process(tmp_path_factory.mktemp("opened") / "data") as server:
            load(server)
            yield server


def test_rows_are_open(opened: InProcess) -> None:
    assert opened.must("GET", "/v1/query/plan?q=SELECT%20*%20FROM%20d")["open"]


@pytest.mark.parametrize(("query", "marker", "answer"), blocks())
def test_query(opened: InProcess, query: str, marker: str, answer: str) -> None:
    check(opened, query, marker, answer)
