"""Functions on Arrow batches, called from SQL: the argument packed into a struct, the result taken apart again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from server.sql import coerce
from server.sql.bound import Atom, Embedding, Rest, Row, RowBuilder, Several, fixed, latest_ts, typed
from server.sql.tasks import TASK_SQL
from server.storage.database import identifier
from server.values.batches import Column, RowType
from server.values.kinds import Kind
from server.values.paths import Path

if TYPE_CHECKING:
    from server.declarations import BoundFunction, Function
    from server.sql.scope import Scope


def apply_function(function: Function, row: Row, scope: Scope, *, constant: bool = False) -> Row:
    """A call of a function that works on Arrow batches, computed once per row below the expression."""
    type_, packed = pack(row, timestamps=False)
    bound = function.bind(type_)
    timed = bool(getattr(bound, "timestamps", False))
    if timed:
        type_, packed = pack(row, timestamps=True)
    name = scope.context.define(bound, (type_, timed))
    result = scope.stage(f"{identifier(name)}({packed})")
    return unpack(bound, result, row, timed, constant)


def pack(row: Row, *, timestamps: bool) -> tuple[RowType, str]:
    """A row as the argument of a batch function: its type, and SQL of the struct that carries it."""
    columns: list[Column] = []
    fields: list[str] = []
    several: dict[Path, Several] = {}
    for path, leaf in row.columns.items():
        if isinstance(leaf, Several):
            several[path] = leaf
            continue
        kind = Kind.ANY if leaf.kind is Kind.NULL else leaf.kind
        if isinstance(leaf, Embedding):
            fields.append(f"c{len(columns)} := {leaf.sql}")
            columns.append(Column(path, kind, leaf.shape or (-1,)))
        else:
            fields.append(f"c{len(columns)} := {typed(leaf)}")
            columns.append(Column(path, kind))
        if timestamps:
            fields.append(f"t{len(columns) - 1} := {leaf.ts()}")
    opened = bool(row.rests or several or row.empty)
    if opened:
        rest = Row(dict(several), row.rests)
        fields.append(f"rest := {coerce.to_cells(rest)}")
    type_ = RowType(tuple(columns), opened)
    return type_, f"struct_pack(task := {TASK_SQL}, {', '.join(fields) or 'one := 1'})"


def unpack(bound: BoundFunction, result: str, argument: Row, timed: bool, constant: bool) -> Row:
    """The columns of a batch function's result."""
    builder = RowBuilder()
    newest = latest_ts([argument])
    for index, column in enumerate(bound.output.columns):
        sql = f"{result}.c{index}"
        ts = fixed(f"{result}.t{index}") if timed else newest
        if column.shape is not None:
            shape = None if -1 in column.shape else column.shape
            builder.add(column.path, Embedding(sql, column.kind, shape, ts, column.names, constant))
        else:
            builder.add(column.path, Atom(sql, column.kind, ts, constant))
    if bound.output.open:
        builder.rests.append(Rest((), f"{result}.rest"))
    return builder.build()
