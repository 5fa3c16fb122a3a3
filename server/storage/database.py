"""The one DuckDB instance of the server: opened once, used through cursors.

A connection is never shared by two threads (results stream and own it): whoever runs a query takes a cursor of its
own and closes it.
"""

from __future__ import annotations

import json
import logging
import threading
import uuid
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
from duckdb.func import PythonUDFType

from server import tasks
from server.errors import MldbError, disk_fault
from server.storage.readers import Readers, stopped_with
from server.values.arrow import pa
from server.values.cityhash import hash_path_texts
from server.values.kinds import ANY_TYPE
from server.values.numberhashes import NumberHashes

_log = logging.getLogger("mldb.server")

# External access stays on: bulk imports use DuckDB's own readers. Compiled queries reach none of them, as they can
# only name what the binder knows.
_LOCKED = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "allow_community_extensions": "false",
    "allow_persistent_secrets": "false",
    "python_enable_replacements": "false",
    "preserve_insertion_order": "true",
    "order_by_non_integer_literal": "true",  # an ORDER BY key may turn out constant
}
_TABLE_PREFIX = "d_"
_JOURNAL = """
CREATE TABLE IF NOT EXISTS dataset_journal (name VARCHAR, number BIGINT, size BIGINT, record BLOB)"""
PATH_HASH = "mldb_path_hash"  # SQL: path text (VARCHAR) to UBIGINT
NUMBER_HASH = "mldb_number_hash"  # SQL: the same of a number's text, from BIGINT


def new_table() -> str:
    """A fresh name for a dataset's table, or the prefix of its tables."""
    return _TABLE_PREFIX + uuid.uuid4().hex[:16]


class Database:
    """A DuckDB file (or memory) with the types and functions that compiled queries use.

    ``memory_limit`` and ``threads`` are DuckDB's settings; what does not fit in memory is spilled beside the file.
    """

    def __init__(
        self, file: Path | None = None, *, memory_limit: str | None = None, threads: int | None = None
    ) -> None:
        config: dict[str, Any] = dict(_LOCKED)
        if memory_limit:
            config["memory_limit"] = memory_limit
        if threads:
            config["threads"] = str(threads)
        self.file = file
        self.commits = 0  # grows with every transaction: who caches what tables look like compares it
        self._counting = threading.Lock()
        self._defining = threading.Lock()
        self._kept: weakref.WeakSet[duckdb.DuckDBPyConnection] = weakref.WeakSet()
        self.readers = Readers(self.keep_cursor)
        self._root = _opened(file, config) if file else duckdb.connect(":memory:", config=config)
        self._root.execute(f"CREATE TYPE IF NOT EXISTS any_value_t AS {ANY_TYPE}")
        self._root.execute("CREATE TABLE IF NOT EXISTS dataset_tables (name VARCHAR, meta VARCHAR)")
        self._root.execute(_JOURNAL)
        # DuckDB evaluates annotations: those of the lambda, which has none, do not load pyarrow.
        self._root.create_function(
            PATH_HASH, lambda texts: _hash_batch(texts), ["VARCHAR"], "UBIGINT", type=PythonUDFType.ARROW
        )
        self._root.create_function(
            NUMBER_HASH, lambda numbers: _hash_numbers(numbers), ["BIGINT"], "UBIGINT", type=PythonUDFType.ARROW
        )

    @contextmanager
    def cursor(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A cursor for one task. Autocommit unless the task begins a transaction."""
        cursor = self._root.cursor()
        try:
            yield cursor
        finally:
            cursor.close()

    def keep_cursor(self) -> duckdb.DuckDBPyConnection:
        """A cursor for whoever keeps it, one thread at a time; open until it is forgotten or the database closes."""
        cursor = self._root.cursor()
        self._kept.add(cursor)
        return cursor

    @contextmanager
    def transaction(self, *, stoppable: bool = False) -> Iterator[duckdb.DuckDBPyConnection]:
        """A cursor inside one transaction: committed at the end, rolled back on any error.

        ``stoppable``: a cancel of the thread's task interrupts what the cursor does, but not the commit.
        """
        task = tasks.current() if stoppable else None
        with self.cursor() as cursor:
            cursor.execute("BEGIN")
            try:
                with stopped_with(task, cursor):
                    yield cursor
            except BaseException:
                _roll_back(cursor)
                raise
            cursor.execute("COMMIT")
        with self._counting:
            self.commits += 1

    def snapshot(self, file: Path) -> None:
        """Copy all tables into a new database file as they are at one moment; writers go on meanwhile."""
        name = new_table()
        with self.cursor() as cursor:
            cursor.execute(_attach(file, name))
            try:
                (own,) = cursor.execute("SELECT current_database()").fetchone() or ("",)
                cursor.execute(f'COPY FROM DATABASE "{own}" TO {name}')
            finally:
                cursor.execute(f"DETACH {name}")

    def define(self, action: Callable[[duckdb.DuckDBPyConnection], None]) -> None:
        """Define (or remove) functions and macros; every cursor sees them."""
        with self._defining:
            action(self._root)

    def close(self) -> None:
        """Fold the write-ahead log into the file and close it. On a disk that takes nothing the log stays."""
        for kept in list(self._kept):
            kept.close()
        if self.file is not None:
            try:
                with self.cursor() as cursor:
                    cursor.execute("FORCE CHECKPOINT")
            except duckdb.Error as error:
                _log.error("the database was not folded into its file: %s", error)
        with self._defining:  # a connection that is at work cannot be closed
            self._root.close()

    def drop_orphans(self, referenced: Iterable[str]) -> list[str]:
        """Drop the dataset tables that nothing refers to; their names.

        ``referenced``: the ``tables`` of what the datasets persisted (names made by ``new_table``).
        """
        keep = set(referenced)
        with self.transaction() as cursor:
            orphans = [name for name in _tables(cursor, _TABLE_PREFIX) if owner_of(name) not in keep]
            for name in orphans:
                cursor.execute(f"DROP TABLE {identifier(name)}")
            known = cursor.execute("SELECT name FROM dataset_tables UNION SELECT name FROM dataset_journal").fetchall()
            for (name,) in known:
                if name not in keep:
                    _forget(cursor, name)
        return orphans


@contextmanager
def written_to_be_read(what: str) -> Iterator[None]:
    """Around what reading has to write first. ``MldbError`` with what is written and the remedy when the disk takes
    nothing."""
    try:
        yield
    except duckdb.Error as error:
        fault = disk_fault(error)
        if not fault:
            raise
        raise MldbError(f"{what}; nothing is lost, but {fault}, then ask again", code=507) from error


def _opened(file: Path, config: dict[str, Any]) -> duckdb.DuckDBPyConnection:
    """A database file that is opened as the main one replays its log before DuckDB knows its functions: after an
    import whose columns changed their type it cannot. One that is attached can."""
    try:
        return duckdb.connect(str(file), config=config)
    except duckdb.CatalogException:
        if not file.with_name(f"{file.name}.wal").exists():
            raise
        with duckdb.connect(config=config) as other:
            other.execute(_attach(file, "replayed"))
            other.execute("CHECKPOINT replayed")
        return duckdb.connect(str(file), config=config)


def _attach(file: Path, name: str) -> str:
    return f"ATTACH {text_literal(str(file))} AS {name}"


def identifier(name: str) -> str:
    """An SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def text_literal(text: str) -> str:
    """An SQL literal of a text without NUL characters."""
    return "'" + text.replace("'", "''") + "'"


def owner_of(table: str) -> str:
    """The name made by ``new_table`` that a table belongs to."""
    return "_".join(table.split("_")[:2])


class ArrowSource:
    """What a view over Arrow reads: each scan finds the table that is there then, which may be taken away."""

    def __init__(self, table: pa.Table) -> None:
        self.table: pa.Table | None = table

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        assert self.table is not None
        return self.table.__arrow_c_stream__(requested_schema)


@contextmanager
def arrow_view(cursor: duckdb.DuckDBPyConnection, name: str, table: pa.Table) -> Iterator[None]:
    """An Arrow table under a name that queries of this cursor can use.

    A view that is dropped lives on until its transaction ends, with what it is over: so that an import of many
    blocks does not gather them all, it is left with nothing. After an error the name stays as well, until the cursor
    is closed: an aborted transaction cannot even forget one.
    """
    source = ArrowSource(table)
    try:
        cursor.register(name, source)
        yield
        cursor.unregister(name)
    finally:
        source.table = None


def read_meta(cursor: duckdb.DuckDBPyConnection, name: str) -> Any:
    """What ``write_meta`` stored beside a dataset's tables (JSON), or None."""
    found = cursor.execute("SELECT meta FROM dataset_tables WHERE name = ?", [name]).fetchall()
    return json.loads(found[0][0]) if found else None


def write_meta(cursor: duckdb.DuckDBPyConnection, name: str, meta: Any) -> None:
    """Store what describes a dataset's tables, in the transaction that changes them."""
    text = json.dumps(meta)
    if cursor.execute("UPDATE dataset_tables SET meta = ? WHERE name = ?", [text, name]).fetchall()[0][0] == 0:
        cursor.execute("INSERT INTO dataset_tables VALUES (?, ?)", [name, text])


def drop_tables(cursor: duckdb.DuckDBPyConnection, name: str) -> None:
    """Drop a dataset's tables and what describes them."""
    for table in _tables(cursor, name):
        if owner_of(table) == name:
            cursor.execute(f"DROP TABLE {identifier(table)}")
    _forget(cursor, name)


def _tables(cursor: duckdb.DuckDBPyConnection, beginning: str) -> list[str]:
    """The names of stored tables that begin so. Those of a copy that is being made are none of ours."""
    found = cursor.execute(
        "SELECT table_name FROM duckdb_tables()"
        " WHERE database_name = current_database() AND NOT temporary AND starts_with(table_name, ?)",
        [beginning],
    ).fetchall()
    return [name for (name,) in found]


def _forget(cursor: duckdb.DuckDBPyConnection, name: str) -> None:
    """Remove what describes a dataset's tables and what waits to be folded into them."""
    for table in ("dataset_tables", "dataset_journal"):
        cursor.execute(f"DELETE FROM {table} WHERE name = ?", [name])


def _roll_back(cursor: duckdb.DuckDBPyConnection) -> None:
    try:
        cursor.execute("ROLLBACK")
    except duckdb.TransactionException:
        return  # the failed statement ended the transaction already


def _hash_batch(texts: pa.ChunkedArray) -> pa.Array:
    return pa.array(hash_path_texts(texts), pa.uint64())


_numbers = NumberHashes()


def _hash_numbers(numbers: pa.ChunkedArray) -> pa.Array:
    return pa.array(_numbers.of(numbers.to_numpy()), pa.uint64())
