"""Function calls: scope functions, then user functions, then builtins (sql-dialect.md §11.1)."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from server.errors import MldbError
from server.sql import coerce
from server.sql.bound import (
    Atom,
    Embedding,
    Rest,
    Row,
    RowBuilder,
    Several,
    Value,
    fixed,
    latest_ts,
    typed,
)
from server.sql.duck import identifier
from server.sql.relations import require_row
from server.sql.tree import Call
from server.values.batches import Column, RowType
from server.values.kinds import Kind
from server.values.paths import Path

if TYPE_CHECKING:
    from server.declarations import BoundFunction, Function
    from server.sql.scope import Scope


@runtime_checkable
class Inlined(Protocol):
    """A function that is SQL itself and is bound into the query that calls it."""

    def inline(self, argument: Value, scope: Scope) -> Value: ...


def bind_call(node: Call, scope: Scope) -> Value:
    from server.sql.binder.expressions import bind
    from server.sql.functions import BUILTINS

    found = scope.call(node)
    if found is not None:
        return found
    if node.qualifier is None:
        function = scope.context.catalog.function(node.name)
        if function is not None:
            return call_function(node, function, scope)
    builtin = BUILTINS.get(node.name)
    if builtin is None:
        raise MldbError(_unknown(node, scope, BUILTINS))
    return builtin.call(node, scope, bind)


def _unknown(node: Call, scope: Scope, builtins: object) -> str:
    where = f" in dataset '{node.qualifier}'" if node.qualifier is not None else ""
    text = (
        f"Unable to find function '{node.name}' binding function call '{node.name}()'{where}.  The function is not a "
        "built-in function, and either it's not a registered user function, or user functions are not available in "
        "the scope of the expression."
    )
    near = get_close_matches(node.name, list(builtins), n=1)  # type: ignore[call-overload]
    return f"{text} Did you mean '{near[0]}'?" if near else text


def call_function(node: Call, function: Function, scope: Scope) -> Value:
    """A user function applied to its one row argument."""
    from server.sql.binder.expressions import bind

    if len(node.args) > 1:
        raise MldbError(f"User function {node.name} expected a single row {{ }} argument")
    argument = bind(node.args[0], scope) if node.args else Row()
    if isinstance(function, Inlined):
        return function.inline(argument, scope)
    row = require_row(argument, f"User function {node.name} expected a single row {{ }} argument")
    return apply_function(function, row, scope)


def apply_function(function: Function, row: Row, scope: Scope) -> Row:
    """A call of a function that works on Arrow batches, computed once per row below the expression."""
    type_, packed = pack(row, timestamps=False)
    bound = function.bind(type_)
    timed = bool(getattr(bound, "timestamps", False))
    if timed:
        type_, packed = pack(row, timestamps=True)
    name = scope.context.register(bound, (type_, timed))
    result = scope.stage(f"{identifier(name)}({packed})")
    return unpack(bound, result, row, timed)


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
    opened = bool(row.rests or several)
    if opened:
        rest = Row(dict(several), row.rests)
        fields.append(f"rest := {coerce.to_cells(rest)}")
    type_ = RowType(tuple(columns), opened)
    return type_, f"struct_pack({', '.join(fields) or 'one := 1'})"


def unpack(bound: BoundFunction, result: str, argument: Row, timed: bool) -> Row:
    """The columns of a batch function's result."""
    builder = RowBuilder()
    newest = latest_ts([argument])
    for index, column in enumerate(bound.output.columns):
        sql = f"{result}.c{index}"
        ts = fixed(f"{result}.t{index}") if timed else newest
        if column.shape is not None:
            shape = None if -1 in column.shape else column.shape
            builder.add(column.path, Embedding(sql, column.kind, shape, ts))
        else:
            builder.add(column.path, Atom(sql, column.kind, ts))
    if bound.output.open:
        builder.rests.append(Rest((), f"{result}.rest"))
    return builder.build()
