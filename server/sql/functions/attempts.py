"""``try(x[, fallback])``: errors of single rows as values (sql-dialect.md §8.2)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import duckdb
import pyarrow as pa
from duckdb.func import FunctionNullHandling, PythonUDFType

from server.errors import MldbError
from server.sql import coerce, tasks
from server.sql.binder.base import bind, is_bound
from server.sql.bound import Atom, MultiValue, Open, Row, Value, as_constant, is_constant
from server.sql.duck import QUERY, literal_text, outer_references
from server.sql.engine_errors import OF_VALUES, translated
from server.sql.functions.registry import Builtin, cells_or_null, fixed_row
from server.sql.hoisted import HoistedQueries
from server.sql.routines import CELLS, Shape, duck_type, to_arrow
from server.sql.scope import OverlayScope, Scope
from server.sql.tasks import is_over
from server.sql.tree import ArrayLiteral, Binary, Call, ColumnRef, Constant, Flatten, Item, Node, RowLiteral, children
from server.storage.readers import interrupted_by
from server.values.cells import cells_of
from server.values.kinds import CELL_TYPE, Kind


class _Inside(OverlayScope):
    """The scope of what is tried: nothing of it may be computed elsewhere, where its errors would not be caught."""

    def __init__(self, outer: Scope) -> None:
        super().__init__(Row(), outer)
        self.hoisted = HoistedQueries(outer.context)

    def stage(self, sql: str) -> str:
        return sql if self.in_cells() else self.hoisted.stage(sql)


def _try(node: Call, args: list[Value], scope: Scope) -> Value:
    first = node.args[0]
    if isinstance(first, Call) and first.name == "try" and len(first.args) == 1:
        return bind(first, scope)  # what gives its own error as a text does not fail
    inside = _Inside(scope)
    value = inside.hoisted.around_value(bind(first, inside))
    fallback = inside.hoisted.around_value(bind(node.args[1], inside)) if len(node.args) == 2 else None
    constant = is_constant(value) and (fallback is None or is_constant(fallback))
    if fallback is not None and _computes(node.args[1]):
        fallback = _delayed(fallback, scope)
    apart = _constant_fails(node.args[0], inside) or (_dates(node.args[0]) and _fails_while_planned(value, inside))
    return as_constant(_tried(value, fallback, scope, apart=apart), constant)


# DuckDB computes constants while it plans a query: then its TRY catches nothing.


def _computes(expression: Node) -> bool:
    """Whether an expression is more than literals."""
    plain = isinstance(expression, Constant | RowLiteral | ArrayLiteral | Item)
    return not plain or any(map(_computes, children(expression)))


def _dates(expression: Node) -> bool:
    """Whether there is an ``x @ t``: of a constant ``t`` the engine computes a part while ``x`` is a column."""
    dated = isinstance(expression, Binary) and expression.op == "@"
    return dated or (isinstance(expression, Call) and expression.name == "at") or any(map(_dates, children(expression)))


def _delayed(fallback: Value, scope: Scope) -> Value:
    """The fallback; if it is a constant that fails, something that fails only where it is needed."""
    try:
        fixed_row(fallback, scope)
    except MldbError as error:
        return Open(f"u_fail_cells({literal_text(error.message)})", constant=True)
    return fallback


def _constant_fails(expression: Node, scope: Scope) -> bool:
    """Whether a part of an expression is a constant that cannot be computed."""
    if isinstance(expression, Item | Flatten):
        expression = expression.expression
    if isinstance(expression, ColumnRef) or not is_bound(type(expression)) or not _computes(expression):
        return False
    try:
        value = bind(expression, scope)  # type: ignore[arg-type]
    except MldbError:
        return False  # it has a scope of its own: the part of COLUMN EXPR, what stands in [ ]
    if not is_constant(value):
        return any(_constant_fails(part, scope) for part in children(expression))
    try:
        fixed_row(value, scope)
    except MldbError:
        return True
    return False


def _fails_while_planned(value: Value, scope: Scope) -> bool:
    """Whether the engine cannot even plan an expression over its table, as for ``x @ 'no date'``."""
    sql = cells_or_null(value)
    if scope.source is None or QUERY in sql:
        return False  # a sub-query is run apart anyway
    try:
        scope.context.execute(f"EXPLAIN SELECT {sql} FROM {scope.source.render(sql, ordered=False)}")
    except MldbError as error:
        return isinstance(error.__cause__, OF_VALUES)
    return False


def _tried(value: Value, fallback: Value | None, scope: Scope, *, apart: bool) -> Value:
    atoms = isinstance(value, Atom | MultiValue) and isinstance(fallback, Atom | MultiValue | None)
    if atoms and not apart and QUERY not in coerce.to_any(value):
        return _atoms(coerce.atom(value), None if fallback is None else coerce.atom(fallback), scope)
    tried = f"CAST({cells_or_null(value)} AS {CELL_TYPE}[])"
    if apart or QUERY in tried:
        return _apart(tried, value, fallback, scope)
    guard = scope.stage(_guarded(tried))
    otherwise = cells_or_null(Atom(_failure(tried), Kind.STRING) if fallback is None else fallback)
    return Open(scope.stage(_else(guard, f"CAST({otherwise} AS {CELL_TYPE}[])")))


def _apart(tried: str, value: Value, fallback: Value | None, scope: Scope) -> Value:
    """What DuckDB's TRY does not take (sub-queries, constants that fail) is run by itself for each row."""
    given = _given(tried)
    guard = scope.stage(f"u_attempt({given})")
    otherwise = cells_or_null(Atom(f"u_failure({given})", Kind.STRING) if fallback is None else fallback)
    cells = _alone(f"coalesce({guard}, CAST({otherwise} AS {CELL_TYPE}[]))")
    if not isinstance(value, Atom | MultiValue) or not isinstance(fallback, Atom | MultiValue | None):
        return Open(scope.stage(cells))
    found = scope.stage(cells)
    return Atom(f"m_atom({found})", Kind.ANY, lambda: f"m_newest({found})")


def _atoms(value: Atom, fallback: Atom | None, scope: Scope) -> Atom:
    if value.kind is Kind.NULL:
        return value
    guard = scope.stage(_guarded(value.sql))
    other = Atom(_failure(value.sql), Kind.STRING) if fallback is None else fallback
    kind = coerce.unify([value, other])
    if kind is value.kind:
        sql = _else(guard, coerce.as_kind(other, kind))
    else:
        whole = Atom(f"{guard}.v", value.kind)
        sql = f"CASE WHEN {guard} IS NULL THEN {coerce.as_kind(other, kind)} ELSE {coerce.as_kind(whole, kind)} END"

    def ts() -> str:
        times = other.ts(), value.ts()
        return times[0] if times[0] == times[1] else f"CASE WHEN {guard} IS NULL THEN {times[0]} ELSE {times[1]} END"

    return Atom(sql, kind, ts)


def _guarded(sql: str) -> str:
    """TRY of SQL: a struct, NULL where it fails."""
    return _alone(f"TRY(struct_pack(v := {sql}))")


def _else(guard: str, other: str) -> str:
    """The value that a guard holds, or another one. Inside of another try the guard is all of its SQL: spelled once."""
    return _alone(f"coalesce({guard}, struct_pack(v := {other})).v")


def _alone(sql: str) -> str:
    """SQL in a CASE that always takes it.

    DuckDB computes what is spelled twice once and before, outside of TRY and for all rows, but not what is in a CASE.
    """
    for number, columns in outer_references(sql).items():
        return f"CASE WHEN (r{number}.{min(columns)} IS NULL) IS NOT NULL THEN {sql} END"
    return sql


def _failure(sql: str) -> str:
    """SQL of the message with which SQL fails: it is run again, by itself, with the columns that it reads."""
    return f"u_failure({_given(sql)})"


def _given(sql: str) -> str:
    """The number of the task and SQL as arguments, and the columns that it reads of the relations around it."""
    rows = [
        f"r{number} := struct_pack({', '.join(f'{column} := r{number}.{column}' for column in sorted(columns))})"
        for number, columns in sorted(outer_references(sql).items())
    ]
    given = f", struct_pack({', '.join(rows)})" if rows else ""
    return f"{tasks.TASK_SQL}, {literal_text(sql)}{given}"


def define(connection: duckdb.DuckDBPyConnection) -> None:
    """Define ``u_failure`` and ``u_attempt``, both of ``(task, sql[, {r<number>: {column: value}}])``.

    The one gives the error's text, NULL if there is none; the other the cells, NULL if there is an error.
    """
    for name, result, run in (("u_failure", Kind.STRING, _message), ("u_attempt", CELLS, _cells)):
        connection.create_function(
            name,
            _each_row(connection, result, run),
            None,
            connection.type(duck_type(result)),
            type=PythonUDFType.ARROW,
            null_handling=FunctionNullHandling.SPECIAL,
        )


def _each_row(connection: duckdb.DuckDBPyConnection, result: Shape, run: Callable[..., Any]) -> Callable[..., pa.Array]:
    def call(*columns: Any) -> pa.Array:
        task = tasks.find(columns[0][0].as_py())
        texts, rows = columns[1].to_pylist(), columns[2] if len(columns) > 2 else None
        with connection.cursor() as cursor, interrupted_by(task, cursor.interrupt):
            found = [None if is_over(task) else run(cursor, text, rows, at) for at, text in enumerate(texts)]
        return to_arrow(found, result)

    return call


def _message(cursor: duckdb.DuckDBPyConnection, sql: str, rows: Any, at: int) -> str | None:
    try:
        _table(cursor, sql, rows, at)
    except duckdb.Error as error:
        return translated(error).message
    return None


def _cells(cursor: duckdb.DuckDBPyConnection, sql: str, rows: Any, at: int) -> list[Any] | None:
    try:
        found = cells_of(_table(cursor, sql, rows, at).column(0).combine_chunks())
    except duckdb.InterruptException:
        raise
    except duckdb.Error:
        return None
    return found[0] or []


def _table(cursor: duckdb.DuckDBPyConnection, sql: str, rows: Any, at: int) -> pa.Table:
    """The result of SQL in one row of the query around it."""
    source = ""
    if rows is not None:
        row = rows.take(pa.array([at]))
        names = [field.name for field in row.type]
        parts = row.flatten() if isinstance(row, pa.StructArray) else row.combine_chunks().flatten()
        cursor.register("failing", pa.table(parts, names))
        source = " FROM " + ", ".join(f"(SELECT unnest({name}) FROM failing) AS {name}" for name in names)
    return cursor.sql(f"SELECT {sql}{source}").to_arrow_table()


BUILTINS = [
    Builtin(
        "try(x: any[, fallback: any]) → any",
        "The value of an expression; where it fails, the fallback, or without one the error's text.",
        ("try(parse_json('foo'), 'bad')", '"bad"'),
        bind=_try,
        lazy=True,
        null=("NULL is no failure", ("try(NULL, 7)", "null")),
    ),
]
