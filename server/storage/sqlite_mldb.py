"""An SQLite file that MLDB itself made, read and written in MLDB's own tables (``sqliteSparse``).

rows, cols   rowNum, rowHash, rowName and colNum, colHash, colName: the hash as a signed integer, path text
vals         rowNum, colNum, ts (milliseconds since 1970), val (the cell as JSON)
"""

from __future__ import annotations

import math
import pathlib
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from typing import Any

import orjson

from server.storage.sqlite_cells import Line, SqliteFile, atom_of
from server.values.atoms import Atom, atom_from_json, atom_to_json
from server.values.cityhash import hash_path
from server.values.paths import parse_path

_MARK = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'vals'"
# What MLDB's conversion makes of times that are not finite.
_FIRST, _LAST = -(2**63), 2**63 - 1
_NAME = "INSERT OR IGNORE INTO {0}s VALUES (NULL, ?, ?)"
_CELL = """
INSERT OR IGNORE INTO vals
SELECT rowNum, colNum, ?5, ?6 FROM rows, cols
WHERE rowHash = ?1 AND rowName = ?2 AND colHash = ?3 AND colName = ?4
"""


def made_by_mldb(file: pathlib.Path) -> bool:
    """Whether there is such a file with MLDB's tables."""
    if not file.is_file():
        return False
    try:
        with closing(sqlite3.connect(file, timeout=30)) as connection:
            return bool(connection.execute(_MARK).fetchone()[0])
    except sqlite3.DatabaseError:
        return False  # who opens it says why


class MldbSqliteFile(SqliteFile):
    """MLDB's tables: times in milliseconds, a value once for each time."""

    schema = ""
    read = """
    SELECT rowName, colName, ts, 'json', val
    FROM rows LEFT JOIN vals USING (rowNum) LEFT JOIN cols USING (colNum)
    ORDER BY rows.rowNum, vals.rowid
    """

    def atom(self, kind: str, value: Any) -> Atom:
        return atom_from_json(orjson.loads(value))

    def seconds(self, time: Any) -> float:
        if time in (_FIRST, _LAST):
            return math.copysign(math.inf, time)
        return float(time) * 0.001

    def store(self, connection: sqlite3.Connection, rows: Sequence[str], lines: Sequence[Line]) -> None:
        columns = dict.fromkeys(line[1] for line in lines)
        connection.executemany(_NAME.format("row"), [(_hash(name), name) for name in rows])
        connection.executemany(_NAME.format("col"), [(_hash(name), name) for name in columns])
        connection.executemany(
            _CELL,
            [
                (_hash(row), row, _hash(column), column, _milliseconds(time), _json(atom_of(kind, value)))
                for row, column, time, kind, value in lines
            ],
        )


def _hash(name: str) -> int:
    unsigned = hash_path(parse_path(name))
    return unsigned - 2**64 if unsigned >= 2**63 else unsigned


def _milliseconds(time: float | None) -> int:
    if time is None or time == -math.inf:
        return _FIRST
    return _LAST if time == math.inf else int(time * 1000)


def _json(atom: Atom) -> str:
    return orjson.dumps(atom_to_json(atom)).decode()
