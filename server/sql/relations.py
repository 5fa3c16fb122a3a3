"""Relations: what a FROM clause gives to the expressions above it, and the SQL that reads it.

Each relation has a number of its own and is ``r<number>`` in the SQL. Expressions are bound first; a relation is
rendered last, from the SQL that was written above it, so it reads and computes only the columns that are used.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from server.errors import MldbError
from server.sql.bound import (
    Atom,
    Embedding,
    Leaf,
    Open,
    Rest,
    Row,
    Value,
    enumerate_elements,
    path_text,
    possible,
    presence,
)
from server.sql.coerce import to_cells
from server.sql.duck import literal_text, order_clause, references, where_clause
from server.sql.shortcuts import Shortcuts
from server.storage.database import NUMBER_HASH, PATH_HASH, identifier
from server.values.kinds import CELL_TYPE, Kind
from server.values.paths import Path, format_path

if TYPE_CHECKING:
    from server.storage.layouts import Wide, WideColumn


LEADING_SHARE = 8  # of a table: more rows than an eighth are found sooner by sorting all than by looking twice
MANY_ROWS = 100_000  # in smaller tables the first rows are found sooner by sorting than by looking twice
_ORDERED = frozenset({Kind.BOOLEAN, Kind.INTEGER, Kind.UNSIGNED, Kind.NUMBER, Kind.STRING, Kind.TIMESTAMP})
_CALL = re.compile(r"(\w+) ?\(")
_NO_FUNCTIONS = frozenset({"CAST", "NOT", "AND", "OR", "IN", "WHEN", "THEN", "ELSE", "LIKE"})
_PLAIN_KEY = re.compile(r'r\d+\.("c\d+") (ASC NULLS FIRST|DESC NULLS LAST)')


class Relation(Shortcuts):
    """The base: columns by path, row names, listing order. ``alias`` is the name in the dialect, if any.

    ``atoms_only``: ``column[…]`` takes a column for an atom, as upstream does for those of sub-selects (§4.4).
    ``nameless``: NAMED may give null, which is the empty path then: rows of an outer join lack one side's columns.
    """

    atoms_only = False
    nameless = False

    def __init__(self, number: int, alias: str | None = None) -> None:
        self.number = number
        self.alias = alias
        self._staged: list[str] = []

    @property
    def single(self) -> bool:
        """Whether there is one row at most."""
        return False

    @property
    def known_rows(self) -> int | None:
        """How many rows there are, where that is known."""
        return None

    def ref(self, column: str) -> str:
        return f"r{self.number}.{column}"

    def row(self) -> Row:
        """Everything, as a row value."""
        raise TypeError(f"{type(self).__name__} does not say what its rows are")

    def beginning(self, prefix: Path) -> Row:
        """As ``row``; columns that do not begin with the prefix may be left out."""
        return self.row()

    def under(self, prefix: Path) -> Row:
        """What lies strictly below a prefix, the prefix cut off."""
        return cut(self.row(), prefix)

    def lookup(self, path: Path) -> Value | None:
        """The value under a path, None when there can be none."""
        return lookup(self.row(), path)

    def row_path(self) -> Atom:
        """The row's path. INTEGER where rows are numbered, else PATH."""
        return Atom(self.ref("_row"), Kind.PATH)

    def row_text(self) -> str:
        """SQL of the row path's text."""
        return path_text(self.row_path())

    def row_hash(self) -> str:
        return f"{PATH_HASH}({self.row_text()})"

    def order(self) -> list[str]:
        """ORDER BY terms of the listing order; none when rows come in it anyway."""
        return []

    def sides(self) -> dict[str, Relation]:
        """Relations by the alias that qualifies their columns (a join has several)."""
        return {self.alias: self} if self.alias is not None else {}

    def column_rows(self, path: Path) -> str | None:
        """SQL of a scalar: how many rows have the column (``rowCount()`` in COLUMN EXPR); None if unknown."""
        found = self.row().columns.get(path) or self.lookup(path)
        if found is None or isinstance(found, Row):
            return None
        present = presence(found) or "TRUE"
        inner = self.render(present, ordered=False)
        return f"(SELECT count(*) FILTER (WHERE {present}) FROM {inner})"

    def lacks(self, name: str) -> bool:
        """Whether it is certain, where rows are open, that no column's first element begins like this."""
        return False

    def rows_by_column(self) -> str:
        """SQL of a scalar: for each column of open rows, how many rows have it, as a MAP."""
        cells = to_cells(self.row())
        rows = f"SELECT unnest(list_distinct(list_transform({cells}, lambda c: c.p))) AS p"
        counts = f"SELECT p, count(*) AS n FROM ({rows} FROM {self.render(cells, ordered=False)}) GROUP BY p"
        return f"(SELECT map(list(p), list(n)) FROM ({counts}))"

    def stage(self, sql: str) -> str:
        """The reference to a column ``x<n>``: this SQL over the relation's columns, computed once per row."""
        if sql in self._staged:
            return self.ref(f"x{self._staged.index(sql)}")
        self._staged.append(sql)
        return self.ref(f"x{len(self._staged) - 1}")

    @property
    def staged(self) -> list[str]:
        """What is computed once per row, as SQL over the relation and what was staged before."""
        return list(self._staged)

    def render(self, above: str, *, ordered: bool) -> str:
        """The FROM item, as ``(SELECT …) AS r<number>``.

        ``above`` is the SQL that will stand over it: only the columns that it reads, and what is staged for it, are in
        the item. ``ordered``: the rows are to come in the order of their listing.
        """
        number = self.number
        used, staged = self.used(above)
        text = self.base(used, ordered)
        for index in staged:
            text = f"(SELECT r{number}.*, {self._staged[index]} AS x{index} FROM {text}) AS r{number}"
        return text

    def used(self, above: str) -> tuple[set[str], list[int]]:
        """The columns that ``above`` reads, directly or through staged expressions, and the numbers of these."""
        read = references(above, self.number)
        staged: list[int] = []
        for index in reversed(range(len(self._staged))):
            if f"x{index}" in read:
                read |= references(self._staged[index], self.number)
                staged.append(index)
        return {name for name in read if not _is_staged(name)}, staged[::-1]

    def choice(self, item: str, where: list[str], order: list[str], tail: str) -> str:
        """SQL of one thing about each of the rows that WHERE, ORDER BY and LIMIT leave: what ``chosen`` begins with."""
        source = self.render(" ".join([*where, *order, item]), ordered=False)
        return f"SELECT {item} FROM {source}{where_clause(where)}{order_clause(order)}{tail}"

    def base(self, used: set[str], ordered: bool) -> str:
        """As ``render``, without staged columns: the FROM item with the columns ``used``."""
        raise TypeError(f"{type(self).__name__} cannot be read")


def _is_quick(condition: str) -> bool:
    """Whether a condition is so quickly seen that it may be looked at twice: it calls no function."""
    return set(_CALL.findall(condition)) <= _NO_FUNCTIONS


def _is_staged(name: str) -> bool:
    return name[0] == "x" and name[1:].isdigit()


# ── looking into rows ────────────────────────────────────────────────────────────────────────────────────────


def cut(row: Row, prefix: Path) -> Row:
    """The part of a row strictly below a prefix, the prefix cut off."""
    if not prefix:
        return row
    size = len(prefix)
    columns: dict[Path, Leaf] = {p[size:]: v for p, v in row.columns.items() if len(p) > size and p[:size] == prefix}
    whole = row.columns.get(prefix)
    if isinstance(whole, Embedding) and not columns:
        columns = dict(enumerate_elements(whole)) if whole.shape or whole.names else {(): whole}
    return Row(columns, tuple(_cut_rests(row.rests, prefix)), row.constant)


def _cut_rests(rests: Iterable[Rest], prefix: Path) -> Iterator[Rest]:
    size = len(prefix)
    for rest in rests:
        if rest.prefix[:size] == prefix:
            yield replace(rest, prefix=rest.prefix[size:])
        elif prefix[: len(rest.prefix)] == rest.prefix:
            below = prefix[len(rest.prefix) :]
            rows = tuple(path[len(below) :] for path in rest.rows if path[: len(below)] == below)
            yield replace(rest, prefix=(), sql=f"m_under({rest.sql}, {literal_text(format_path(below))})", rows=rows)


def lookup(row: Row, path: Path) -> Value | None:
    """The value under a path: a leaf, an element of an embedding, a sub-row or something open."""
    rests = tuple(_cut_rests(row.rests, path))
    found = row.columns.get(path)
    if found is None:
        found = _element(row, path)
    if found is not None and all(rest.disjoint for rest in rests):
        return found
    below = cut(row, path)
    if found is not None:
        return Open(to_cells(Row({(): found}, rests)))
    if below.columns:
        return below
    if not rests:
        return Row() if path in row.empty else None
    if len(rests) == 1 and not rests[0].prefix and not rests[0].is_row:
        return Open(rests[0].sql, rests[0].constant)
    return Row({}, rests, all(rest.constant for rest in rests))


def _element(row: Row, path: Path) -> Atom | None:
    for size in range(1, len(path)):
        whole = row.columns.get(path[:size])
        if isinstance(whole, Embedding) and (whole.shape is not None or whole.names is not None):
            return dict(enumerate_elements(whole)).get(path[size:])
        if isinstance(whole, Embedding) and len(path) == size + 1 and path[size].isdigit():
            return Atom(f"{whole.sql}[{int(path[size]) + 1}]", whole.kind, whole.ts, sparse=True)
    return None


# ── stored data ──────────────────────────────────────────────────────────────────────────────────────────────


class NoTable(Relation):
    """A statement without FROM: one row named ``result``."""

    @property
    def single(self) -> bool:
        return True

    def row(self) -> Row:
        return Row()

    def row_path(self) -> Atom:
        return Atom("'result'", Kind.PATH)

    def base(self, used: set[str], ordered: bool) -> str:
        return f"(SELECT 1 AS one) AS r{self.number}"


class WideRelation(Relation):
    """A table of typed columns."""

    def __init__(
        self,
        number: int,
        layout: Wide,
        alias: str | None,
        has_nan: Callable[[Wide, str], bool],
        has_null: Callable[[Wide, str], bool],
    ) -> None:
        """``has_nan`` and ``has_null`` tell whether a column of a table (by its SQL name) holds any NaN or NULL."""
        super().__init__(number, alias)
        self.layout = layout
        self._has_nan = has_nan
        self._has_null = has_null
        self._row = self._bound_row()

    @property
    def known_rows(self) -> int | None:
        return self.layout.rows

    def _leaf(self, column: WideColumn) -> Leaf:
        sql = self.ref(identifier(column.name))
        may_be_null = partial(self._has_null, self.layout, column.name)
        if column.shape is not None:
            return Embedding(sql, column.kind, column.shape, self._ts, column.names, may_be_null=may_be_null)
        if column.single:
            sql = f"CAST({sql} AS DOUBLE)"
        may_be_nan = partial(self._has_nan, self.layout, column.name) if column.kind is Kind.NUMBER else possible
        return Atom(sql, column.kind, self._ts, sparse=column.sparse, may_be_nan=may_be_nan, may_be_null=may_be_null)

    def _ts(self) -> str:
        return self.ref("_ts")

    def _bound_row(self) -> Row:
        columns = {column.path: self._leaf(column) for column in self.layout.columns}
        whole = columns.get(())
        if isinstance(whole, Embedding):  # without a name: its elements are the columns
            del columns[()]
            columns.update(enumerate_elements(whole))
        return Row(columns)

    def row(self) -> Row:
        return self._row

    def row_path(self) -> Atom:
        return Atom(self.ref("_row"), Kind.INTEGER if self.layout.numbered else Kind.PATH)

    def row_hash(self) -> str:
        return self.ref("_hash") if self.layout.hashed else f"{NUMBER_HASH}({self.ref('_row')})"

    def leading(self, order: list[str], where: list[str], count: int) -> str | None:
        # Ties are broken by the row hash, which is 8 bytes a row to read: it is read of those that may be first.
        key = _PLAIN_KEY.fullmatch(order[0])
        if key is None or order[1:] != [self.row_hash()] or self.staged or not all(map(_is_quick, where)):
            return None
        if self.layout.rows < MANY_ROWS or self.layout.rows <= count * LEADING_SHARE:
            return None
        table, (column, way) = identifier(self.layout.table), key.groups()
        stored = next(one for one in self.layout.columns if identifier(one.name) == column)
        if stored.shape is not None or stored.kind not in _ORDERED:
            return None
        last, within = ("max", "<=") if way == "ASC NULLS FIRST" else ("min", ">=")
        sorting = f"{column} {way.split()[0]} NULLS LAST"  # a condition on NULL keeps DuckDB from passing rows over
        first = f"SELECT {column} FROM {table} AS r{self.number}{where_clause(where)} ORDER BY {sorting} LIMIT {count}"
        parts = [f"{column} {within} (SELECT {last}({column}) FROM ({first}))"]
        if self._has_null(self.layout, stored.name):
            parts.append(f"{column} IS NULL")
        rows = " UNION ALL ".join(f"SELECT * FROM {table} WHERE {part}" for part in parts)
        return f"({rows}) AS r{self.number}"

    def base(self, used: set[str], ordered: bool) -> str:
        return f"{identifier(self.layout.table)} AS r{self.number}"


class BatchRelation(Relation):
    """A registered Arrow table: the input of a function. Columns c0, c1, …, their timestamps, and the rest."""

    def __init__(self, number: int, table: str, row: Row) -> None:
        super().__init__(number)
        self.table = table
        self._row = row

    def row(self) -> Row:
        return self._row

    def column_rows(self, path: Path) -> str | None:
        return None

    def base(self, used: set[str], ordered: bool) -> str:
        return f"{identifier(self.table)} AS r{self.number}"


def require_row(value: Value, message: str) -> Row:
    """A row value, or the error that says why one is needed."""
    match value:
        case Row():
            return value
        case Open(sql, constant):
            return Row({}, (Rest((), sql, constant=constant),), constant)
        case Embedding(shape=shape, names=names) if shape is not None or names is not None:
            return Row(dict(enumerate_elements(value)))
        case Embedding():
            return Row({}, (Rest((), to_cells(value)),))
        case Atom(kind=Kind.NULL):
            return Row({}, (Rest((), f"NULL::{CELL_TYPE}[]"),))
    raise MldbError(message)
