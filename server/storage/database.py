"""The one DuckDB instance of the server: opened once, used through cursors.

A connection is never shared by two threads (results stream and own it): whoever runs a query takes a cursor of its
own and closes it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from server.values.kinds import ANY_TYPE

_LOCKED = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "allow_community_extensions": "false",
    "python_enable_replacements": "false",
    "preserve_insertion_order": "true",
}


class Database:
    """A DuckDB file (or memory) with the types and macros that compiled queries use.

    ``memory_limit`` and ``threads`` are DuckDB's settings. External access stays on for the server's own bulk
    readers; compiled queries can only name what the binder knows, never a DuckDB table function.
    """

    def __init__(
        self, file: Path | None = None, *, memory_limit: str | None = None, threads: int | None = None
    ) -> None:
        config: dict[str, str | bool | int | float | list[str]] = dict(_LOCKED)
        if memory_limit:
            config["memory_limit"] = memory_limit
        if threads:
            config["threads"] = str(threads)
        self.file = file
        self._root = duckdb.connect(str(file) if file else ":memory:", config=config)
        self._root.execute(f"CREATE TYPE IF NOT EXISTS any_value_t AS {ANY_TYPE}")

    @contextmanager
    def cursor(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A cursor for one task. Autocommit unless the task begins a transaction."""
        cursor = self._root.cursor()
        try:
            yield cursor
        finally:
            cursor.close()

    @contextmanager
    def transaction(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A cursor inside one transaction: committed at the end, rolled back on any error."""
        with self.cursor() as cursor:
            cursor.execute("BEGIN")
            try:
                yield cursor
            except BaseException:
                cursor.execute("ROLLBACK")
                raise
            cursor.execute("COMMIT")

    def close(self) -> None:
        self._root.close()
