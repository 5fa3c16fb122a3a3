"""Statements that are planned once and run over one small table after the other.

Planning is most of what a small statement costs. DuckDB plans a statement anew by itself when a table it reads has
changed its shape.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pyarrow as pa

from server.declarations import Progress
from server.sql.tasks import TASK_SQL, found_by_number, planned_for_later
from server.storage.database import ArrowSource, Database
from server.storage.readers import Use, interrupted_by

KEPT = 16  # of one statement, when many threads have run it at once


class _Statement:
    """Used by one thread at a time."""

    def __init__(self, database: Database, sql: str, name: str, table: pa.Table) -> None:
        self._source = ArrowSource(table)
        self._empty = pa.Table.from_batches([], table.schema)  # empty_table() makes no unions
        self._cursor = database.keep_cursor()
        self._cursor.register(name, self._source)
        # The number of the task is a constant: DuckDB plans anew for each value of a parameter, and to set a variable
        # costs as much as a run.
        with planned_for_later() as self._number:
            self._cursor.execute(f"PREPARE statement AS {sql.replace(TASK_SQL, f'{self._number}::BIGINT')}")

    def run(self, table: pa.Table, task: Progress | None) -> list[tuple[Any, ...]]:
        self._source.table = table
        use = Use(self._cursor)
        try:
            with interrupted_by(task, use.interrupt):
                return self._run(task)
        finally:
            use.end()
            self._source.table = self._empty  # whose memory need not wait for the next run

    def close(self) -> None:
        self._cursor.close()

    def _run(self, task: Progress | None) -> list[tuple[Any, ...]]:
        with nullcontext() if task is None else found_by_number(task, self._number):
            return list(self._cursor.execute("EXECUTE statement").fetchall())


class Prepared:
    """SQL that reads the table ``name``. Safe to use from several threads."""

    def __init__(self, database: Database, sql: str, name: str) -> None:
        self._database = database
        self._sql = sql
        self._name = name
        self._idle: list[_Statement] = []

    def run(self, table: pa.Table, task: Progress | None = None) -> list[tuple[Any, ...]]:
        """The rows of the statement over a table, always of the same schema. Raises what DuckDB raises.

        A cancel of the task interrupts it.
        """
        try:
            statement = self._idle.pop()
        except IndexError:
            statement = _Statement(self._database, self._sql, self._name, table)
        rows = statement.run(table, task)
        if len(self._idle) < KEPT:
            self._idle.append(statement)
        else:
            statement.close()
        return rows
