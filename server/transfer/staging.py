"""Typed blocks into one wide table whose columns become wider as the data ask for it.

The table has the shape of ``server.storage.layouts.Wide`` from the start, so that a default import *is* its dataset.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import duckdb
import pyarrow as pa

from server.storage.database import arrow_view, identifier
from server.storage.layouts import ROW, TIMESTAMP, Wide, WideColumn
from server.storage.wide import column_name
from server.transfer.csvblocks import Block
from server.values import compute as pc
from server.values.kinds import ANY_TYPE, EXACT, Kind
from server.values.paths import Path

_WAITING = "VARCHAR"  # type of a column that has held nothing but nulls
_ADDED_ONE_BY_ONE = 16  # columns; more at once are added by a copy of the table: each takes some milliseconds


class Staging:
    """Appends blocks to ``table`` within the caller's transaction. Rows have one timestamp unless blocks say else.

    The first block says of what types the columns are: to change each of thousands later takes a statement each.
    """

    def __init__(self, cursor: duckdb.DuckDBPyConnection, table: str, paths: Sequence[Path], timestamp: float) -> None:
        self._cursor = cursor
        self._table = table
        self._timestamp = timestamp
        self._columns = [WideColumn(path, column_name(index), Kind.NULL) for index, path in enumerate(paths)]
        self.rows = 0
        self._created = False

    def add(self, columns: Sequence[tuple[Path, Kind, bool]]) -> None:
        """Further columns: path, kind and whether null says that a row lacks it. The rows so far have null there."""
        old = len(self._columns)
        self._columns += [
            WideColumn(path, column_name(index), kind, sparse=sparse)
            for index, (path, kind, sparse) in enumerate(columns, old)
        ]
        if not self._created:
            return
        declared = [(column.name, _type(column.kind)) for column in self._columns[old:]]
        if len(declared) > _ADDED_ONE_BY_ONE:
            self._copy(", ".join(f"CAST(NULL AS {type_}) AS {name}" for name, type_ in declared))
            return
        for name, type_ in declared:
            self._cursor.execute(f"ALTER TABLE {identifier(self._table)} ADD COLUMN {name} {type_}")

    def _copy(self, items: str) -> None:
        """The table anew with further columns."""
        table, copy = identifier(self._table), identifier(f"{self._table}_copy")
        self._cursor.execute(f"CREATE TABLE {copy} AS SELECT *, {items} FROM {table}")
        self._cursor.execute(f"DROP TABLE {table}")
        self._cursor.execute(f"ALTER TABLE {copy} RENAME TO {table}")

    def append(self, block: Block) -> None:
        if not self._created:
            self._create([kind for kind, _ in block.columns])
        for index, (kind, values) in enumerate(block.columns):
            self._widen(index, self._merged(index, kind, values))
        names = [column.name for column in self._columns]
        times = pa.repeat(float(self._timestamp), len(block.lines)) if block.times is None else block.times
        arrays = [pa.array(block.lines), times, *(values for _, values in block.columns)]
        table = pa.Table.from_arrays(arrays, names=[ROW, TIMESTAMP, *names])
        values = "".join(
            f", {converted(column.name, kind, column.kind)}"
            for column, (kind, _) in zip(self._columns, block.columns, strict=True)
        )
        with arrow_view(self._cursor, "block", table):
            self._cursor.execute(f"INSERT INTO {identifier(self._table)} SELECT {ROW}, {TIMESTAMP}{values} FROM block")
        self.rows += len(block.lines)

    def finish(self) -> Wide:
        """The layout of what was appended."""
        if not self._created:
            self._create([Kind.NULL] * len(self._columns))
        for column in self._columns:
            if column.kind is Kind.NULL:
                self._alter(column, Kind.NULL.duck, "NULL")
        return Wide(self._table, tuple(self._columns), numbered=True, rows=self.rows, hashed=False)

    def _create(self, kinds: Sequence[Kind]) -> None:
        columns = zip(self._columns, kinds, strict=True)
        self._columns = [replace(column, kind=kind) for column, kind in columns]
        declared = "".join(f", {column.name} {_type(column.kind)}" for column in self._columns)
        self._cursor.execute(f"CREATE TABLE {identifier(self._table)} ({ROW} BIGINT, {TIMESTAMP} DOUBLE{declared})")
        self._created = True

    def _merged(self, index: int, kind: Kind, values: pa.Array) -> Kind:
        """The kind that a column needs to hold a block's values too."""
        old = self._columns[index].kind
        if kind in (old, Kind.NULL):
            return old
        if old is Kind.NULL:
            return kind
        if {old, kind} == {Kind.INTEGER, Kind.NUMBER} and self._integers_are_exact(index, kind, values):
            return Kind.NUMBER
        return Kind.ANY

    def _integers_are_exact(self, index: int, kind: Kind, values: pa.Array) -> bool:
        """Whether the integers, of the block or of the table, stay the same as doubles."""
        if kind is Kind.INTEGER:
            limits = list(pc.min_max(values).as_py().values())
        else:
            name = self._columns[index].name
            limits = list(
                self._cursor.execute(f"SELECT min({name}), max({name}) FROM {identifier(self._table)}").fetchall()[0]
            )
        return all(limit is None or abs(limit) <= EXACT for limit in limits)

    def _widen(self, index: int, kind: Kind) -> None:
        column = self._columns[index]
        if kind is column.kind:
            return
        self._alter(column, kind.duck, converted(column.name, column.kind, kind))
        self._columns[index] = replace(column, kind=kind)

    def _alter(self, column: WideColumn, type_: str, value: str) -> None:
        if type_ == _WAITING and column.kind is Kind.NULL:
            return
        self._cursor.execute(f"ALTER TABLE {identifier(self._table)} ALTER {column.name} TYPE {type_} USING {value}")


def _type(kind: Kind) -> str:
    return _WAITING if kind is Kind.NULL else kind.duck


def converted(name: str, kind: Kind, wanted: Kind) -> str:
    """SQL that turns a column of one kind into another that holds its values."""
    if kind is wanted:
        return name
    if kind is Kind.NULL:
        return "NULL"
    if wanted is Kind.NUMBER:
        return f"CAST({name} AS DOUBLE)"
    return f"CASE WHEN {name} IS NULL THEN NULL ELSE {_as_any(name, kind)} END"


def _as_any(name: str, kind: Kind) -> str:
    """The union member that MLDB's rule of numbers asks for (server.values.kinds)."""
    if kind is Kind.STRING:
        return f"union_value(s := {name})::{ANY_TYPE}"
    double = f"union_value(n := CAST({name} AS DOUBLE))::{ANY_TYPE}"
    if kind is Kind.NUMBER:
        return double
    exact, tag = (f"{name} BETWEEN {-EXACT} AND {EXACT}", "i") if kind is Kind.INTEGER else (f"{name} <= {EXACT}", "u")
    return f"CASE WHEN {exact} THEN {double} ELSE union_value({tag} := {name})::{ANY_TYPE} END"
