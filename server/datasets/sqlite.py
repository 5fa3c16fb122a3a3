"""``sqliteSparse``: a sparse dataset whose commits go to an SQLite file (entity-types.md §2.1)."""

from __future__ import annotations

import threading

from pydantic import Field

from server.datasets.base import table_of
from server.datasets.sparse import SparseDataset
from server.declarations import Creation, EntityType, Params, Progress, QueryResult
from server.errors import MldbError
from server.storage.cells import CellTables
from server.storage.database import Database, drop_tables
from server.storage.sqlite_cells import SqliteFile
from server.storage.sqlite_mldb import MldbSqliteFile, made_by_mldb


class SqliteParams(Params):
    dataFileUrl: str = Field("", description="file:// URL of the SQLite file; without one nothing is written")


class SqliteDataset(SparseDataset):
    """Reads from the tables in DuckDB; the file has what was committed, and is read when the dataset is made."""

    def __init__(self, database: Database, prefix: str, file: SqliteFile) -> None:
        super().__init__(CellTables(database, prefix))
        self._database = database
        self._file = file
        self._saving = threading.Lock()
        self.record_rows(file.recorded())
        super().commit()
        with database.cursor() as cursor:
            file.note(cursor, self._tables.layout())

    def commit(self) -> None:
        super().commit()
        self._save()

    def write(self, result: QueryResult, progress: Progress) -> None:
        super().write(result, progress)
        self._save()

    def _save(self) -> None:
        with self._saving, self._database.cursor() as cursor:
            self._file.append(cursor, self._tables.layout())


def _create(creation: Creation) -> SparseDataset:
    """The file is what counts: its rows are read again at each start."""
    database, url = creation.services.database, creation.params.dataFileUrl
    if not url:
        return SparseDataset(CellTables(database, table_of(creation)))
    if not url.lower().startswith("file:"):
        raise MldbError(f"SQLite database requires file:// URI, passed '{url}'")
    access = creation.services.urls.access
    path = access.writable(access.path_of(url[len("file:") :].removeprefix("//")))
    path.parent.mkdir(parents=True, exist_ok=True)
    file = (MldbSqliteFile if made_by_mldb(path) else SqliteFile)(path)
    prefix = table_of(creation)
    with database.transaction() as cursor:
        drop_tables(cursor, prefix)
    return SqliteDataset(database, prefix, file)


TYPES = [
    EntityType(
        "dataset",
        "sqliteSparse",
        SqliteParams,
        "Sparse matrix kept in an SQLite file",
        _create,
        "Takes rows and columns at any time; each commit is written to the file, which is read again at each start. "
        "Files that MLDB made are read, and written as it does, in milliseconds.",
    ),
]
