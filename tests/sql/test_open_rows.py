"""Every query of the fixtures over rows that are open, as those of thousands of columns: the answers are the same."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

import pytest

from server.sql import cells
from tests.inprocess import InProcess, in_process
from tests.sql.test_queries import blocks, check, load


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcess]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(cells, "PIVOT_COLUMNS", 0)
        with in_process(tmp_path_factory.mktemp("opened") / "data") as server:
            load(server)
            yield server


def test_rows_are_open(opened: InProcess) -> None:
    assert opened.must("GET", "/v1/query/plan?q=SELECT%20*%20FROM%20d")["open"]


@pytest.mark.parametrize(("query", "marker", "answer"), blocks())
def test_query(opened: InProcess, query: str, marker: str, answer: str) -> None:
    check(opened, query, marker, answer)


@pytest.mark.parametrize(
    "query",
    [
        "SELECT horizontal_sum({* EXCLUDING (z)}) AS x FROM D",
        "SELECT horizontal_avg({* EXCLUDING (z)}) AS x FROM D",
        "SELECT horizontal_count({* EXCLUDING (z)}) AS x FROM D WHERE rowName() <> 'r3'",
        "SELECT horizontal_sum({b*}) AS x FROM D ORDER BY x DESC LIMIT 3",
        "SELECT sum(horizontal_sum({* EXCLUDING (z)})) AS x FROM D",
    ],
)
def test_cells_that_are_all_numbers_add_up_as_others_do(opened: InProcess, query: str) -> None:
    def answer(dataset: str) -> object:
        return opened.must("GET", f"/v1/query?format=full&q={quote(query.replace('FROM D', f'FROM {dataset}'))}")

    for dataset, beside in (("plain", []), ("mixed", [["z", "text", 7]])):
        opened.must("PUT", f"/v1/datasets/{dataset}", {"type": "sparse.mutable"})
        rows = [
            [f"r{row}", [["a", row, row], ["b", row / 4, 5], ["bc", 2**60 + row, 6][: 3 * (row % 2)], *beside]]
            for row in range(6)
        ]
        rows = [[name, [cell for cell in cells if cell]] for name, cells in [*rows, ["empty", []]]]
        opened.must("POST", f"/v1/datasets/{dataset}/multirows", rows)
        opened.must("POST", f"/v1/datasets/{dataset}/commit")
    assert answer("plain") == answer("mixed") != []
