"""Whatever the text, a query ends in a result or in a clean error: a sample of ``tests.sql.fuzz``."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from server.sql.engine import Engine
from tests.effort import cases
from tests.inprocess import InProcess, in_process
from tests.sql.fuzz import findings
from tests.sql.test_queries import load
from tests.sql.texts import text_of

SEED = 2026
PART = cases(500)  # texts of one test
SHARE = 0.15  # of the texts that are also run


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with in_process(tmp_path_factory.mktemp("server") / "data") as server:
        load(server)
        yield server.engine


@pytest.mark.parametrize("first", range(0, 4 * PART, PART))
def test_texts(engine: Engine, first: int) -> None:
    numbers = range(first, first + PART)
    assert [(number, found) for number, found in findings(engine, SEED, numbers, SHARE) if found is not None] == []


def test_the_same_texts_for_the_same_seed() -> None:
    assert [text_of(1, number) for number in range(20)] == [text_of(1, number) for number in range(20)]
    assert len({text_of(1, number) for number in range(200)}) > 190


def test_texts_reach_far(engine: Engine) -> None:
    """Most of what is made up binds: a fuzzer whose texts all fail at once would find nothing."""
    from server.errors import MldbError

    bound = 0
    for number in range(200):
        try:
            engine.query(text_of(SEED, number))
            bound += 1
        except MldbError:
            continue
    assert bound > 80


def test_server_of_the_process(tmp_path) -> None:
    with in_process(tmp_path / "data") as server:
        assert isinstance(server, InProcess)
        assert server.ask("GET", "/v1/query", {"q": "SELECT nosuch(1)"})[0] == 400
        assert server.must("GET", "/v1/query", {"q": "SELECT 1 AS x", "format": "atom"}) == 1
