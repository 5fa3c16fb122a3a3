"""A sparse dataset in an SQLite file, beside the tables that queries read (``sqliteSparse``).

    rows, columns   id, name (path text)
    cells           row, col, ts (seconds, NULL for "not a date"), kind, value

``kind`` is that of dataset files. SQLite has no NaN and no unsigned integers: a NULL number is NaN, a large unsigned
integer and an interval (``months days seconds``) are texts.
"""

from __future__ import annotations

import math
import pathlib
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

import duckdb

from server.declarations import Recorded
from server.errors import MldbError
from server.storage.dataset_files import cell_lines
from server.storage.layouts import Cells
from server.storage.stores import STORES
from server.values.atoms import Atom, Interval, PathValue, Timestamp
from server.values.paths import Path, parse_path

_SCHEMA = """
CREATE TABLE IF NOT EXISTS rows (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS columns (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS cells (row INTEGER NOT NULL, col INTEGER NOT NULL, ts REAL, kind TEXT NOT NULL, value);
"""
Line = tuple[str, str, float | None, str, Any]  # row, column, seconds, kind and value, as they are in ``cells``
_CELL = """
INSERT INTO cells
SELECT rows.id, columns.id, ?3, ?4, ?5 FROM rows, columns WHERE rows.name = ?1 AND columns.name = ?2
"""
_READ = """
SELECT rows.name, columns.name, ts, kind, value
FROM rows LEFT JOIN cells ON cells.row = rows.id LEFT JOIN columns ON columns.id = cells.col
ORDER BY rows.id, cells.rowid
"""


class SqliteFile:
    """The file, and how much of the dataset's tables it already has."""

    schema = _SCHEMA
    read = _READ

    def __init__(self, file: pathlib.Path) -> None:
        self._file = file
        self._rows = 0
        self._stored = dict.fromkeys(STORES, 0)
        try:
            with closing(self._connect()) as connection, connection:
                connection.executescript(self.schema)
        except sqlite3.DatabaseError as error:
            raise MldbError(f"'{file.name}' cannot be used as an SQLite database: {error}") from None

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self._file, timeout=30)

    def recorded(self) -> Iterator[Recorded]:
        """All rows of the file."""
        with closing(self._connect()) as connection:
            name: str | None = None
            cells: list[tuple[Path, Atom, float]] = []
            for row, column, time, kind, value in connection.execute(self.read):
                if row != name:
                    if name is not None:
                        yield parse_path(name), cells
                    name, cells = row, []
                if column is not None:
                    cells.append((parse_path(column), self.atom(kind, value), self.seconds(time)))
            if name is not None:
                yield parse_path(name), cells

    def note(self, cursor: duckdb.DuckDBPyConnection, layout: Cells) -> None:
        """Take what the tables hold now as stored in the file."""
        self._rows = layout.rows
        for store in STORES:
            counted = cursor.execute(f"SELECT count(*) FROM {layout.prefix}_{store}").fetchall()
            self._stored[store] = counted[0][0]

    def append(self, cursor: duckdb.DuckDBPyConnection, layout: Cells) -> None:
        """Store, in one transaction of the file, what the tables have got since the last time."""
        names = cursor.execute(f"SELECT name FROM {layout.prefix}_rows WHERE id >= {self._rows} ORDER BY id").fetchall()
        lines = cursor.execute(cell_lines(layout, self._stored)).fetchall()
        with closing(self._connect()) as connection, connection:
            self.store(connection, [name for (name,) in names], [_line(*line) for line in lines])
        self.note(cursor, layout)

    def atom(self, kind: str, value: Any) -> Atom:
        return atom_of(kind, value)

    def seconds(self, time: Any) -> float:
        return math.nan if time is None else float(time)

    def store(self, connection: sqlite3.Connection, rows: Sequence[str], lines: Sequence[Line]) -> None:
        """Add rows and cells to the file's tables."""
        columns = dict.fromkeys(line[1] for line in lines)
        connection.executemany("INSERT OR IGNORE INTO rows (name) VALUES (?)", [(name,) for name in rows])
        connection.executemany("INSERT OR IGNORE INTO columns (name) VALUES (?)", [(name,) for name in columns])
        connection.executemany(_CELL, lines)


def _line(row: str, column: str, time: float, kind: str, *members: Any) -> Line:
    """A line of a dataset file as SQLite takes it."""
    value = next((member for member in members if member is not None), None)
    if kind == "unsigned":
        value = str(value)
    elif isinstance(value, dict):
        value = f"{value['months']} {value['days']} {value['seconds']!r}"
    elif isinstance(value, float) and math.isnan(value):
        value = None
    return row, column, None if math.isnan(time) else time, kind, value


def atom_of(kind: str, value: Any) -> Atom:
    match kind:
        case "null":
            return None
        case "integer" | "unsigned":
            return int(value)
        case "number":
            return math.nan if value is None else float(value)
        case "string":
            return str(value)
        case "timestamp":
            return Timestamp(math.nan if value is None else float(value))
        case "interval":
            months, days, seconds = value.split(" ")
            return Interval(int(months), int(days), float(seconds))
        case "blob":
            return bytes(value)
        case "path":
            return PathValue(parse_path(value) if value else ())
    raise MldbError(f"an SQLite dataset has a value of the unknown kind '{kind}'")
