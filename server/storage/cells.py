"""The tables of a ``Cells`` dataset: their creation, transactions and layout."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict

import duckdb

from server.errors import Conflict
from server.storage.cell_writer import CellCounts, CellWriter
from server.storage.columns import StoredColumns
from server.storage.database import Database, drop_tables, read_meta, write_meta
from server.storage.layouts import Cells
from server.storage.pending import Pending

_VALUE_TYPES = {"int": "BIGINT", "num": "DOUBLE", "str": "VARCHAR", "any": "any_value_t"}

_BLOCK_MEGABYTES = 0.25  # DuckDB's block size


class CellTables:
    """The tables of one sparse dataset. One writer at a time, readers at any time."""

    def __init__(self, database: Database, prefix: str, quantum: float = 0.0, *, by_hash: bool = False) -> None:
        """``by_hash``: rows are always listed by ascending hash (the beh family)."""
        self.prefix = prefix
        self._database = database
        self._quantum = quantum
        self._by_hash = by_hash
        self._writing = threading.Lock()
        with database.cursor() as cursor:
            stored = read_meta(cursor, prefix)
        self._counts = CellCounts(**stored["cells"]) if stored else CellCounts()
        self._created = stored is not None
        self._layout: Cells | None = None

    @property
    def created(self) -> bool:
        """Whether anything was ever committed (an empty batch counts)."""
        return self._created

    @property
    def rows(self) -> int:
        return self._counts.rows

    @property
    def columns(self) -> int:
        return self._counts.columns

    @property
    def cells(self) -> int:
        return self._counts.cells

    def layout(self) -> Cells:
        """The committed data. Creates the tables of an empty dataset, so that a query finds them."""
        if not self._created:
            self._create_empty()
        if self._layout is None:
            columns = StoredColumns(self._database, self.prefix, self._counts.columns)
            self._layout = Cells(self.prefix, columns, self._counts.rows)
        return self._layout

    @contextmanager
    def batch(self) -> Iterator[Callable[[Pending], None]]:
        """A transaction: what is yielded stores a piece; all pieces become durable and visible at the end."""
        with self._writing, self._transaction() as add:
            yield add

    def append(self, pending: Pending, *, wait: bool = True) -> bool:
        """Store one batch; False when another is being written and it may not wait for that."""
        if not self._writing.acquire(blocking=wait):
            return False
        try:
            with self._transaction() as add:
                add(pending)
        finally:
            self._writing.release()
        return True

    @contextmanager
    def _transaction(self) -> Iterator[Callable[[Pending], None]]:
        with self._database.transaction() as cursor:
            writer = CellWriter(cursor, self.prefix, self._next_counts(), self._quantum)
            if not self._created:
                self._create(cursor, self._counts)
            yield writer.add
            counts = writer.finish()
            write_meta(cursor, self.prefix, {"cells": asdict(counts)})
        self._created = True
        self._counts = counts
        self._layout = None

    def _next_counts(self) -> CellCounts:
        counts = CellCounts(**asdict(self._counts))
        if self._by_hash:
            counts.batches = max(counts.batches, 2)  # as if several batches had come already
        return counts

    def megabytes(self) -> float:
        """Size of the stored tables in the file, in MB (0 in memory)."""
        if not self._created:
            return 0.0
        blocks = 0
        with self._database.cursor() as cursor:
            for suffix in ("rows", "cols", "times", *_VALUE_TYPES):
                count = f"SELECT count(DISTINCT block_id) FROM pragma_storage_info('{self.prefix}_{suffix}')"
                blocks += int(cursor.execute(f"{count} WHERE persistent").fetchall()[0][0])
        return round(blocks * _BLOCK_MEGABYTES, 2)

    def _create_empty(self) -> None:
        if not self._writing.acquire(blocking=False):
            raise Conflict("the dataset is being written for the first time; try again when that is done")
        try:
            if not self._created:
                with self._database.transaction() as cursor:
                    self._create(cursor, self._counts)
                self._created = True
        finally:
            self._writing.release()

    def drop(self) -> None:
        with self._writing, self._database.transaction() as cursor:
            drop_tables(cursor, self.prefix)

    def _create(self, cursor: duckdb.DuckDBPyConnection, counts: CellCounts) -> None:
        prefix = self.prefix
        cursor.execute(
            f"CREATE TABLE {prefix}_rows (id INTEGER, name VARCHAR, hash UBIGINT, ord UBIGINT);"
            f"CREATE TABLE {prefix}_cols (id INTEGER, name VARCHAR, seen INTEGER, multiple BOOLEAN, rows BIGINT);"
            f"CREATE TABLE {prefix}_times (id INTEGER, ts DOUBLE);"
            + "".join(
                f'CREATE TABLE {prefix}_{store} ("row" INTEGER, col INTEGER, "time" INTEGER, "value" {type_});'
                for store, type_ in _VALUE_TYPES.items()
            )
        )
        write_meta(cursor, prefix, {"cells": asdict(counts)})
