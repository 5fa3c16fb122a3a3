"""The ``beh`` family: behaviour files, sparse matrices written once (entity-types.md §2.7)."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

import numpy as np
from pydantic import Field

from server.datasets.base import ReadOnly, stored_table, table_of
from server.datasets.files import opened, save_to, saved, saves_url
from server.datasets.sparse import Quantum, SparseDataset, load
from server.declarations import Creation, EntityType, Params, Progress, QueryResult, Recorded, Services
from server.errors import MldbError
from server.messages import Request, Response
from server.storage.cells import CellTables
from server.storage.layouts import Cells
from server.storage.pending import Pending

BINARY = "beh.binary"
PLAIN = "beh"
_ONLY_ONES = "Binary behavior datasets can only record the value 1"


class FileParams(Params):
    dataFileUrl: str = Field(description="The file to load")


class MutableParams(Params):
    dataFileUrl: str | None = Field(None, description="Where the commit writes the file; without it nothing is written")
    timeQuantumSeconds: Quantum = Field(1.0, description="Resolution of timestamps, as of sparse.mutable")


class LoadedDataset(ReadOnly):
    """A file's cells, read once into the database."""

    def __init__(self, type_name: str, tables: CellTables) -> None:
        self.type_name = type_name
        self._tables = tables

    def layout(self) -> Cells:
        return self._tables.layout()

    def status(self) -> dict[str, Any]:
        return status_of(self._tables, self.type_name)

    def persist(self) -> dict[str, Any]:
        return stored_table(self._tables.prefix)

    def drop(self) -> None:
        self._tables.drop()


class MutableDataset(SparseDataset):
    """Recorded into until its commit, which freezes it and writes the file; only then it can be read."""

    kind = PLAIN

    def __init__(self, services: Services, tables: CellTables, url: str | None) -> None:
        super().__init__(tables)
        self._services = services
        self._url = url
        self._frozen = self._tables.committed

    def layout(self) -> Cells:
        if not self._frozen:
            raise MldbError("No matrix view for an uncommitted mutable dataset")
        return self._tables.layout()

    def status(self) -> dict[str, Any]:
        return status_of(self._tables, self.kind)

    def record_rows(self, rows: Iterable[Recorded]) -> None:
        listed = list(rows)
        self._check(listed)
        super().record_rows(listed)

    def record_columns(self, columns: Iterable[Recorded]) -> None:
        listed = list(columns)
        self._check(listed)
        super().record_columns(listed)

    def _check(self, recorded: list[Recorded]) -> None:
        self._refuse_when_frozen()

    def _refuse_when_frozen(self) -> None:
        if self._frozen:
            raise MldbError(f"The {self.kind}.mutable dataset was committed already: nothing more can be recorded")

    def commit(self) -> None:
        if self._frozen:
            return
        if self._pending:
            self._store_pending(wait=True)
        elif not self._tables.committed:
            self._tables.append(self._pending)
        self._freeze()

    def write(self, result: QueryResult, progress: Progress) -> None:
        self._refuse_when_frozen()
        if self._pending:
            raise MldbError(
                f"The {self.kind}.mutable dataset has rows that wait for its commit: it is written in one go"
            )
        super().write(result, progress)
        self._freeze()

    def _freeze(self) -> None:
        layout = self._tables.layout()
        if self._url:
            save_to(self._services, layout, self._url, self.kind)
        self._frozen = True

    def route(self, request: Request) -> Response:
        """``POST /saves {dataFileUrl}`` writes the file and freezes the dataset."""
        url = saves_url(request)
        self.commit()
        save_to(self._services, self._tables.layout(), url, self.kind)
        return saved(self.kind, url)


class BinaryDataset(MutableDataset):
    """Of cells whose value is 1. It can be read before its commit."""

    kind = BINARY

    def layout(self) -> Cells:
        return SparseDataset.layout(self)

    def _check(self, recorded: list[Recorded]) -> None:
        super()._check(recorded)
        if any(value != 1 for _, cells in recorded for _, value, _ in cells):
            raise MldbError(_ONLY_ONES)

    def _new_piece(self) -> Pending:
        return Pending(nulls=False)

    def _check_piece(self, piece: Pending) -> None:
        others = any(piece.chunks(store) for store in ("num", "str", "any"))
        if others or any((np.asarray(chunk.values) != 1).any() for chunk in piece.chunks("int")):
            raise MldbError(_ONLY_ONES)


def status_of(tables: CellTables, kind: str) -> dict[str, Any]:
    counts: dict[str, Any] = {
        "columnCount": tables.columns,
        "memUsageMb": tables.megabytes(),
        "rowCount": tables.rows,
        "valueCount": tables.cells,
    }
    if kind == BINARY:
        counts["cellCount"] = tables.cells
    return counts


def _mutable(dataset: type[MutableDataset], creation: Creation) -> MutableDataset:
    params: MutableParams = creation.params
    services = creation.services
    if params.dataFileUrl:
        services.urls.check_writable(params.dataFileUrl, "dataFileUrl")
    tables = CellTables(services.database, table_of(creation), params.timeQuantumSeconds, by_hash=True)
    return dataset(services, tables, params.dataFileUrl)


def _loaded(kind: str, creation: Creation) -> LoadedDataset:
    services = creation.services
    tables = CellTables(services.database, table_of(creation), by_hash=True)
    if not tables.committed:
        with opened(services, creation.params.dataFileUrl) as file:
            if file.dataset_type != kind:
                found = file.dataset_type or "unknown"
                raise MldbError(f"The loaded dataset is not of type {kind}, it is of type {found}")
            load(tables, file, creation.progress)
    return LoadedDataset(kind, tables)


def _plain_doc(kind: str) -> str:
    return f"The file is Parquet, written by `{kind}.mutable`: one line per cell with its row, column and timestamp."


TYPES = [
    EntityType("dataset", PLAIN, FileParams, "Behaviour file", partial(_loaded, PLAIN), _plain_doc(PLAIN)),
    EntityType(
        "dataset",
        "beh.mutable",
        MutableParams,
        "Recordable behaviour dataset, frozen by its commit",
        partial(_mutable, MutableDataset),
        "The commit makes it readable and writes the file.",
    ),
    EntityType(
        "dataset",
        BINARY,
        FileParams,
        "Behaviour file whose values are all 1",
        partial(_loaded, BINARY),
        _plain_doc(BINARY),
    ),
    EntityType(
        "dataset",
        "beh.binary.mutable",
        MutableParams,
        "Recordable behaviour dataset that takes only the value 1",
        partial(_mutable, BinaryDataset),
        "The commit makes it readable and writes the file; so does `POST …/routes/saves`.",
    ),
]
