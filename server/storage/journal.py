"""Small commits of a sparse dataset that wait to be folded into its tables.

Storing a batch of cells takes some fifteen statements, however few they are. A journalled one is a row of one table:
what was recorded, packed. Whoever reads the cells folds all records of a dataset first, as one batch of cells that
counts as so many commits (the listing order of rows depends on their number).
"""

from __future__ import annotations

from typing import Any

import duckdb
import msgpack

from server.storage.database import Database
from server.storage.pending import Pending
from server.values.atoms import Interval, PathValue, Timestamp

# A larger commit is worth its statements: they cost as much as folding some thousand cells.
SMALL_COMMIT = 1_000

# Rows and cells a journal may hold; folding that many takes a few tenths of a second.
JOURNAL_LIMIT = 100_000

_TIMESTAMP, _INTERVAL, _PATH = 1, 2, 3


class Journal:
    """The journal of one dataset. Not thread-safe: its tables hold a lock while they use it."""

    def __init__(self, database: Database, name: str) -> None:
        self.commits = 0
        self.size = 0
        self._database = database
        self._name = name
        with database.cursor() as cursor:
            query = "SELECT count(*), coalesce(sum(size), 0)::BIGINT FROM dataset_journal WHERE name = ?"
            self.commits, self.size = cursor.execute(query, [name]).fetchall()[0]

    @staticmethod
    def takes(pending: Pending) -> bool:
        """Whether a commit is small enough, and of recorded cells only."""
        return pending.recorded_only and pending.row_count + pending.cells <= SMALL_COMMIT

    @property
    def full(self) -> bool:
        return self.size >= JOURNAL_LIMIT

    def add(self, pending: Pending) -> None:
        """Enter one commit, durably."""
        size = pending.row_count + pending.cells
        record = msgpack.packb(pending.recorded(), default=_pack)
        with self._database.transaction() as cursor:
            cursor.execute("INSERT INTO dataset_journal VALUES (?, ?, ?, ?)", [self._name, self.commits, size, record])
        self.commits += 1
        self.size += size

    def take(self, cursor: duckdb.DuckDBPyConnection) -> Pending:
        """Remove all records inside a transaction; what they hold. Once that is committed: ``forget``."""
        query = "SELECT record FROM dataset_journal WHERE name = ? ORDER BY number"
        pending = Pending()
        for (record,) in cursor.execute(query, [self._name]).fetchall():
            pending.add_recorded(msgpack.unpackb(record, ext_hook=_unpack, strict_map_key=False))
        cursor.execute("DELETE FROM dataset_journal WHERE name = ?", [self._name])
        return pending

    def forget(self) -> None:
        """The records are gone from the table."""
        self.commits = self.size = 0


def _pack(value: Any) -> msgpack.ExtType:
    match value:
        case Timestamp(seconds):
            return msgpack.ExtType(_TIMESTAMP, msgpack.packb(seconds))
        case Interval(months, days, seconds):
            return msgpack.ExtType(_INTERVAL, msgpack.packb((months, days, seconds)))
        case PathValue(path):
            return msgpack.ExtType(_PATH, msgpack.packb(path))
    raise TypeError(f"no atom: {value!r}")


def _unpack(code: int, packed: bytes) -> Timestamp | Interval | PathValue:
    value = msgpack.unpackb(packed)
    if code == _TIMESTAMP:
        return Timestamp(value)
    if code == _INTERVAL:
        return Interval(*value)
    return PathValue(tuple(value))
