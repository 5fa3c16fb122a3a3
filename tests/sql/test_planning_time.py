"""The engine plans each text that our macros spell out several times as often: they must not multiply in each other.

Seconds are those of the thread that plans. What is bounded here took ten times as long before it was.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from server.sql.engine import Engine
from tests.inprocess import in_process
from tests.sql.test_queries import load
from tests.waiting import slowness

SOURCE = (
    "FROM transpose(t_d AS r) AS d WHEN value_timestamp() + CASE WHEN value_timestamp() THEN value_timestamp() "
    "WHEN 'nan' THEN value_timestamp() END NOT BETWEEN unflatten_path(k) AND d.c"
)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with in_process(tmp_path_factory.mktemp("planning")) as server:
        load(server)
        yield server.engine


@pytest.mark.parametrize(
    ("query", "seconds"),
    [
        (f"SELECT x + 1, y + 1, a + 1, b + 1, c + 1 {SOURCE}", 3.0),
        (f"SELECT 1 {SOURCE} ORDER BY x % 'x.y' % w", 2.0),
        (f"SELECT x LIKE label AS a, CASE WHEN a NOT IN (x[y], d.same / 1e400) THEN k END AS b {SOURCE}", 5.0),
    ],
)
def test_is_bounded(engine: Engine, query: str, seconds: float) -> None:
    sql = engine.query(query).plan.sql
    begun = time.thread_time()
    engine._execute(f"EXPLAIN {sql}")
    taken = time.thread_time() - begun
    assert 0.01 < taken < seconds * slowness()
