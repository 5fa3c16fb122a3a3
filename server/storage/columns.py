"""The columns of a sparse dataset, asked for lazily: there may be millions."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

from server.storage.database import Database
from server.storage.layouts import CellColumn
from server.storage.stores import Seen, kind_of, stores_of
from server.values.paths import Path, format_path, natural_key, parse_path

# Up to here all columns are read at the first question; beyond, each is looked up by its name.
_LISTED_AT_ONCE = 10_000
_FEW = 100
_FIELDS = "id, name, seen, multiple, rows"


class StoredColumns:
    """``CellColumns`` over the ``_cols`` table: ``count`` columns as of one version of the dataset.

    They are looked up when asked for, so perhaps in a later version: then they are not ``current`` either.
    """

    def __init__(self, database: Database, prefix: str, count: int, current: Callable[[], bool]) -> None:
        self._database = database
        self._table = f"{prefix}_cols"
        self._count = count
        self.current = current
        self._found: dict[Path, CellColumn | None] = {}
        self._few: dict[Path, list[CellColumn]] = {}  # what lies below a prefix, where that is little

    def __len__(self) -> int:
        return self._count

    def get(self, path: Path) -> CellColumn | None:
        if self._count <= _LISTED_AT_ONCE:
            return self._all.get(path)
        if path not in self._found:
            self._found[path] = self._look_up(path)
        return self._found[path]

    def under(self, prefix: Path) -> Iterator[CellColumn]:
        """Columns strictly below a prefix, in natural order."""
        if self._count > _LISTED_AT_ONCE:
            yield from self._below(prefix)
            return
        size = len(prefix)
        start = bisect_left(self._order, natural_key(prefix), key=natural_key) if prefix else 0
        for path in self._order[start:]:
            if path[:size] != prefix:
                return
            if len(path) > size:
                yield self._all[path]

    def count(self, condition: str) -> int:
        """How many columns ``k`` meet a condition of SQL on ``k.name`` and ``k.rows``."""
        return int(self._fetch(f"SELECT count(*) FROM {self._table} k WHERE {condition}")[0][0])

    def where(self, condition: str, order: list[str], tail: str) -> list[CellColumn]:
        """Those columns, in this order and then the natural one; ``tail`` is LIMIT and OFFSET."""
        terms = ", ".join([*order, "u_natural_key(k.name)"])
        rows = self._fetch(f"SELECT {_FIELDS} FROM {self._table} k WHERE {condition} ORDER BY {terms}{tail}")
        return [_column(row) for row in rows]

    def stores(self) -> frozenset[str]:
        """The value tables that hold cells."""
        return self._stores

    def _below(self, prefix: Path) -> list[CellColumn]:
        if prefix in self._few:
            return self._few[prefix]
        start = format_path(prefix) + "." if prefix else ""
        rows = self._fetch(f"SELECT {_FIELDS} FROM {self._table} WHERE starts_with(name, ?)", [start])
        below = sorted(map(_column, rows), key=lambda column: natural_key(column.path))
        if len(below) <= _FEW:
            self._few[prefix] = below
        return below

    @cached_property
    def _all(self) -> dict[Path, CellColumn]:
        return {column.path: column for column in map(_column, self._fetch(f"SELECT {_FIELDS} FROM {self._table}"))}

    @cached_property
    def _stores(self) -> frozenset[str]:
        return stores_of(Seen(self._fetch(f"SELECT coalesce(bit_or(seen), 0) FROM {self._table}")[0][0]))

    @cached_property
    def _order(self) -> list[Path]:
        """Paths in natural order: a prefix comes before what is below it, and its columns stand together."""
        return sorted(self._all, key=natural_key)  # of one reading: the table may change between two

    def _look_up(self, path: Path) -> CellColumn | None:
        rows = self._fetch(f"SELECT {_FIELDS} FROM {self._table} WHERE name = ?", [format_path(path)])
        return _column(rows[0]) if rows else None

    def _fetch(self, query: str, values: list[Any] | None = None) -> list[tuple[Any, ...]]:
        with self._database.cursor() as cursor:
            return cursor.execute(query, values).fetchall()


def _column(row: tuple[Any, ...]) -> CellColumn:
    number, name, flags, multiple, rows = row
    seen = Seen(flags)
    return CellColumn(parse_path(name), number, stores_of(seen), kind_of(seen), multiple, bool(seen & Seen.NULL), rows)
