"""What dataset types share: recording rules and refusals (rest-api.md §5)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NoReturn

from server.declarations import Creation, Progress, QueryResult, Recorded
from server.errors import MldbError
from server.storage.database import new_table


def table_of(creation: Creation) -> str:
    """The table of a dataset, or the prefix of its tables: the one that it stored, or a new name."""
    name: str = creation.stored["tables"][0] if creation.stored else new_table()
    return name


def stored_table(name: str) -> dict[str, Any]:
    """What a dataset's ``persist()`` says of its tables."""
    return {"tables": [name]}


def tables_of(stored: Iterable[Any]) -> Iterable[str]:
    """The tables that datasets have, from what each stored; those of some lie elsewhere."""
    return (table for each in stored if each for table in each.get("tables", ()))


def checked_rows(rows: Iterable[Recorded]) -> list[Recorded]:
    """Recorded rows whose names, and those of their columns, are not empty paths."""
    return _checked(rows, "row", "column")


def checked_columns(columns: Iterable[Recorded]) -> list[Recorded]:
    """As ``checked_rows`` for columns of rows."""
    return _checked(columns, "column", "row")


def _checked(recorded: Iterable[Recorded], kind: str, other: str) -> list[Recorded]:
    listed = list(recorded)
    for name, cells in listed:
        if not name:
            raise MldbError(f"empty {kind} names are not allowed")
        if not all(path for path, _, _ in cells):
            raise MldbError(f"empty {other} names are not allowed")
    return listed


def transposed(columns: Iterable[Recorded]) -> list[Recorded]:
    """Recorded columns as rows, in the order in which the rows are first named."""
    rows: dict[Any, list[Any]] = {}
    for column, cells in columns:
        for row, value, time in cells:
            rows.setdefault(row, []).append((column, value, time))
    return list(rows.items())


class ReadOnly:
    """A dataset that cannot be recorded into."""

    type_name = ""

    def record_rows(self, rows: Iterable[Recorded]) -> None:
        self._refuse()

    def record_columns(self, columns: Iterable[Recorded]) -> None:
        self._refuse()

    def write(self, result: QueryResult, progress: Progress) -> None:
        self._refuse()

    def commit(self) -> None:
        """There is nothing to commit."""

    def _refuse(self) -> NoReturn:
        raise MldbError(f"Dataset type '{self.type_name}' doesn't allow recording")
