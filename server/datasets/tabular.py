"""``tabular``: a dense table of typed columns, made by one commit (entity-types.md §2.3)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence, Set
from typing import Literal

import duckdb
from pydantic import Field

from server.datasets.base import checked_rows, table_of
from server.datasets.files import opened, save_to, saved, saves_url
from server.datasets.recorded_once import RecordedOnce
from server.declarations import Creation, EntityType, Params, Progress, QueryResult, Recorded, Services
from server.errors import MldbError
from server.messages import Request, Response
from server.storage.dataset_files import DatasetFile
from server.storage.layouts import Wide, WideColumn
from server.storage.pending import Pending
from server.storage.wide import copy_wide, repeated_names
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


class TabularDataset(RecordedOnce):
    """``unknown``: what becomes of columns that the first row lacks, see the parameter ``unknownColumns``."""

    type_name = "tabular"

    def __init__(self, services: Services, table: str, unknown: str = "error") -> None:
        super().__init__(services.database, table)
        self._services = services
        self.unknown = unknown
        self._fixed: set[Path] | None = None

    def layout(self) -> Wide:
        if self._wide is None:
            raise self._uncommitted()
        return self._wide

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

    def commit(self) -> None:
        with self._lock:
            if self._wide is None:
                fixed = {format_path(path) for path in self._fixed or ()}
                self._make(lambda cursor: self._finish(cursor, stage_pending(cursor, self._pending, fixed)))
                self._pending = Pending()

    def write(self, result: QueryResult, progress: Progress) -> None:
        self._write(result, progress, self.unknown)

    def load(self, file: DatasetFile, progress: Progress) -> None:
        """Commit the rows of a dataset file, whatever their columns."""
        self._write(file, progress, "add")

    def _write(self, result: QueryResult, progress: Progress, unknown: str) -> None:
        def build(cursor: duckdb.DuckDBPyConnection) -> Wide:
            if can_stream(result.type):
                return self._finish(cursor, stream(cursor, result, progress))
            return self._finish(cursor, gather(cursor, result, progress, unknown))

        with self._lock:
            self._make(build)

    def fill(self, build: Callable[[duckdb.DuckDBPyConnection, str], Wide]) -> None:
        """Commit a table that ``build(cursor, table)`` makes in place, with its description: nothing is copied.

        The builder answers for the names of its rows being distinct.
        """
        with self._lock:
            self._make(lambda cursor: build(cursor, self._table))

    def _finish(self, cursor: duckdb.DuckDBPyConnection, columns: Sequence[WideColumn]) -> Wide:
        wide = copy_wide(cursor, self._table, columns)
        repeated = repeated_names(cursor, self._table)
        if repeated:
            shown = ", ".join(repeated[:_NAMES_SHOWN]) + (", …" if len(repeated) > _NAMES_SHOWN else "")
            raise MldbError(f"Duplicate row name(s) in tabular dataset: {shown}")
        return wide

    def route(self, request: Request) -> Response:
        """``POST /saves {dataFileUrl}`` writes the committed rows to a dataset file."""
        url = saves_url(request)
        save_to(self._services, self.layout(), url, "tabular")
        return saved("tabular", url)


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
