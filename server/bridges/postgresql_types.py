"""The types of PostgreSQL: a table as a dataset, a recorder, ``postgresql.import`` and ``postgresql.query``."""

from __future__ import annotations

import re
import time
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from server.bridges.copies import CopiedDataset
from server.bridges.outbox import Outbox
from server.bridges.postgresql import Place, cells_of, connected, selected, sql_type, sql_value, table_name
from server.declarations import (
    BoundFunction,
    Creation,
    EntityType,
    OutputDataset,
    ProcedureParams,
    Progress,
    Recorded,
    RunResult,
    Services,
    StatelessProcedure,
)
from server.errors import MldbError
from server.extras import extra
from server.transfer.outputs import record_all
from server.transfer.pythonvalues import python_of
from server.transfer.results import rows_of
from server.values.batches import ANY_ROW, Cell, Row, RowBatch, RowType
from server.values.cells import cells_array
from server.values.paths import format_path

# Texts and names in quotes are skipped, so that a `$name` within them stays as it is.
_NAMES = re.compile(r"""('(?:[^']|'')*'|"(?:[^"]|"")*")|(?<![\w$])\$([A-Za-z_]\w*)(?![\w$])""")
_INSERT_ROWS = 1000


# ── a table as a dataset ──


class TableParams(Place):
    tableName: str = Field(description="Name of the table, with its schema or without")
    primaryKey: str = Field("", description="Column that names the rows; without one they are numbered from 1")


@dataclass(frozen=True)
class SqlTable:
    """A table of a database as the origin of a dataset."""

    services: Services
    params: TableParams

    def version(self) -> Hashable | None:
        """Number of rows and sum of the transactions that wrote them; a view has no such."""
        sql = extra("psycopg.sql", "postgresql", "PostgreSQL")
        with connected(self.services, self.params) as connection:
            table = table_name(self.params.tableName)
            kind = connection.execute(
                "SELECT relkind FROM pg_class WHERE oid = %s::regclass", [table.as_string(connection)]
            ).fetchone()[0]
            if kind not in ("r", b"r", "p", b"p"):
                return None
            counted = sql.SQL("SELECT count(*), sum(xmin::text::bigint), array_agg(DISTINCT tableoid) FROM {}")
            found = connection.execute(counted.format(table)).fetchone()
            return (found[0], found[1], str(found[2]))

    def rows(self) -> Iterator[Recorded]:
        sql = extra("psycopg.sql", "postgresql", "PostgreSQL")
        now = time.time()
        with connected(self.services, self.params) as connection:
            query = sql.SQL("SELECT * FROM {}").format(table_name(self.params.tableName))
            for number, row in enumerate(selected(connection, query), 1):
                yield (self._name(row, number),), cells_of(row, now)

    def _name(self, row: Mapping[str, Any], number: int) -> str:
        key = self.params.primaryKey
        if not key:
            return str(number)
        if row.get(key) is None:
            raise MldbError(f"The table '{self.params.tableName}' has no value in the column '{key}' for some row")
        return str(row[key])


def _create_table(creation: Creation) -> CopiedDataset:
    origin = SqlTable(creation.services, creation.params)
    if not creation.stored:  # at a restart the server need not be there yet
        origin.version()
    return CopiedDataset("postgresql.dataset", creation.services.database, origin)


# ── recording ──


class RecorderParams(Place):
    tableName: str = Field(description="Name of the table, with its schema or without")
    createTable: bool = Field(False, description="Create the table and the columns that it lacks")
    dropTableIfExist: bool = Field(False, description="Drop the table first")
    primaryKey: str = Field("rowName", description="Column for the names of rows; empty to leave them out")


class Recorder(Outbox):
    """A commit inserts in one transaction."""

    unreadable = "A postgresql.recorder dataset cannot be queried: a postgresql.dataset reads its table"

    def __init__(self, services: Services, params: RecorderParams, *, fresh: bool) -> None:
        super().__init__()
        self._services = services
        self._params = params
        if fresh and params.dropTableIfExist:
            self._execute("DROP TABLE IF EXISTS {}")
        with connected(services, params) as connection:
            connection.execute("SELECT 1")

    def _execute(self, statement: str) -> None:
        sql = extra("psycopg.sql", "postgresql", "PostgreSQL")
        with connected(self._services, self._params, read_only=False) as connection:
            connection.execute(sql.SQL(statement).format(table_name(self._params.tableName)))

    def persist(self) -> dict[str, Any]:
        return {"made": True}  # a restart must not drop the table again

    def outgoing(self, row: Recorded) -> dict[str, Any]:
        name, cells, key = *row, self._params.primaryKey
        named = {key: format_path(name)} if key else {}
        return named | {format_path(column): value for column, value, _ in cells}

    def send(self, waiting: list[dict[str, Any]]) -> None:
        with connected(self._services, self._params, read_only=False) as connection:
            self._insert(connection, waiting, self._types(connection, waiting))

    def _types(self, connection: Any, rows: list[dict[str, Any]]) -> dict[str, str]:
        """Type of each column that is recorded; with ``createTable`` those that are missing are made."""
        sql = extra("psycopg.sql", "postgresql", "PostgreSQL")
        table = table_name(self._params.tableName)
        names = dict.fromkeys(name for row in rows for name in row)
        types = {name: sql_type(row[name] for row in rows if name in row) for name in names}
        if self._params.createTable:
            connection.execute(sql.SQL("CREATE TABLE IF NOT EXISTS {} ()").format(table))
            for name, type_ in types.items():
                end = " PRIMARY KEY" if name == self._params.primaryKey else ""
                add = sql.SQL("ALTER TABLE {} ADD COLUMN IF NOT EXISTS {} {}").format(
                    table, sql.Identifier(name), sql.SQL(type_ + end)
                )
                connection.execute(add)
        return self._present(connection, table, types)

    def _present(self, connection: Any, table: Any, wanted: dict[str, str]) -> dict[str, str]:
        """The types to insert as: TEXT for columns that hold texts; PostgreSQL converts to other types by itself."""
        found = connection.execute(
            "SELECT attname, format_type(atttypid, NULL) FROM pg_attribute WHERE attrelid = %s::regclass"
            " AND attnum > 0 AND NOT attisdropped",
            [table.as_string(connection)],
        )
        textual = {name for name, type_ in found.fetchall() if type_ in ("text", "character varying", "character")}
        return {name: "TEXT" if name in textual else type_ for name, type_ in wanted.items()}

    def _insert(self, connection: Any, rows: list[dict[str, Any]], types: dict[str, str]) -> None:
        sql = extra("psycopg.sql", "postgresql", "PostgreSQL")
        insert = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
            table_name(self._params.tableName),
            sql.SQL(", ").join(map(sql.Identifier, types)),
            sql.SQL(", ").join(sql.Placeholder() * len(types)),
        )
        with connection.cursor() as cursor:
            for start in range(0, len(rows), _INSERT_ROWS):
                part = rows[start : start + _INSERT_ROWS]
                cursor.executemany(
                    insert, [[sql_value(row.get(name), type_) for name, type_ in types.items()] for row in part]
                )


def _create_recorder(creation: Creation) -> Recorder:
    return Recorder(creation.services, creation.params, fresh=creation.stored is None)


# ── importing ──


class ImportParams(ProcedureParams, Place):
    postgresqlQuery: str = Field(description="SQL of PostgreSQL; what it selects is imported")
    outputDataset: OutputDataset = Field(
        default={}, description="Dataset to create; sparse.mutable unless it says otherwise"
    )


class PostgresqlImport(StatelessProcedure):
    def check(self, params: ImportParams) -> None:
        extra("psycopg", "postgresql", "PostgreSQL")

    def run(self, params: ImportParams, progress: Progress) -> RunResult:
        progress.step("iterating", "counter")
        now = time.time()
        with connected(self.services, params) as connection:
            found = selected(connection, params.postgresqlQuery)
            rows = (((f"row_{number}",), cells_of(row, now)) for number, row in enumerate(found))
            _, dataset = self.services.output_dataset(params.outputDataset, "sparse.mutable")
            record_all(dataset, rows, progress)
            return RunResult(dataset.status())


# ── querying ──


class QueryParams(Place):
    query: str = Field(description="SQL of PostgreSQL; `$name` stands for the input of that name")


def prepared(query: str) -> tuple[str, list[str]]:
    """The query with psycopg's placeholders, and the names of its inputs."""
    names: list[str] = []

    def placed(found: re.Match[str]) -> str:
        if found[1] is not None:
            return found[1].replace("%", "%%")
        names.append(found[2])
        return f"%({found[2]})s"

    parts: list[str] = []
    end = 0
    for match in _NAMES.finditer(query):
        parts += [query[end : match.start()].replace("%", "%%"), placed(match)]
        end = match.end()
    return "".join([*parts, query[end:].replace("%", "%%")]), names


@dataclass(frozen=True)
class PostgresqlQuery:
    """The function entity: the first row of a query, which cannot change anything."""

    services: Services
    params: QueryParams
    input = output = ANY_ROW

    def bind(self, given: RowType) -> BoundFunction:
        return _BoundQuery(self, *prepared(self.params.query))


@dataclass(frozen=True)
class _BoundQuery:
    function: PostgresqlQuery
    query: str
    names: list[str]
    output = ANY_ROW

    def apply(self, batch: RowBatch) -> RowBatch:
        with connected(self.function.services, self.function.params) as connection:
            rows = [self._first(connection, row) for row in rows_of(batch)]
        return RowBatch(self.output, batch.length, [], [], cells_array(rows))

    def _first(self, connection: Any, given: Row) -> Row:
        values = {cell.path[0]: python_of(cell.value) for cell in given if len(cell.path) == 1}
        parameters = {name: values.get(name) for name in self.names}
        row = next(iter(selected(connection, self.query, parameters)), {})
        return [Cell(path, atom, moment) for path, atom, moment in cells_of(row, time.time())]


def _create_query(creation: Creation) -> PostgresqlQuery:
    extra("psycopg", "postgresql", "PostgreSQL")
    return PostgresqlQuery(creation.services, creation.params)


_EXTRA = "Needs the extra `postgresql`. User and password come from the stored credentials or from libpq."
TYPES = [
    EntityType(
        "dataset", "postgresql.dataset", TableParams, "A table of PostgreSQL as a dataset", _create_table,
        f"Read anew when the table has changed. {_EXTRA}",
    ),
    EntityType(
        "dataset", "postgresql.recorder", RecorderParams, "Records into a table of PostgreSQL", _create_recorder,
        f"Rows are inserted by the commit, all or none; timestamps are not kept. {_EXTRA}",
    ),
    EntityType(
        "procedure", "postgresql.import", ImportParams, "Import what a query of PostgreSQL selects",
        PostgresqlImport.create,
        f"Each row becomes a row named by its number, from 1. {_EXTRA}",
    ),
    EntityType(
        "function", "postgresql.query", QueryParams, "The first row of a query of PostgreSQL", _create_query,
        f"Inputs are bound to `$name`; the query runs in a transaction that reads only. {_EXTRA}",
    ),
]  # fmt: skip
