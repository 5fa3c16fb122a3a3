"""``try(x[, fallback])``: errors of single rows as values (sql-dialect.md §8.2)."""

from __future__ import annotations

import re
from typing import Any

import duckdb
import pyarrow as pa
from duckdb.func import FunctionNullHandling, PythonUDFType

from server.errors import MldbError
from server.sql import coerce
from server.sql.bound import Atom, Open, Row, Several, Value
from server.sql.duck import literal_text, references
from server.sql.functions.registry import Builtin, cells_or_null
from server.sql.scope import OverlayScope, Scope
from server.sql.tree import Call
from server.values.kinds import CELL_TYPE, Kind

_LITERAL = re.compile(r"'(?:[^']|'')*'")


class _Inside(OverlayScope):
    """The scope of what is tried: nothing of it may be computed elsewhere, where its errors would not be caught."""

    def __init__(self, behind: Scope) -> None:
        super().__init__(Row(), behind)

    def stage(self, sql: str) -> str:
        return sql


def _try(node: Call, args: list[Value], scope: Scope) -> Value:
    from server.sql.binder.base import bind

    del args
    if len(node.args) not in (1, 2):
        raise MldbError("Binding builtin function try: requires one or two arguments")
    inside = _Inside(scope)
    value = bind(node.args[0], inside)
    fallback = bind(node.args[1], inside) if len(node.args) == 2 else None
    if isinstance(value, Atom | Several) and isinstance(fallback, Atom | Several | None):
        return _atoms(coerce.atom(value), None if fallback is None else coerce.atom(fallback), scope)
    tried = f"CAST({cells_or_null(value)} AS {CELL_TYPE}[])"
    guard = scope.stage(f"TRY(struct_pack(v := {tried}))")
    otherwise = cells_or_null(Atom(_failure(tried), Kind.STRING) if fallback is None else fallback)
    return Open(scope.stage(f"CASE WHEN {guard} IS NULL THEN {otherwise} ELSE {guard}.v END"))


def _atoms(value: Atom, fallback: Atom | None, scope: Scope) -> Atom:
    if value.kind is Kind.NULL:
        return value
    guard = scope.stage(f"TRY(struct_pack(v := {value.sql}))")
    other = Atom(_failure(value.sql), Kind.STRING) if fallback is None else fallback
    whole = Atom(f"{guard}.v", value.kind)
    kind = coerce.unify([whole, other])
    sql = f"CASE WHEN {guard} IS NULL THEN {coerce.as_kind(other, kind)} ELSE {coerce.as_kind(whole, kind)} END"

    def ts() -> str:
        times = other.ts(), value.ts()
        return times[0] if times[0] == times[1] else f"CASE WHEN {guard} IS NULL THEN {times[0]} ELSE {times[1]} END"

    constant = value.constant and (fallback is None or fallback.constant)
    return Atom(sql, kind, ts, constant)


def _failure(sql: str) -> str:
    """SQL of the message with which SQL fails: it is run again, by itself, with the columns that it reads."""
    read = references(_LITERAL.sub("''", sql))
    rows = [
        f"r{number} := struct_pack({', '.join(f'{column} := r{number}.{column}' for column in sorted(columns))})"
        for number, columns in sorted(read.items())
    ]
    given = f", struct_pack({', '.join(rows)})" if rows else ""
    return f"u_failure({literal_text(sql)}{given})"


def define(connection: duckdb.DuckDBPyConnection) -> None:
    """Define ``u_failure(sql[, {r<number>: {column: value}}])``: the error's text, NULL if there is none."""

    def call(*columns: Any) -> pa.Array:
        texts, rows = columns[0].to_pylist(), columns[1] if len(columns) > 1 else None
        with connection.cursor() as cursor:
            return pa.array([_message(cursor, text, rows, at) for at, text in enumerate(texts)], pa.string())

    connection.create_function(
        "u_failure",
        call,
        None,
        connection.type("VARCHAR"),
        type=PythonUDFType.ARROW,
        null_handling=FunctionNullHandling.SPECIAL,
    )


def _message(cursor: duckdb.DuckDBPyConnection, sql: str, rows: Any, at: int) -> str | None:
    from server.sql.plan import translated

    source = ""
    if rows is not None:
        row = rows.take(pa.array([at]))
        names = [field.name for field in row.type]
        parts = row.flatten() if isinstance(row, pa.StructArray) else row.combine_chunks().flatten()
        cursor.register("failing", pa.table(parts, names))
        source = " FROM " + ", ".join(f"(SELECT unnest({name}) FROM failing) AS {name}" for name in names)
    try:
        cursor.execute(f"SELECT {sql}{source}").fetchall()
    except duckdb.Error as error:
        return translated(error).message
    return None


BUILTINS = [
    Builtin("try", 0, None, _try, "try(x[, fallback])",
            "The value of an expression; where it fails, the fallback, or without one the error's text.",
            ("try(parse_json('foo'), 'bad')", '"bad"'), lazy=True),
]  # fmt: skip
