"""Datasets that are recorded once: rows wait in memory for the commit, which makes a wide table of them."""

from __future__ import annotations

import math
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any

import duckdb

from server.datasets.base import checked_columns, stored_table, transposed
from server.declarations import Recorded
from server.errors import MldbError
from server.storage.database import Database, drop_tables
from server.storage.layouts import Wide
from server.storage.pending import Pending
from server.storage.wide import read_wide


class RecordedOnce(ABC):
    """``table`` is the name of the table in DuckDB; ``type_name`` is for texts of errors."""

    type_name = ""

    def __init__(self, database: Database, table: str) -> None:
        self._database = database
        self._table = table
        self._lock = threading.Lock()
        self._pending = Pending()
        with database.cursor() as cursor:
            self._wide = read_wide(cursor, table)

    @property
    def committed(self) -> bool:
        return self._wide is not None

    def status(self) -> dict[str, Any]:
        wide = self._wide
        # An embedding is one stored column and as many columns of the dataset as it has elements.
        columns = sum(math.prod(column.shape or ()) for column in wide.columns) if wide else 0
        return {"columnCount": columns, "rowCount": wide.rows if wide else 0}

    def persist(self) -> dict[str, Any]:
        return stored_table(self._table)

    @abstractmethod
    def record_rows(self, rows: Iterable[Recorded]) -> None: ...

    def record_columns(self, columns: Iterable[Recorded]) -> None:
        self.record_rows(transposed(checked_columns(columns)))

    def _refuse_when_committed(self) -> None:
        if self._wide is not None:
            raise MldbError(f"The {self.type_name} dataset was committed already: nothing more can be recorded")

    def _uncommitted(self) -> MldbError:
        return MldbError(f"The {self.type_name} dataset has not been committed yet: it can be queried after its commit")

    def _make(self, build: Callable[[duckdb.DuckDBPyConnection], Wide]) -> None:
        """Have the table made, whole or not at all. Called with the lock held."""
        self._refuse_when_committed()
        with self._database.transaction(stoppable=True) as cursor:
            wide = build(cursor)
        self._wide = wide

    def drop(self) -> None:
        with self._lock, self._database.transaction() as cursor:
            drop_tables(cursor, self._table)
