"""Comparison of bound values, their order and their groups, by MLDB's rules (sql-dialect.md §7.3)."""

from __future__ import annotations

import operator
from dataclasses import replace

from server.sql.bound import (
    Atom,
    Embedding,
    MultiValue,
    Open,
    Row,
    Value,
    as_any_list,
    is_constant,
    is_null,
    latest_ts,
    typed,
)
from server.sql.coerce import NUMERIC, atom, to_any, to_cells, to_double, to_integer
from server.sql.duck import macro
from server.values.kinds import Kind

_RANK = {
    Kind.BOOLEAN: 1, Kind.INTEGER: 1, Kind.UNSIGNED: 1, Kind.NUMBER: 1, Kind.STRING: 2, Kind.TIMESTAMP: 3,
    Kind.INTERVAL: 4, Kind.BLOB: 5, Kind.PATH: 6,
}  # fmt: skip


def compare(op: str, left: Value, right: Value) -> Atom:
    """``= != < <= > >=`` by MLDB's order: BOOLEAN, NULL when an operand is null."""
    ts, constant = latest_ts([left, right]), is_constant(left) and is_constant(right)
    return Atom(_compare_sql("<>" if op == "!=" else op, left, right), Kind.BOOLEAN, ts, constant)


def _compare_sql(op: str, left: Value, right: Value) -> str:
    if may_be_row(left) or may_be_row(right):
        left, right = (atom(side) if isinstance(side, Atom | MultiValue) else side for side in (left, right))
        return _compare_complex(op, left, right)
    a, b = atom(left), atom(right)
    if Kind.NULL in (a.kind, b.kind):
        return "NULL::BOOLEAN"
    if a.kind in NUMERIC and b.kind in NUMERIC:
        return _compare_numbers(op, a, b)
    if Kind.ANY in (a.kind, b.kind) and op in ("=", "<>"):
        return f"({to_any(a)} {op} {to_any(b)})"
    if Kind.ANY in (a.kind, b.kind):
        return f"({macro('m_compare', to_any(a), to_any(b))} {op} 0)"
    if a.kind is not b.kind:
        fixed = _holds(op, _RANK[a.kind] - _RANK[b.kind])
        return f"CASE WHEN {a.sql} IS NULL OR {b.sql} IS NULL THEN NULL ELSE {str(fixed).upper()} END"
    return f"({a.sql} {op} {b.sql})"


def may_be_row(value: Value) -> bool:
    """Whether a value is compared as a row may be; columns that show at run time are taken for atoms."""
    return isinstance(value, Row | Embedding) or (isinstance(value, Open) and not value.named)


# NaN is the smallest number for MLDB and the greatest for DuckDB.
_NAN_SAFE = {
    ">": "m_greater({0}, {1})", "<": "m_greater({1}, {0})", ">=": "(NOT m_greater({1}, {0}))",
    "<=": "(NOT m_greater({0}, {1}))",
}  # fmt: skip


def _may_be_nan(one: Atom) -> bool:
    return one.kind is Kind.NUMBER and one.may_be_nan()


def _compare_numbers(op: str, a: Atom, b: Atom) -> str:
    if op in _NAN_SAFE and (_may_be_nan(a) or _may_be_nan(b)):
        return _NAN_SAFE[op].format(to_double(a), to_double(b))
    if a.kind is b.kind:
        left, right = a.sql, b.sql
    elif Kind.NUMBER in (a.kind, b.kind):
        left, right = to_double(a), to_double(b)
    else:
        left, right = (
            f"CAST({x.sql} AS HUGEINT)" if Kind.UNSIGNED in (a.kind, b.kind) else to_integer(x) for x in (a, b)
        )
    return f"({left} {op} {right})"


_COMPARED = {
    "=": operator.eq, "<>": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip


def _holds(op: str, difference: int) -> bool:
    """What a comparison says of values of two kinds, by the difference of their ranks."""
    return bool(_COMPARED[op](difference, 0))


def _compare_complex(op: str, left: Value, right: Value) -> str:
    if {type(left), type(right)} == {Row, Embedding}:
        return str(_holds(op, -1 if isinstance(left, Row) else 1)).upper()
    if isinstance(left, Embedding) and isinstance(right, Embedding):
        if left.kind is not right.kind:
            left, right = (replace(one, sql=as_any_list(one), kind=Kind.ANY) for one in (left, right))
        a, b = (one.sql if op in ("=", "<>") else _sort_list(one) for one in (left, right))
        return f"({a} {op} {b})"
    if any(is_null(side) for side in (left, right)):
        return "NULL::BOOLEAN"
    return f"({macro('m_compare_cells', to_cells(left), to_cells(right))} {op} 0)"


def sort_terms(value: Value, descending: bool) -> list[str]:
    """ORDER BY terms of a value in MLDB's order: nulls first ascending, NaN before numbers."""
    direction = "DESC NULLS LAST" if descending else "ASC NULLS FIRST"
    if isinstance(value, Row | Open):
        return [f"m_sort_cells({to_cells(value)}) {direction}"]
    if isinstance(value, Embedding):
        return [f"{_sort_list(value)} {direction}"]
    one = atom(value)
    if one.kind is Kind.NULL:
        return []
    if one.kind is Kind.ANY:
        return [f"{macro('m_sort_key', one.sql)} {direction}"]
    terms = [f"{one.sql} {direction}"]
    if _may_be_nan(one):
        terms.insert(0, f"isnan({one.sql}) {'ASC NULLS LAST' if descending else 'DESC NULLS FIRST'}")
    return terms


_SORT_LISTS = {Kind.NUMBER: "m_sort_numbers", Kind.ANY: "m_sort_anys"}


def _sort_list(embedding: Embedding) -> str:
    """SQL by which embeddings are ordered: in lists of its own DuckDB puts NULL and NaN last."""
    return macro(_SORT_LISTS.get(embedding.kind, "m_sort_values"), embedding.sql)


def group_term(value: Value) -> str:
    """SQL that is equal for equal values: for GROUP BY and DISTINCT ON. The times of a row's cells do not count."""
    match value:
        case Row() | Open():
            return f"m_timeless_cells({to_cells(value)})"
        case Embedding(sql):
            return sql
    return typed(atom(value))
