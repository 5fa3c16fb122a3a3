"""Conditions on a value: BETWEEN, IN, LIKE and IS (sql-dialect.md §7.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from server.errors import MldbError
from server.sql import coerce, comparison
from server.sql.binder.base import bind, binds
from server.sql.bound import (
    NEVER_SQL,
    Atom,
    Embedding,
    Open,
    Row,
    Ts,
    Value,
    is_constant,
    is_null,
    latest_ts,
    timestamp_of,
)
from server.sql.duck import macro
from server.sql.scope import Scope
from server.sql.tree import Between, Call, Constant, InList, InRow, Is, Like
from server.values.kinds import Kind


@binds(Between)
def _between(node: Between, scope: Scope) -> Value:
    value, low, high = (bind(part, scope) for part in (node.operand, node.low, node.high))
    above, below = comparison.compare(">=", value, low), comparison.compare("<=", value, high)
    # A NULL lower bound decides before the upper one is looked at (§7.2).
    if isinstance(low, Atom):
        sql = f"({above.sql} AND ({below.sql} OR {low.sql} IS NULL))"
    else:
        sql = f"(CASE WHEN {above.sql} THEN {below.sql} ELSE {above.sql} END)"
    sql = f"(NOT {sql})" if node.negated else sql
    constant = all(map(is_constant, (value, low, high)))
    return Atom(sql, Kind.BOOLEAN, latest_ts([value, low, high]), constant)


@binds(InList)
def _in_list(node: InList, scope: Scope) -> Value:
    given, listed = bind(node.operand, scope), [bind(item, scope) for item in node.items]
    if any(map(comparison.may_be_row, (given, *listed))):
        return _among_rows(given, listed, node.negated, scope)
    value, items = coerce.atom(given), list(map(coerce.atom, listed))
    constant = value.constant and all(item.constant for item in items)
    if value.kind is Kind.NULL:
        return Atom("NULL::BOOLEAN", Kind.BOOLEAN, value.ts, constant)
    same = [item for item in items if item.kind is value.kind and item.constant]
    if len(same) == len(items) > 1:
        hit = f"{value.sql} IN ({', '.join(item.sql for item in same)})"
        if not all(isinstance(item, Constant) for item in node.items):
            hit = f"coalesce({hit}, FALSE)"  # what is computed may be null
    else:
        tests = [comparison.compare("=", value, item).sql for item in items if item.kind is not Kind.NULL]
        hit = " OR ".join(f"coalesce({test}, FALSE)" for test in tests) or "FALSE"
    sql = f"CASE WHEN {value.sql} IS NULL THEN NULL ELSE {'NOT ' if node.negated else ''}({hit}) END"
    return Atom(f"({sql})", Kind.BOOLEAN, _member_ts(value, items, scope), constant)


def _among_rows(value: Value, items: list[Value], negated: bool, scope: Scope) -> Atom:
    """IN where rows or embeddings are compared."""
    tests = [f"coalesce({comparison.compare('=', value, item).sql}, FALSE)" for item in items]
    sql = f"{'NOT ' if negated else ''}({' OR '.join(tests)})"
    if not isinstance(value, Row | Embedding):
        sql = f"CASE WHEN {_is_sql('null', value)} THEN NULL ELSE {sql} END"
    return Atom(f"({sql})", Kind.BOOLEAN, _member_ts(value, items, scope), all(map(is_constant, (value, *items))))


def _member_ts(value: Value, items: Sequence[Value], scope: Scope) -> Ts:
    """Of a hit the newest of the value and the first item that it is equal to, else the value's own."""

    def build() -> str:
        own = scope.brief(timestamp_of(value))
        times = [(item, timestamp_of(item)) for item in items if not is_null(item)]
        while times and times[-1][1] in (own, NEVER_SQL):
            times.pop()
        hits = [f"WHEN {comparison.compare('=', value, item).sql} THEN greatest({own}, {time})" for item, time in times]
        return f"CASE {' '.join(hits)} ELSE {own} END" if hits else own

    return build


@binds(InRow)
def _in_row(node: InRow, scope: Scope) -> Value:
    value, row = coerce.atom(bind(node.operand, scope)), bind(node.row, scope)
    if is_null(row):
        return Atom("NULL::BOOLEAN", Kind.BOOLEAN, value.ts, value.constant)
    cells = coerce.to_cells(row)
    if node.of == "keys":
        text = coerce.to_text(value)
        quoted = text if value.kind is Kind.PATH else f"m_quote({text})"
        test = f"c.p = {quoted} OR starts_with(c.p, {quoted} || '.')"
    else:
        test = f"c.v = {coerce.to_any(value)} AND m_single(c.p)"
    found = f"list_filter({cells}, lambda c: {test})"
    negation = "NOT " if node.negated else ""
    null = macro("m_null_cells", cells) if isinstance(row, Open) else f"{cells} IS NULL"
    sql = f"CASE WHEN {value.sql} IS NULL OR {null} THEN NULL ELSE {negation}(len({found}) > 0) END"

    def ts() -> str:
        return f"greatest({value.ts()}, coalesce(m_newest({found}), {NEVER_SQL}))"

    return Atom(f"({sql})", Kind.BOOLEAN, ts, value.constant and is_constant(row))


@binds(Like)
def _like(node: Like, scope: Scope) -> Value:
    value, pattern = coerce.atom(bind(node.operand, scope)), coerce.atom(bind(node.pattern, scope))
    constant = value.constant and pattern.constant
    if Kind.NULL in (value.kind, pattern.kind):
        ts = value.ts if value.kind is Kind.NULL else (lambda: NEVER_SQL)
        return Atom("NULL::BOOLEAN", Kind.BOOLEAN, ts, constant)
    if value.kind not in (Kind.STRING, Kind.ANY):
        raise MldbError("LIKE expression must have string on left side")
    text = value.sql if value.kind is Kind.STRING else macro("m_like_text", value.sql)
    negation = "NOT " if node.negated else ""
    return Atom(f"({negation}({text} LIKE {coerce.to_text(pattern)}))", Kind.BOOLEAN, value.ts, constant)


_IS_TAGS = {"string": "s", "number": "niu", "timestamp": "t", "interval": "v"}


_IS_KINDS = {
    "string": (Kind.STRING,), "timestamp": (Kind.TIMESTAMP,), "interval": (Kind.INTERVAL,), "number": coerce.NUMERIC,
    "integer": (Kind.BOOLEAN, Kind.INTEGER, Kind.UNSIGNED),
}  # fmt: skip


@binds(Is)
def _is(node: Is, scope: Scope) -> Value:
    value = bind(node.operand, scope)
    call = node.operand
    if isinstance(call, Call) and isinstance(value, Open) and scope.context.catalog.function(call.name) is not None:
        value = replace(value, named=True)  # a user function without a result gives null
    sql = _is_sql(node.what, value)
    return Atom(f"(NOT {sql})" if node.negated else sql, Kind.BOOLEAN, latest_ts([value]), is_constant(value))


def _is_sql(what: str, value: Value) -> str:
    if what in ("true", "false"):
        return f"coalesce({coerce.truth(value)} = {what.upper()}, FALSE)"
    if isinstance(value, Row) and value.named and what == "null":
        return f"(NOT {coerce.has_cells(value)})"
    if isinstance(value, Embedding | Row):
        return "FALSE"
    if isinstance(value, Open) and what == "null":
        return macro("m_null_cells", value.cells)
    one = coerce.atom(value)
    if what == "null":
        return f"({one.sql} IS NULL)"
    if one.kind is Kind.ANY:
        return _is_any(what, one.sql)
    if what == "integer" and one.kind is Kind.NUMBER:
        return f"coalesce({_is_integral(one.sql)}, FALSE)"
    return f"({one.sql} IS NOT NULL)" if one.kind in _IS_KINDS[what] else "FALSE"


def _is_integral(number: str) -> str:
    """SQL of whether a double is an integer of 64 bits; a larger one is a float (§1.2)."""
    return f"{number} = trunc({number}) AND {number} >= -9223372036854775808 AND {number} < 9223372036854775808"


def _is_any(what: str, sql: str) -> str:
    if what == "integer":
        integral = _is_integral(f"union_extract({sql}, 'n')")
        return f"coalesce(m_tag({sql}) IN ('i', 'u') OR (m_tag({sql}) = 'n' AND {integral}), FALSE)"
    tags = ", ".join(f"'{tag}'" for tag in _IS_TAGS[what])
    return f"coalesce(m_tag({sql}) IN ({tags}), FALSE)"
