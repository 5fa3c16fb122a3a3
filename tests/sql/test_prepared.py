"""Statements that are planned once: many threads, failures, cancels, tables of any content."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import duckdb
import pyarrow as pa
import pytest
from duckdb.func import FunctionNullHandling, PythonUDFType

from server.declarations import Progress
from server.entities.progress import TaskProgress
from server.sql import tasks
from server.sql.engine import Engine
from server.sql.prepared import KEPT, Prepared
from server.sql.tasks import TASK_SQL
from server.storage.database import Database
from tests.sql.catalogs import EmptyCatalog
from tests.waiting import SOON


@pytest.fixture(scope="module")
def database() -> Iterator[Database]:
    database = Database()
    Engine(database, EmptyCatalog())  # which defines what compiled SQL calls
    yield database
    database.close()


def table(*values: float | None) -> pa.Table:
    return pa.table({"c0": pa.array(values, pa.float64())})


def test_every_run_reads_its_own_table(database: Database) -> None:
    prepared = Prepared(database, "SELECT c0 * 2 FROM given_1", "given_1")
    assert prepared.run(table(1, 2)) == [(2,), (4,)]
    assert prepared.run(table()) == []
    assert prepared.run(table(None, 3)) == [(None,), (6,)]


def test_threads_do_not_see_each_others_tables(database: Database) -> None:
    prepared = Prepared(database, "SELECT sum(c0) FROM given_2", "given_2")

    def run(number: int) -> bool:
        return prepared.run(table(*[float(number)] * 50)) == [(50.0 * number,)]

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(run, range(300)))
    assert len(prepared._idle) <= 8


def test_few_statements_are_kept_after_many_ran_at_once(database: Database) -> None:
    prepared = Prepared(database, "SELECT count(md5(range::VARCHAR)) FROM given_6, range(200000)", "given_6")
    barrier = threading.Barrier(40)

    def run(_: int) -> bool:
        barrier.wait()
        return prepared.run(table(1)) == [(200_000,)]

    with ThreadPoolExecutor(40) as pool:
        assert all(pool.map(run, range(40)))
    assert len(prepared._idle) <= KEPT
    assert prepared.run(table()) == [(0,)]


def test_a_statement_that_failed_is_not_used_again(database: Database) -> None:
    prepared = Prepared(database, "SELECT CASE WHEN c0 > 1 THEN error('too large') ELSE c0 END FROM given_3", "given_3")
    assert prepared.run(table(1)) == [(1,)]
    with pytest.raises(duckdb.Error, match="too large"):
        prepared.run(table(2))
    assert prepared._idle == []
    assert prepared.run(table(0)) == [(0,)]


def test_a_cancel_interrupts(database: Database) -> None:
    sql = "SELECT count(*) FROM given_4, range(100000) a, range(100000) b WHERE a.range + b.range = c0"
    prepared, progress = Prepared(database, sql, "given_4"), TaskProgress()
    threading.Timer(0.2, progress.cancel).start()
    begun = time.monotonic()
    with pytest.raises(duckdb.InterruptException):
        prepared.run(table(5), progress)
    assert time.monotonic() - begun < SOON


def test_slow_functions_are_given_the_task_of_the_run(database: Database) -> None:
    sql = f"SELECT s_regex_search({TASK_SQL}, 'abc' || c0, any_s('(b)\\1?c')) FROM given_5"
    prepared, progress = Prepared(database, sql, "given_5"), TaskProgress()
    assert prepared.run(table(1)) == [(True,)]
    assert prepared.run(table(1), progress) == [(True,)]
    progress.cancel()
    with suppress(duckdb.InterruptException):  # where it came first
        assert set(prepared.run(table(*range(200)), progress)) == {(None,)}  # no row was computed
    assert prepared.run(table(1)) == [(True,)]


def test_functions_of_constants_are_called_in_each_run_and_know_its_task(database: Database) -> None:
    seen: list[Progress | None] = []

    def note(numbers: pa.Array) -> pa.Array:
        seen.append(tasks.find(numbers[0].as_py()))
        return pa.array([float(len(seen))] * len(numbers))

    database.define(
        lambda connection: connection.create_function(
            "note", note, ["BIGINT"], "DOUBLE", type=PythonUDFType.ARROW, null_handling=FunctionNullHandling.SPECIAL
        )
    )
    prepared = Prepared(database, f"SELECT note({TASK_SQL}) FROM given_7", "given_7")
    given = [TaskProgress(), TaskProgress(), None]
    assert [prepared.run(table(0), task) for task in given] == [[(1,)], [(2,)], [(3,)]]
    assert seen == given
