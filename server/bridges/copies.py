"""Datasets that are read from elsewhere: each query sees a copy of what is there when it is bound."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Hashable, Iterator
from typing import Any, Protocol

from server.datasets.base import ReadOnly
from server.declarations import Recorded
from server.storage.database import Database, drop_tables, new_table
from server.storage.layouts import Wide
from server.storage.pending import Pending
from server.storage.wide import copy_wide
from server.storage.wide_load import stage_pending

_KEPT_SECONDS = 60  # a query that was bound to a copy has begun by then; what has begun keeps what it reads


class Origin(Protocol):
    """Where rows come from."""

    def version(self) -> Hashable | None:
        """Equal as long as the rows are; None when that cannot be told without reading them."""

    def rows(self) -> Iterator[Recorded]: ...


class CopiedDataset(ReadOnly):
    """Copies the rows of an origin into a table, again whenever they may have changed."""

    def __init__(self, type_name: str, database: Database, origin: Origin) -> None:
        self.type_name = type_name
        self._database = database
        self._origin = origin
        self._lock = threading.Lock()
        self._copy: Wide | None = None
        self._version: Hashable | None = None
        self._old: list[tuple[float, str]] = []  # copies that newer ones have replaced, and when

    def layout(self) -> Wide:
        with self._lock:
            version = self._origin.version()
            if self._copy is None or version is None or version != self._version:
                self._replace(self._read())
                self._version = version
            assert self._copy is not None
            return self._copy

    def _read(self) -> Wide:
        pending = Pending()
        for path, cells in self._origin.rows():
            pending.add_row(path, cells)
        with self._database.transaction() as cursor:
            columns = stage_pending(cursor, pending, ())
            wide = copy_wide(cursor, new_table(), columns)
        return dataclasses.replace(wide, passing=True)

    def _replace(self, copy: Wide) -> None:
        now = time.monotonic()
        if self._copy is not None:
            self._old.append((now, self._copy.table))
        self._copy = copy
        ended = [table for since, table in self._old if now - since > _KEPT_SECONDS]
        self._old = [(since, table) for since, table in self._old if now - since <= _KEPT_SECONDS]
        self._drop(ended)

    def _drop(self, tables: list[str]) -> None:
        with self._database.transaction() as cursor:
            for table in tables:
                drop_tables(cursor, table)

    def status(self) -> dict[str, Any]:
        copy = self._copy
        return {} if copy is None else {"columnCount": len(copy.columns), "rowCount": copy.rows}

    def persist(self) -> dict[str, Any]:
        return {"made": True}

    def close(self) -> None:
        """Copies do not outlive the server's run."""
        with self._lock:
            tables = [table for _, table in self._old] + ([self._copy.table] if self._copy else [])
            self._copy, self._old = None, []
            self._drop(tables)
