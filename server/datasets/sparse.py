"""``sparse.mutable``: rows with any columns, any number of timestamped values per cell (entity-types.md §2.2)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from server.datasets.base import checked_columns, checked_rows, stored_table, table_of
from server.declarations import Creation, EntityType, Params, Progress, QueryResult, Recorded
from server.storage.cells import CellTables
from server.storage.layouts import Cells
from server.storage.pending import Pending

# Cells gathered in memory (some 25 bytes each) before a piece of a long batch is written.
PIECE = 4_000_000


def _whole_above_one(seconds: float) -> float:
    if seconds > 1 and not seconds.is_integer():
        raise ValueError("above 1 it must be a whole number of seconds")
    return seconds


Quantum = Annotated[float, Field(gt=0), AfterValidator(_whole_above_one)]


class SparseParams(Params):
    timeQuantumSeconds: Quantum = Field(
        1.0, description="Resolution of timestamps: up to 1 fractions are rounded, above whole multiples floored"
    )
    consistencyLevel: Literal["consistentAfterCommit", "consistentAfterWrite"] = Field(
        "consistentAfterCommit", description="When recorded data must be readable; they always are at once"
    )
    favor: Literal["favorReads", "favorWrites"] = Field("favorReads", description="What to be quick at")


class SparseDataset:
    """Cells in DuckDB, plus what was recorded since the last commit in memory. Reading stores that too.

    Small commits go to a journal: ``server.storage.journal``.
    """

    def __init__(self, tables: CellTables) -> None:
        self._tables = tables
        self._pending = Pending()
        self._lock = threading.Lock()  # of what is pending; the tables have their own

    def layout(self) -> Cells:
        """What is stored and, unless a long write is under way, what was recorded since."""
        self._store_pending(wait=False)
        return self._tables.layout()

    def status(self) -> dict[str, Any]:
        tables = self._tables
        tables.fold()
        return {"columnCount": tables.columns, "rowCount": tables.rows, "valueCount": tables.cells}

    def persist(self) -> dict[str, Any]:
        return stored_table(self._tables.prefix)

    def record_rows(self, rows: Iterable[Recorded]) -> None:
        checked = checked_rows(rows)
        with self._lock:
            for path, cells in checked:
                self._pending.add_row(path, cells)

    def record_columns(self, columns: Iterable[Recorded]) -> None:
        checked = checked_columns(columns)
        with self._lock:
            for column in checked:
                self._pending.add_column(column)

    def commit(self) -> None:
        with self._lock:
            if self._pending:
                self._tables.commit(self._pending)
                self._pending = Pending()

    def _store_pending(self, *, wait: bool) -> None:
        if not self._pending or not self._lock.acquire(blocking=wait):
            return
        try:
            if self._pending and self._tables.append(self._pending, wait=wait):
                self._pending = Pending()
        finally:
            self._lock.release()

    def write(self, result: QueryResult, progress: Progress) -> None:
        self._store_pending(wait=True)
        load(self._tables, result, progress, self._new_piece, self._check_piece)

    def _new_piece(self) -> Pending:
        return Pending()

    def _check_piece(self, piece: Pending) -> None:
        """Types that do not take every value refuse a piece here."""

    def drop(self) -> None:
        with self._lock:
            self._pending = Pending()
        self._tables.drop()

    def close(self) -> None:
        self._tables.fold()


def load(
    tables: CellTables,
    result: QueryResult,
    progress: Progress,
    new_piece: Callable[[], Pending] = Pending,
    check: Callable[[Pending], None] = lambda _: None,
) -> None:
    """Store a whole result as one batch, in checked pieces of bounded size."""
    with tables.batch() as add:
        piece = new_piece()
        for batch in result.batches(progress):
            progress.check()
            piece.add_batch(batch)
            if piece.cells >= PIECE:
                check(piece)
                add(piece)
                piece = new_piece()
        check(piece)
        add(piece)


def _create(creation: Creation) -> SparseDataset:
    quantum = creation.params.timeQuantumSeconds
    return SparseDataset(CellTables(creation.services.database, table_of(creation), quantum))


TYPES = [
    EntityType(
        "dataset",
        "sparse.mutable",
        SparseParams,
        "Sparse matrix of timestamped values that can be recorded into at any time",
        _create,
    ),
]
