"""What survives a restart: entity configs in the order of their creation, and the runs that have ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from server.entities.types import PLURALS

if TYPE_CHECKING:
    import duckdb

    from server.declarations import EntityKind
    from server.storage.database import Database

_TABLE = """
CREATE TABLE IF NOT EXISTS mldb_catalogue (
    position BIGINT NOT NULL, kind VARCHAR NOT NULL, id VARCHAR NOT NULL, config VARCHAR NOT NULL, stored VARCHAR
)"""
_RUNS = """
CREATE TABLE IF NOT EXISTS mldb_runs (
    position BIGINT NOT NULL, procedure VARCHAR NOT NULL, id VARCHAR NOT NULL, run VARCHAR NOT NULL
)"""
_OLD_RUNS = """
DELETE FROM mldb_runs WHERE procedure = $procedure AND position <= (
    SELECT position FROM mldb_runs WHERE procedure = $procedure ORDER BY position DESC LIMIT 1 OFFSET $kept
)"""


@dataclass(frozen=True, slots=True)
class Record:
    """A saved entity. ``stored`` is what its ``persist()`` gave."""

    kind: EntityKind
    id: str
    config: dict[str, Any]
    stored: Any


class Catalogue:
    """Each change is one transaction: after a kill at any point, the table says the old or the new, never half."""

    def __init__(self, database: Database) -> None:
        self._database = database
        with database.transaction() as cursor:
            cursor.execute(_TABLE)
            cursor.execute(_RUNS)

    @property
    def commits(self) -> int:
        """Transactions of the database so far, whoever made them."""
        return self._database.commits

    def records(self) -> list[Record]:
        with self._database.cursor() as cursor:
            rows = cursor.execute("SELECT kind, id, config, stored FROM mldb_catalogue ORDER BY position").fetchall()
        return [
            Record(kind, id, orjson.loads(config), None if stored is None else orjson.loads(stored))
            for kind, id, config, stored in rows
            if kind in PLURALS
        ]

    def save(self, kind: EntityKind, id: str, config: Mapping[str, Any], stored: Any = None) -> None:
        """Enter or replace; a replaced entity goes to the end, as it may refer to what was made since.

        The runs of a procedure that is replaced go with it.
        """
        stored_text = None if stored is None else orjson.dumps(stored).decode()
        config_text = orjson.dumps(dict(config)).decode()
        with self._database.transaction() as cursor:
            cursor.execute("DELETE FROM mldb_catalogue WHERE kind = ? AND id = ?", [kind, id])
            cursor.execute(
                "INSERT INTO mldb_catalogue SELECT coalesce(max(position), 0) + 1, ?, ?, ?, ? FROM mldb_catalogue",
                [kind, id, config_text, stored_text],
            )
            _forget_runs(cursor, kind, id)

    def remove(self, kind: EntityKind, id: str) -> None:
        with self._database.transaction() as cursor:
            cursor.execute("DELETE FROM mldb_catalogue WHERE kind = ? AND id = ?", [kind, id])
            _forget_runs(cursor, kind, id)

    # ── runs ──

    def runs(self, procedure: str) -> list[dict[str, Any]]:
        """The runs of a procedure as they were saved, oldest end first."""
        with self._database.cursor() as cursor:
            query = "SELECT run FROM mldb_runs WHERE procedure = ? ORDER BY position"
            return [orjson.loads(text) for (text,) in cursor.execute(query, [procedure]).fetchall()]

    def save_run(self, procedure: str, id: str, run: Mapping[str, Any], kept: int) -> None:
        """Enter or replace a run that has ended; of the procedure's runs the last ``kept`` stay."""
        text = orjson.dumps(dict(run), option=orjson.OPT_NON_STR_KEYS).decode()
        with self._database.transaction() as cursor:
            cursor.execute("DELETE FROM mldb_runs WHERE procedure = ? AND id = ?", [procedure, id])
            cursor.execute(
                "INSERT INTO mldb_runs SELECT coalesce(max(position), 0) + 1, ?, ?, ? FROM mldb_runs",
                [procedure, id, text],
            )
            cursor.execute(_OLD_RUNS, {"procedure": procedure, "kept": kept})

    def remove_run(self, procedure: str, id: str) -> None:
        with self._database.transaction() as cursor:
            cursor.execute("DELETE FROM mldb_runs WHERE procedure = ? AND id = ?", [procedure, id])


def _forget_runs(cursor: duckdb.DuckDBPyConnection, kind: EntityKind, id: str) -> None:
    if kind == "procedure":
        cursor.execute("DELETE FROM mldb_runs WHERE procedure = ?", [id])
