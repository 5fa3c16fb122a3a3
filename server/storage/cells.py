"""The tables of a ``Cells`` dataset: their creation, transactions and layout."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from functools import partial
from typing import Any

import duckdb

from server.storage.cell_writer import CellCounts, CellWriter
from server.storage.columns import StoredColumns
from server.storage.database import Database, drop_tables, read_meta, write_meta, written_to_be_read
from server.storage.journal import Journal
from server.storage.layouts import Cells
from server.storage.pending import Pending

_VALUE_TYPES = {"int": "BIGINT", "num": "DOUBLE", "str": "VARCHAR", "any": "any_value_t"}

_VERSION = 2  # of the tables
_FORMER_DISTANCE = 1 << 30

_FOLDING = "the last commits of a dataset go from its journal into its tables before they are read"
_UPGRADING = "the tables of a dataset that an earlier version wrote are brought up to date before they are read"

_BLOCK_MEGABYTES = 0.25  # DuckDB's block size


class CellTables:
    """The tables of one sparse dataset. One writer at a time, readers at any time.

    Sizes are those of the tables: ``fold`` first where the journal counts too.
    """

    def __init__(self, database: Database, prefix: str, quantum: float = 0.0, *, by_hash: bool = False) -> None:
        """``by_hash``: rows are always listed by ascending hash (the beh family)."""
        self.prefix = prefix
        self._database = database
        self._quantum = quantum
        self._by_hash = by_hash
        self._journal = Journal(database, prefix)
        self._folding = threading.Lock()  # taken before the next
        self._writing = threading.Lock()
        self._creating = threading.Lock()
        self._committing = threading.Lock()  # taken last
        self._shape = 0  # grows with every commit after which the columns are others, or hold what they did not
        with database.cursor() as cursor:
            stored = read_meta(cursor, prefix)
        if stored and "version" not in stored:
            with written_to_be_read(_UPGRADING), database.transaction() as cursor:
                self._upgrade(cursor, stored)
        self._counts = CellCounts(**stored["cells"]) if stored else CellCounts()
        self._created = stored is not None
        self._committed = bool(stored and stored["committed"])
        self._layout: tuple[CellCounts, Cells] | None = None  # of these counts: a commit makes others
        self._size: tuple[CellCounts, float] | None = None

    @property
    def committed(self) -> bool:
        """Whether there was ever a batch (an empty one counts)."""
        return self._committed

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
        self.fold()
        if not self._created:
            with written_to_be_read("the tables of an empty dataset are made before it is read"):
                self._ensure()
        counts, cached = self._counts, self._layout
        if cached is None or cached[0] is not counts:
            with self._committing:
                counts, current = self._counts, partial(self._keeps, self._shape)
            columns = StoredColumns(self._database, self.prefix, counts.columns, current)
            cached = self._layout = counts, Cells(self.prefix, columns, counts.rows, counts.cells, counts.batches)
        return cached[1]

    def _keeps(self, shape: int) -> bool:
        """Whether nobody who has begun to read by now finds columns of another shape."""
        if self._shape == shape:
            return True
        with self._committing:  # so that who looks again finds the new one
            return self._shape == shape

    @contextmanager
    def batch(self) -> Iterator[Callable[[Pending], None]]:
        """A transaction: what is yielded stores a piece; all pieces become durable and visible at the end."""
        self._begin(wait=True)
        try:
            with self._transaction() as (_, add):
                yield add
        finally:
            self._writing.release()

    def append(self, pending: Pending, *, wait: bool = True) -> bool:
        """Store one batch; False when another is being written and it may not wait for that."""
        if not self._begin(wait):
            return False
        try:
            with self._transaction() as (_, add):
                add(pending)
        finally:
            self._writing.release()
        return True

    def commit(self, pending: Pending) -> None:
        """Store one batch: a small one in the journal."""
        if not self._journal.takes(pending):
            self.append(pending)
            return
        with self._writing:
            self._journal.add(pending)
        if self._journal.full:
            self.fold()

    def fold(self) -> None:
        """Store what the journal holds, as one batch of cells."""
        if self._journal.commits:
            with self._folding:
                if self._journal.commits:  # so no long batch is under way: see _begin
                    with self._writing, written_to_be_read(_FOLDING):
                        self._fold()

    def _begin(self, wait: bool) -> bool:
        """Become the writer, with an empty journal: nobody adds to it meanwhile, so a reader need not wait to fold it.

        False when it may not wait and would have to.
        """
        if not self._folding.acquire(blocking=wait):
            return False
        try:
            if not self._writing.acquire(blocking=wait):
                return False
            try:
                self._fold()
            except BaseException:
                self._writing.release()
                raise
        finally:
            self._folding.release()
        return True

    def _fold(self) -> None:
        if self._journal.commits:
            with self._transaction(self._journal.commits) as (cursor, add):
                add(self._journal.take(cursor))
            self._journal.forget()

    @contextmanager
    def _transaction(self, batches: int = 1) -> Iterator[tuple[duckdb.DuckDBPyConnection, Callable[[Pending], None]]]:
        self._ensure()
        with ExitStack() as beyond, self._database.transaction(stoppable=True) as cursor:
            writer = CellWriter(cursor, self.prefix, self._next_counts(), self._quantum, batches)
            yield cursor, writer.add
            counts = writer.finish()
            self._note(cursor, counts, committed=True)
            beyond.enter_context(self._commit_of(counts, writer.reshaped))

    @contextmanager
    def _commit_of(self, counts: CellCounts, reshaped: bool) -> Iterator[None]:
        """Around the commit: who begins to read before it has ended may find what it stores or not."""
        with self._committing:
            self._shape += reshaped
            try:
                yield
            except BaseException:
                self._shape -= reshaped
                raise
            self._committed = True
            self._counts = counts

    def _next_counts(self) -> CellCounts:
        counts = CellCounts(**asdict(self._counts))
        if self._by_hash:
            counts.batches = max(counts.batches, 2)  # as if several batches had come already
        return counts

    def megabytes(self) -> float:
        """Size of the stored tables in the file, in MB (0 in memory)."""
        if not self._created:
            return 0.0
        counts = self._counts
        if self._size is not None and self._size[0] is counts:
            return self._size[1]
        blocks, settled = 0, True
        with self._database.cursor() as cursor:
            for suffix in ("rows", "cols", "times", *_VALUE_TYPES):
                found, stored = cursor.execute(
                    "SELECT count(DISTINCT block_id) FILTER (persistent), bool_and(persistent)"
                    f" FROM pragma_storage_info('{self.prefix}_{suffix}')"
                ).fetchall()[0]
                blocks += int(found)
                settled = settled and stored is not False
        size = round(blocks * _BLOCK_MEGABYTES, 2)
        if settled:  # what is still in the log gets its blocks at the next checkpoint
            self._size = counts, size
        return size

    def _ensure(self) -> None:
        """Make the tables, empty, so that queries find them from now on, also during a long first batch."""
        with self._creating:
            if not self._created:
                with self._database.transaction() as cursor:
                    self._create(cursor)
                self._created = True

    def drop(self) -> None:
        with self._writing:
            with self._database.transaction() as cursor:
                drop_tables(cursor, self.prefix)
            self._journal.forget()

    def _create(self, cursor: duckdb.DuckDBPyConnection) -> None:
        prefix = self.prefix
        cursor.execute(
            f"CREATE TABLE {prefix}_rows (id INTEGER, name VARCHAR, hash UBIGINT, ord UBIGINT, ts DOUBLE);"
            f"CREATE TABLE {prefix}_cols (id INTEGER, name VARCHAR, seen INTEGER, multiple BOOLEAN, rows BIGINT);"
            f"CREATE TABLE {prefix}_times (id INTEGER, ts DOUBLE);"
            + "".join(
                f'CREATE TABLE {prefix}_{store} ("row" INTEGER, col INTEGER, "time" INTEGER, "value" {type_});'
                for store, type_ in _VALUE_TYPES.items()
            )
        )
        self._note(cursor, CellCounts(), committed=False)

    def _note(self, cursor: duckdb.DuckDBPyConnection, counts: CellCounts, *, committed: bool) -> None:
        stored = {"cells": asdict(counts), "committed": committed, "version": _VERSION}
        write_meta(cursor, self.prefix, stored)

    def _upgrade(self, cursor: duckdb.DuckDBPyConnection, stored: dict[str, Any]) -> None:
        """Tables of before there were versions: rows had no time, a time below 0 was told by an id less the row's."""
        cursor.execute(f"ALTER TABLE {self.prefix}_rows ADD COLUMN ts DOUBLE DEFAULT 0")
        for store in _VALUE_TYPES:
            cursor.execute(
                f'UPDATE {self.prefix}_{store} SET "time" = "time" + {_FORMER_DISTANCE} + "row" WHERE "time" < 0'
            )
        write_meta(cursor, self.prefix, stored | {"version": _VERSION})
