"""Norms and arithmetic of vectors (sql-dialect.md §8.7). What the engine's list functions can say is said in SQL."""

from __future__ import annotations

from functools import partial

import numpy as np

from server.errors import MldbError
from server.sql import coerce
from server.sql.bound import (
    Atom,
    Embedding,
    MultiValue,
    Open,
    Row,
    Value,
    enumerate_elements,
    is_constant,
    is_null,
    is_open,
    latest_ts,
)
from server.sql.duck import literal_text
from server.sql.functions import vectors
from server.sql.functions.registry import Builtin, fixed_atom, number_argument, result, routine
from server.sql.functions.vectorarguments import atoms_of, null_of, vector_argument, vector_numbers
from server.sql.routines import NUMBERS
from server.sql.scope import Scope
from server.sql.tree import Call
from server.values.kinds import Kind
from server.values.paths import format_path

_NORMS = {
    0: "CAST(len(list_filter({v}, lambda x: x <> 0)) AS DOUBLE)",
    1: "coalesce(list_sum({v}), 0)",
    2: "sqrt(coalesce(list_sum(list_transform({v}, lambda x: x * x)), 0))",
}


def _norm_sql(vector: str, power: Value, name: str, scope: Scope) -> str:
    """The norm for ``norm`` or ``normalize``."""
    known, number = fixed_atom(power, scope)
    if known and number in _NORMS:
        return f"CASE WHEN {vector} IS NULL THEN NULL ELSE {_NORMS[number].format(v=vector)} END"  # type: ignore[index]
    return f"u_{name}({vector}, {number_argument(power, name)})"


def _norm(node: Call, args: list[Value], scope: Scope) -> Value:
    if is_null(args[0]):
        return null_of(args)
    vector = vector_numbers(vector_argument(args[0]), node.name, scope)
    return result(_norm_sql(vector, args[1], node.name, scope), Kind.NUMBER, args)


def norm(items: list[float], power: float, function: str = "norm") -> float:
    return vectors.norm(np.asarray(items, np.float64), power, function)


def _normalize(node: Call, args: list[Value], scope: Scope) -> Value:
    value = vector_argument(args[0])
    if is_null(value):
        return null_of(args)
    if is_open(value):
        raise MldbError("Can't normalize a row with unknown columns")
    if isinstance(value, Atom | MultiValue):
        raise MldbError("Can't normalize something that's not a row or embedding")
    vector = vector_numbers(value, node.name, scope)
    length = scope.stage(_norm_sql(vector, args[1], node.name, scope))
    return _like(value, f"list_transform({vector}, lambda x: x / {length})", args, scope)


def _like(first: Value, sql: str, args: list[Value], scope: Scope) -> Value:
    """Numbers as a vector with the shape, or the names of columns, of the first argument."""
    ts, constant = latest_ts(args), all(map(is_constant, args))
    match first:
        case Embedding():
            return Embedding(sql, Kind.NUMBER, first.shape, ts, first.names, constant)
        case Row(rests=()):
            names = tuple(atoms_of(first))
            return Embedding(sql, Kind.NUMBER, (len(names),), ts, names, constant)
    values, cells = scope.stage(sql), coerce.to_cells(first)
    cell = f"struct_pack(p := c.p, v := any_n({values}[i]), t := c.t)"
    return Open(scope.stage(f"list_transform(u_natural_cells({cells}), lambda c, i: {cell})"))


_OPERATORS = {"vector_diff": "-", "vector_sum": "+", "vector_product": "*", "vector_quotient": "/"}


def _pairwise(node: Call, args: list[Value], scope: Scope) -> Value:
    if any(map(is_null, args)):
        return null_of(args)
    args = [vector_argument(value) for value in args]
    a, b = (vector_numbers(value, node.name, scope) for value in args)
    first, second = (_names_sql(value) for value in args)
    if first != second and first is not None and second is not None:
        a = f"m_same_names({a}, {first}, {second}, {literal_text(node.name)})"
    message = literal_text(f"Executing builtin function {node.name}: the vectors have different lengths")
    sql = f"list_transform(m_same_length({a}, {b}, {message}), lambda x, i: x {_OPERATORS[node.name]} {b}[i])"
    return _like(args[0], sql, args, scope)


def _names_sql(value: Value) -> str | None:
    """The columns that the numbers of a vector stand in, as a list of texts; None of an unnamed embedding."""
    match value:
        case Embedding(names=None):
            return None
        case Embedding():
            paths = [path for path, _ in enumerate_elements(value)]
        case Row(rests=()):
            paths = list(atoms_of(value))
        case _:
            return f"list_transform(u_natural_cells({coerce.to_cells(value)}), lambda c: c.p)"
    return f"[{', '.join(literal_text(format_path(path)) for path in paths)}]::VARCHAR[]"


ROUTINES = [
    routine("norm", (NUMBERS, Kind.NUMBER), Kind.NUMBER, norm),
    routine("normalize", (NUMBERS, Kind.NUMBER), Kind.NUMBER, partial(norm, function="normalize")),
]

MACROS = """
m_same_length(a, b, m) := CASE WHEN len(a) <> len(b) THEN a[u_fail_integer(m):] ELSE a END
m_same_names(a, x, y, f) := CASE WHEN len(x) = len(y) AND x <> y
    THEN a[u_fail_integer('Executing builtin function ' || f || ': Column '''
        || list_filter(y, lambda e: NOT list_contains(x, e))[1] || ''' was unknown for embedding'):] ELSE a END
"""

BUILTINS = [
    Builtin(
        "norm(v: embedding | row, p: number) → number",
        "The norm of a vector: p 0 counts what is not zero, 1 sums, 2 is Euclid's, inf is the greatest element.",
        ("norm([3, 4], 2)", "5"),
        bind=_norm,
    ),
    Builtin(
        "normalize(v: embedding | row, p: number) → the form of v",
        "The vector divided by its norm.",
        ("normalize([2, 6], 1)", "[0.25, 0.75]"),
        bind=_normalize,
    ),
    Builtin(
        "vector_diff(a: embedding | row, b: embedding | row) → the form of a",
        "a - b, element by element.",
        ("vector_diff([3, 4], [1, 1])", "[2, 3]"),
        bind=_pairwise,
    ),
    Builtin(
        "vector_sum(a: embedding | row, b: embedding | row) → the form of a",
        "a + b, element by element.",
        ("vector_sum([3, 4], [1, 1])", "[4, 5]"),
        bind=_pairwise,
    ),
    Builtin(
        "vector_product(a: embedding | row, b: embedding | row) → the form of a",
        "a * b, element by element.",
        ("vector_product([3, 4], [2, 2])", "[6, 8]"),
        bind=_pairwise,
    ),
    Builtin(
        "vector_quotient(a: embedding | row, b: embedding | row) → the form of a",
        "a / b, element by element.",
        ("vector_quotient({x: 3, y: 4}, {x: 2, y: 2})", '{"x": 1.5, "y": 2}'),
        bind=_pairwise,
    ),
]
