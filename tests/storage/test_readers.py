"""Readers: statements that stay planned answer as those that are planned anew."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import duckdb
import pytest

from server.storage.readers import _STATEMENTS


def again(database, sql: str) -> list[tuple]:
    with database.readers.reader(None) as reader:
        return reader.fetch(sql, again=True)


def execute(database, sql: str) -> None:
    with database.cursor() as cursor:
        cursor.execute(sql)


def test_a_planned_statement_sees_what_was_written_since(database):
    execute(database, "CREATE TABLE t AS SELECT 1 AS x")
    assert again(database, "SELECT sum(x) FROM t") == [(1,)]
    execute(database, "INSERT INTO t VALUES (2)")
    assert again(database, "SELECT sum(x) FROM t") == [(3,)]


def test_a_planned_statement_sees_another_table_of_the_same_name(database):
    execute(database, "CREATE TABLE t AS SELECT 1 AS x")
    assert again(database, "SELECT x FROM t") == [(1,)]
    execute(database, "DROP TABLE t")
    with pytest.raises(duckdb.CatalogException):
        again(database, "SELECT x FROM t")
    execute(database, "CREATE TABLE t AS SELECT 'é' AS x, 5 AS y")
    assert again(database, "SELECT x FROM t") == [("é",)]


def test_more_statements_than_are_kept(database):
    wanted = range(_STATEMENTS * 3)
    for _ in range(2):
        assert [again(database, f"SELECT {number}")[0][0] for number in wanted] == list(wanted)


def test_a_failure_leaves_the_next_one_unharmed(database):
    execute(database, "CREATE TABLE t AS SELECT 'a' AS x")
    sql = "SELECT x::INTEGER FROM t"
    for _ in range(3):
        with pytest.raises(duckdb.ConversionException):
            again(database, sql)
    execute(database, "UPDATE t SET x = '7'")
    assert again(database, sql) == [(7,)]


def test_many_threads(database):
    execute(database, "CREATE TABLE t AS SELECT range AS x FROM range(1000)")
    asked = [f"SELECT count(*) FROM t WHERE x < {number % 50}" for number in range(400)]
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda sql: again(database, sql)[0][0], asked))
    assert found == [number % 50 for number in range(400)]
