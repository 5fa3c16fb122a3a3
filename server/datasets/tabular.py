"""``tabular``: a dense table of typed columns, made by one commit (entity-types.md §2.3)."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Sequence, Set
from typing import Any, Literal

import duckdb
from pydantic import Field

from server.datasets.base import checked_columns, checked_rows, stored_table, table_of, transposed
from server.datasets.files import opened, save_to, saved, saves_url
from server.declarations import Creation, EntityType, Params, Progress, QueryResult, Recorded, Services
from server.errors import MldbError
from server.messages import Request, Response
from server.storage.database import drop_tables
from server.storage.dataset_files import DatasetFile
from server.storage.layouts import Wide
from server.storage.pending import Pending
from server.storage.wide import copy_wide, read_wide, repeated_names
from server.storage.wide_load import can_stream, gather, stage_pending, stream
from server.values.atoms import Atom
from server.values.paths import Path, format_path

Cells = Sequence[tuple[Path, Atom, float]]

# Rows named in a refusal; the rest are an ellipsis.
_NAMES_SHOWN = 20


class TabularParams(Params):
    unknownColumns: Literal["error", "ignore", "add"] = Field(
        "error", description="What to do with a column that the first row lacks"
    )
    dataFileUrl: str | None = Field(None, description="Parquet file to load")


class TabularDataset:
    """Rows are gathered in memory until the commit; then a wide table, never changed again."""

    def __init__(self, services: Services, table: str, unknown: str = "error") -> None:
        self._services = services
        self._database = database = services.database
        self._table = table
        self.unknown = unknown
        self._lock = threading.Lock()
        self._pending = Pending()
        self._fixed: set[Path] | None = None
        with database.cursor() as cursor:
            self._wide = read_wide(cursor, table)

    def layout(self) -> Wide:
        if self._wide is None:
            raise MldbError("The tabular dataset has not been committed yet: it can be queried after its commit")
        return self._wide

    def status(self) -> dict[str, Any]:
        wide = self._wide
        # An embedding is one stored column and as many columns of the dataset as it has elements.
        columns = sum(math.prod(column.shape or ()) for column in wide.columns) if wide else 0
        return {"columnCount": columns, "rowCount": wide.rows if wide else 0}

    def persist(self) -> dict[str, Any]:
        return stored_table(self._table)

    def record_rows(self, rows: Iterable[Recorded]) -> None:
        checked = checked_rows(rows)
        with self._lock:
            self._refuse_when_committed()
            fixed = self._fixed
            if fixed is None and checked:
                fixed = {column for column, _, _ in checked[0][1]}
            known = [self._known_cells(cells, fixed or set()) for _, cells in checked]
            self._fixed = fixed
            for (path, _), cells in zip(checked, known, strict=True):
                self._pending.add_row(path, cells)

    def _known_cells(self, cells: Cells, fixed: Set[Path]) -> Cells:
        """The cells to keep; the first row of all says which columns are known."""
        if self.unknown == "add" or all(column in fixed for column, _, _ in cells):
            return cells
        if self.unknown == "error":
            raise MldbError("New column name while recording row in tabular dataset with unknownColumns=ERROR")
        return [cell for cell in cells if cell[0] in fixed]

    def record_columns(self, columns: Iterable[Recorded]) -> None:
        self.record_rows(transposed(checked_columns(columns)))

    def commit(self) -> None:
        with self._lock:
            if self._wide is not None:
                return
            fixed = {format_path(path) for path in self._fixed or ()}
            with self._database.transaction(stoppable=True) as cursor:
                columns = stage_pending(cursor, self._pending, fixed)
                wide = self._finish(cursor, columns)
            self._wide = wide
            self._pending = Pending()

    @property
    def committed(self) -> bool:
        return self._wide is not None

    def write(self, result: QueryResult, progress: Progress) -> None:
        self._write(result, progress, self.unknown)

    def load(self, file: DatasetFile, progress: Progress) -> None:
        """Commit the rows of a dataset file, whatever their columns."""
        self._write(file, progress, "add")

    def _write(self, result: QueryResult, progress: Progress, unknown: str) -> None:
        with self._lock:
            self._refuse_when_committed()
            with self._database.transaction(stoppable=True) as cursor:
                if can_stream(result.type):
                    columns = stream(cursor, result, progress)
                else:
                    columns = gather(cursor, result, progress, unknown)
                wide = self._finish(cursor, columns)
            self._wide = wide

    def fill(self, build: Callable[[duckdb.DuckDBPyConnection, str], Wide]) -> None:
        """Commit a table that ``build(cursor, table)`` makes in place, with its description: nothing is copied.

        The builder answers for the names of its rows being distinct.
        """
        with self._lock:
            self._refuse_when_committed()
            with self._database.transaction(stoppable=True) as cursor:
                wide = build(cursor, self._table)
            self._wide = wide

    def _finish(self, cursor: duckdb.DuckDBPyConnection, columns: list[Any]) -> Wide:
        wide = copy_wide(cursor, "stage", self._table, columns)
        repeated = repeated_names(cursor, self._table)
        if repeated:
            shown = ", ".join(repeated[:_NAMES_SHOWN]) + (", …" if len(repeated) > _NAMES_SHOWN else "")
            raise MldbError(f"Duplicate row name(s) in tabular dataset: {shown}")
        return wide

    def _refuse_when_committed(self) -> None:
        if self._wide is not None:
            raise MldbError("The tabular dataset was committed already: nothing more can be recorded")

    def route(self, request: Request) -> Response:
        """``POST /saves {dataFileUrl}`` writes the committed rows to a dataset file."""
        url = saves_url(request)
        save_to(self._services, self.layout(), url, "tabular")
        return saved("tabular", url)

    def drop(self) -> None:
        with self._lock, self._database.transaction() as cursor:
            drop_tables(cursor, self._table)


def _create(creation: Creation) -> TabularDataset:
    table = table_of(creation)
    params: TabularParams = creation.params
    dataset = TabularDataset(creation.services, table, params.unknownColumns)
    if params.dataFileUrl and not dataset.committed:
        with opened(creation.services, params.dataFileUrl) as file:
            dataset.load(file, creation.progress)
    return dataset


TYPES = [
    EntityType(
        "dataset",
        "tabular",
        TabularParams,
        "Dense table of typed columns, recorded once",
        _create,
        doc=(
            "A cell has one value, and a row one timestamp, the latest that its cells were given: what needs a time "
            "for each cell, or several values, goes into `sparse.mutable`."
        ),
    ),
]
