"""``embedding``: a vector of numbers per row, for distances and neighbours (entity-types.md §2.6)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import duckdb
import numpy as np
import pyarrow as pa
from pydantic import Field

from server.datasets.base import checked_rows, table_of
from server.datasets.recorded_once import RecordedOnce
from server.datasets.views import nothing
from server.declarations import Creation, EntityType, NamedBatch, Params, Progress, QueryResult, Recorded
from server.errors import MldbError
from server.sql.views import Layout
from server.storage.database import Database, arrow_view
from server.storage.layouts import ROW, TIMESTAMP, Wide, WideColumn
from server.storage.pending import Pending
from server.storage.vectors import VectorRows, vectors_of_batch, vectors_of_recorded
from server.storage.wide import STAGE, copy_wide, repeated_names
from server.values.kinds import Kind
from server.values.paths import Path, element_names, format_path, parse_path


class EmbeddingParams(Params):
    metric: Literal["euclidean", "cosine"] = Field("euclidean", description="How distances are measured")


_OTHER_COLUMNS = (
    "Attempt to change column names in embedding dataset: all rows of an embedding must have exactly the same columns"
)


class EmbeddingDataset(RecordedOnce):
    """Rows are gathered until the one commit, then lie as one array column of single-precision numbers."""

    type_name = "embedding"

    def __init__(self, database: Database, table: str, metric: str = "euclidean") -> None:
        super().__init__(database, table)
        self.metric = metric
        self._names: set[Path] = set()
        self._columns: frozenset[Path] = frozenset()  # of the rows that wait

    def layout(self) -> Layout:
        """What was committed. Before that a dataset without rows is empty; one with rows waits for its commit."""
        if self._wide is not None:
            return self._wide
        if self._pending:
            raise self._uncommitted()
        return nothing()

    def record_rows(self, rows: Iterable[Recorded]) -> None:
        checked = checked_rows(rows)
        with self._lock:
            self._refuse_when_committed()
            columns = self._columns
            for path, cells in checked:
                columns = self._check_row(path, [column for column, _, _ in cells], columns)
            self._columns = columns
            for path, cells in checked:
                self._names.add(path)
                self._pending.add_row(path, cells)

    def _check_row(self, path: Path, columns: list[Path], before: frozenset[Path]) -> frozenset[Path]:
        """The columns of all rows; ``before``: of those before this one, none for the first."""
        if path in self._names:
            raise MldbError(_twice(path))
        if len(set(columns)) != len(columns):
            raise MldbError(f"Row '{'.'.join(path)}' has several values for one column of an embedding")
        if before and before != set(columns):
            raise MldbError(_OTHER_COLUMNS)
        return before or frozenset(columns)

    def commit(self) -> None:
        with self._lock:
            if self._wide is None:
                self._make(lambda cursor: self._store(cursor, [vectors_of_recorded(self._pending)]))
                self._pending = Pending()
                self._names = set()
                self._columns = frozenset()

    def write(self, result: QueryResult, progress: Progress) -> None:
        parts = (_checked(batch, progress) for batch in result.batches(progress))
        with self._lock:
            self._make(lambda cursor: self._store(cursor, parts))

    def _store(self, cursor: duckdb.DuckDBPyConnection, parts: Iterable[VectorRows]) -> Wide:
        paths: tuple[Path, ...] | None = None
        for part in parts:
            if not len(part.names):
                continue
            if not part.paths:
                raise MldbError("Rows of an embedding have at least one column")
            if paths is None:
                paths = part.paths
                cursor.execute(f"CREATE TEMP TABLE {STAGE} ({ROW} VARCHAR, {TIMESTAMP} DOUBLE, c0 FLOAT[{len(paths)}])")
            elif part.paths != paths:
                raise MldbError(_OTHER_COLUMNS)
            _insert(cursor, part)
        column = vector_column(paths or ())
        if paths is None:
            cursor.execute(f"CREATE TEMP TABLE {STAGE} ({ROW} VARCHAR, {TIMESTAMP} DOUBLE)")
        wide = copy_wide(cursor, self._table, [column] if column else [])
        repeated = repeated_names(cursor, self._table)
        if repeated:
            raise MldbError(_twice(parse_path(repeated[0])))
        return wide


def _twice(path: Path) -> str:
    return (
        f"Row '{format_path(path)}' has already been recorded into embedding dataset: "
        "an embedding takes each row once. Are you re-using an output dataset?"
    )


def _checked(batch: NamedBatch, progress: Progress) -> VectorRows:
    progress.check()
    return vectors_of_batch(batch)


def _insert(cursor: duckdb.DuckDBPyConnection, part: VectorRows) -> None:
    size = len(part.paths)
    flat = pa.array(np.ascontiguousarray(part.vectors).reshape(-1), pa.float32())
    vectors = pa.FixedSizeListArray.from_arrays(flat, size)
    with arrow_view(cursor, "vectors", pa.table({"name": part.names, "ts": part.times, "vector": vectors})):
        cursor.execute(f"INSERT INTO {STAGE} SELECT * FROM vectors")


def vector_column(paths: tuple[Path, ...]) -> WideColumn | None:
    """How the vector's elements are named: below their common prefix, by number where that is how they are called."""
    if not paths:
        return None
    prefix, names = element_names(paths)
    return WideColumn(prefix, "c0", Kind.NUMBER, (len(paths),), names, single=True)


def _create(creation: Creation) -> EmbeddingDataset:
    table = table_of(creation)
    return EmbeddingDataset(creation.services.database, table, creation.params.metric)


TYPES = [
    EntityType(
        "dataset",
        "embedding",
        EmbeddingParams,
        "A vector of numbers per row, for distances and nearest neighbours",
        _create,
        "Each row is recorded once; all rows have the same columns, whose values are finite numbers, kept in single "
        "precision.",
    ),
]
