"""Binding of expressions: tree and scope in, bound value out. One small function per kind of node."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from server.errors import MldbError
from server.sql import coerce
from server.sql.binder.arithmetic import arithmetic, negate, set_timestamp
from server.sql.binder.base import bind, binds
from server.sql.bound import (
    NEVER_SQL,
    Atom,
    Embedding,
    MultiValue,
    Open,
    Row,
    RowBuilder,
    Ts,
    Value,
    as_constant,
    if_one_may_be_null,
    impossible,
    is_constant,
    is_null,
    latest_ts,
    possible,
    presence,
    spelled,
    timestamp_of,
)
from server.sql.duck import literal, macro
from server.sql.relations import require_row
from server.sql.render import render
from server.sql.scope import OverlayScope, RowScope, Scope
from server.sql.tree import (
    ArrayLiteral,
    Between,
    Binary,
    Call,
    Case,
    Cast,
    ColumnRef,
    Constant,
    Expression,
    Extract,
    InList,
    InRow,
    Is,
    Like,
    Parameter,
    Unary,
)
from server.values.kinds import CELL_TYPE, Kind


@binds(Constant)
def _constant(node: Constant, scope: Scope) -> Value:
    sql, kind = literal(node.value)
    nan = isinstance(node.value, float) and math.isnan(node.value)
    may_be_null = possible if node.value is None else impossible
    may_be_nan = possible if nan else impossible
    return Atom(sql, kind, constant=True, may_be_nan=may_be_nan, may_be_null=may_be_null, literal=node.value)


@binds(ColumnRef)
def _column(node: ColumnRef, scope: Scope) -> Value:
    value = scope.column(node.path)
    if isinstance(value, Row) and value.rests and not value.columns and not any(rest.prefix for rest in value.rests):
        value = Open(coerce.to_cells(value), value.constant)
    # Only the data tell whether a row has cells under the name; without any, it reads as null.
    return replace(value, named=True) if isinstance(value, Open | Row) else value


@binds(Parameter)
def _parameter(node: Parameter, scope: Scope) -> Value:
    return scope.parameter(node.name)


@binds(Unary)
def _unary(node: Unary, scope: Scope) -> Value:
    operand = bind(node.operand, scope)
    match node.op:
        case "-":
            return as_constant(negate(operand), is_constant(operand))
        case "+":
            raise MldbError("Unknown arithmetic op + unary; leave the sign out")
        case "~":
            one = coerce.atom(operand)
            return Atom(f"(~{coerce.to_integer(one)})", Kind.INTEGER, one.ts, one.constant)
    ts = latest_ts([operand])
    return Atom(f"(NOT {coerce.truth(operand)})", Kind.BOOLEAN, ts, is_constant(operand))


_COMPARISONS = {"=", "!=", "<", "<=", ">", ">="}


@binds(Binary)
def _binary(node: Binary, scope: Scope) -> Value:
    left, right = bind(node.left, scope), bind(node.right, scope)
    if node.op in _COMPARISONS:
        return coerce.compare(node.op, left, right)
    if node.op in ("and", "or"):
        return _logic(node.op, left, right, scope)
    if node.op == "@":
        return set_timestamp(left, right)
    found = arithmetic(node.op, left, right)
    return as_constant(found) if is_constant(left) and is_constant(right) else found


def _logic(op: str, left: Value, right: Value, scope: Scope) -> Atom:
    """Three-valued AND and OR, with the timestamp rules of §2.2."""
    a, b = coerce.truth(left), coerce.truth(right)
    decides = "FALSE" if op == "and" else "TRUE"

    def ts() -> str:
        s, t = timestamp_of(left), timestamp_of(right)
        if s == t:
            return s
        s, t = (f"coalesce({scope.brief(moment)}, {NEVER_SQL})" for moment in (s, t))  # least() passes over NULLs
        both, one = ("least", "greatest") if op == "and" else ("greatest", "least")
        return (
            f"CASE WHEN {a} IS NULL AND {b} IS NULL THEN {both}({s}, {t}) WHEN {a} = {decides} AND {b} = {decides} "
            f"THEN {both}({s}, {t}) WHEN {a} = {decides} THEN {s} WHEN {b} = {decides} THEN {t} "
            f"WHEN {a} IS NULL THEN {s} WHEN {b} IS NULL THEN {t} ELSE {one}({s}, {t}) END"
        )

    constant = is_constant(left) and is_constant(right)
    constant = constant or any(is_constant(v) and isinstance(v, Atom) and _decides(v, op) for v in (left, right))
    return Atom(f"({a} {op.upper()} {b})", Kind.BOOLEAN, ts, constant)


def _decides(value: Atom, op: str) -> bool:
    if value.kind is Kind.NULL:
        return True
    return isinstance(value.literal, int | float | str) and bool(value.literal) == (op == "or")


@binds(Between)
def _between(node: Between, scope: Scope) -> Value:
    value, low, high = (bind(part, scope) for part in (node.operand, node.low, node.high))
    above, below = coerce.compare(">=", value, low), coerce.compare("<=", value, high)
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
    if any(map(coerce.may_be_row, (given, *listed))):
        return _among_rows(given, listed, node.negated, scope)
    value, items = coerce.atom(given), list(map(coerce.atom, listed))
    constant = value.constant and all(item.constant for item in items)
    if value.kind is Kind.NULL:
        return Atom("NULL::BOOLEAN", Kind.BOOLEAN, value.ts, constant)
    tests = [coerce.compare("=", value, item).sql for item in items if item.kind is not Kind.NULL]
    same = [item for item in items if item.kind is value.kind and item.constant]
    if len(same) == len(items) > 1:
        hit = f"{value.sql} IN ({', '.join(item.sql for item in same)})"
        if not all(isinstance(item, Constant) for item in node.items):
            hit = f"coalesce({hit}, FALSE)"  # what is computed may be null
    else:
        hit = " OR ".join(f"coalesce({test}, FALSE)" for test in tests) or "FALSE"
    sql = f"CASE WHEN {value.sql} IS NULL THEN NULL ELSE {'NOT ' if node.negated else ''}({hit}) END"
    return Atom(f"({sql})", Kind.BOOLEAN, _member_ts(value, items, scope), constant)


def _among_rows(value: Value, items: list[Value], negated: bool, scope: Scope) -> Atom:
    """IN where rows or embeddings are compared."""
    tests = [f"coalesce({coerce.compare('=', value, item).sql}, FALSE)" for item in items]
    sql = f"{'NOT ' if negated else ''}({' OR '.join(tests)})"
    if not isinstance(value, Row | Embedding):
        sql = f"CASE WHEN {_is_sql('null', value)} THEN NULL ELSE {sql} END"
    return Atom(f"({sql})", Kind.BOOLEAN, _member_ts(value, items, scope), all(map(is_constant, (value, *items))))


def _member_ts(value: Value, items: Sequence[Value], scope: Scope) -> Ts:
    """Of a hit the newest of the value and the item found, else the value's own."""

    def build() -> str:
        own = scope.brief(timestamp_of(value))
        hits = [
            f"WHEN {coerce.compare('=', value, item).sql} THEN greatest({own}, {ts})"
            for item in items
            if not is_null(item) and (ts := timestamp_of(item)) not in (own, NEVER_SQL)
        ]
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


@binds(Case)
def _case(node: Case, scope: Scope) -> Value:
    conditions = [_condition(node, when, scope) for when, _ in node.whens]
    guards = _guards(conditions)
    results = [bind(then, _Branch(scope, guard)) for (_, then), guard in zip(node.whens, guards, strict=False)]
    default = _case_default(node, results, _Branch(scope, guards[-1]))
    branches = [*results, default]
    tests = [*([node.subject] if node.subject is not None else []), *(when for when, _ in node.whens)]
    constant = all(map(is_constant, branches)) and all(is_constant(bind(test, scope)) for test in tests)
    if all(isinstance(branch, Atom | MultiValue) for branch in branches):
        return _case_atoms(conditions, [coerce.atom(branch) for branch in branches], constant)
    rows = [spelled(branch) for branch in branches if isinstance(branch, Row)]
    if len(rows) == len(branches) and not any(row.rests for row in rows):
        return _case_rows(conditions, rows)
    cells = [coerce.to_cells(branch) for branch in branches]
    return Open(scope.stage(_case_sql(conditions, [f"CAST({text} AS {CELL_TYPE}[])" for text in cells])))


class _Branch(OverlayScope):
    """The scope of a branch of CASE: what is computed once per row is so only for the rows that take the branch."""

    def __init__(self, outer: Scope, guard: str) -> None:
        super().__init__(Row(), outer)
        self.guard = guard

    def atoms_only(self) -> bool:
        return self.outer.atoms_only()

    def stage(self, sql: str) -> str:
        return self.outer.stage(f"CASE WHEN {self.guard} THEN {sql} END")


def _guards(conditions: list[str]) -> list[str]:
    """Which rows take each branch, the default's last."""
    before: list[str] = []
    guards: list[str] = []
    for condition in conditions:
        guards.append(" AND ".join([*before, f"coalesce({condition}, FALSE)"]))
        before.append(f"NOT coalesce({condition}, FALSE)")
    return [*guards, " AND ".join(before) or "TRUE"]


def _condition(node: Case, when: Expression, scope: Scope) -> str:
    if node.subject is None:
        return coerce.truth(bind(when, scope))
    return coerce.compare("=", bind(node.subject, scope), bind(when, scope)).sql


def _case_default(node: Case, results: list[Value], scope: Scope) -> Value:
    if node.default is not None:
        return bind(node.default, scope)
    if node.subject is not None and results and isinstance(results[0], Row):
        return Row()
    return Atom("NULL", Kind.NULL, constant=True)


def _case_sql(conditions: list[str], results: list[str]) -> str:
    if not conditions:
        return results[-1]
    whens = " ".join(f"WHEN {c} THEN {r}" for c, r in zip(conditions, results[:-1], strict=True))
    return f"(CASE {whens} ELSE {results[-1]} END)"


def _case_atoms(conditions: list[str], branches: list[Atom], constant: bool) -> Atom:
    kind = coerce.unify(branches)
    sql = _case_sql(conditions, [coerce.as_kind(branch, kind) for branch in branches])

    def ts() -> str:
        times = [branch.ts() for branch in branches]
        return times[0] if len(set(times)) == 1 else _case_sql(conditions, times)

    return Atom(sql, kind, ts, constant, may_be_null=if_one_may_be_null(branches))


def _case_rows(conditions: list[str], branches: list[Row]) -> Row:
    builder = RowBuilder()
    for path in dict.fromkeys(path for branch in branches for path in branch.columns):
        leaves: list[Any] = [branch.columns.get(path) for branch in branches]
        atoms = [Atom("NULL", Kind.NULL) if leaf is None else coerce.atom(leaf) for leaf in leaves]
        merged = _case_atoms(conditions, atoms, False)
        there = ["FALSE" if leaf is None else presence(leaf) or "TRUE" for leaf in leaves]
        if set(there) != {"TRUE"}:
            nullable = any(not isinstance(leaf, Atom) or leaf.nullable() for leaf in leaves if leaf is not None)
            merged = replace(merged, may_be_null=possible if nullable else impossible)
            merged = merged.only(_case_sql(conditions, there))
        builder.add(path, merged)
    return builder.build()


def _cast_integer(atom: Atom) -> str:
    return macro("m_cast_integer", atom.sql) if atom.kind is Kind.STRING else f"u_cast_integer({coerce.to_any(atom)})"


def _cast_number(atom: Atom) -> str:
    return macro("m_cast_number", atom.sql) if atom.kind is Kind.STRING else f"u_cast_number({coerce.to_any(atom)})"


_CASTS: dict[str, tuple[Kind, Callable[[Atom], str]]] = {
    "string": (Kind.STRING, coerce.to_text),
    "integer": (Kind.INTEGER, _cast_integer),
    "number": (Kind.ANY, _cast_number),  # text may spell an integer that a double cannot hold
    "boolean": (Kind.BOOLEAN, lambda a: f"u_cast_boolean({coerce.to_any(a)})"),
    "timestamp": (Kind.TIMESTAMP, coerce.to_timestamp),
    "blob": (Kind.BLOB, coerce.to_blob),
}


@binds(Cast)
def _cast(node: Cast, scope: Scope) -> Value:
    value = bind(node.operand, scope)
    if node.type == "path":
        return Atom(coerce.to_path(value), Kind.PATH, latest_ts([value]), is_constant(value))
    if node.type not in _CASTS:
        raise MldbError(
            f"Unknown type '{node.type}' for CAST ({render(node.operand)} AS {node.type}); "
            f"known are {', '.join(_CASTS)}, path"
        )
    kind, convert = _CASTS[node.type]
    one = coerce.atom(value)
    if node.type == "number" and one.kind in (*coerce.NUMERIC, Kind.TIMESTAMP):
        return _exact_number(one)
    if node.type == "integer" and one.kind is Kind.UNSIGNED:
        return one
    return Atom(_cast_sql(one, kind, convert), kind, one.ts, one.constant)


def _exact_number(one: Atom) -> Atom:
    """What is a number already stays as exact as it is."""
    kind = Kind.NUMBER if one.kind is Kind.TIMESTAMP else one.kind
    return replace(one, kind=kind)


def _cast_sql(one: Atom, kind: Kind, convert: Callable[[Atom], str]) -> str:
    """Casts that need no Python: between numbers."""
    if one.kind is kind and kind not in (Kind.TIMESTAMP, Kind.ANY):
        return one.sql
    if kind is Kind.INTEGER and one.kind is Kind.NUMBER:
        return f"TRY_CAST(trunc({one.sql}) AS BIGINT)"
    if kind is Kind.INTEGER and one.kind is Kind.BOOLEAN:
        return coerce.to_integer(one)
    if kind is Kind.BOOLEAN and one.kind in coerce.NUMERIC:
        return coerce.truth(one)
    return convert(one)


@binds(ArrayLiteral)
def _array_literal(node: ArrayLiteral, scope: Scope) -> Value:
    items = [bind(item, scope) for item in node.items]
    if not items:
        return Atom("NULL", Kind.NULL, constant=True)
    constant = all(map(is_constant, items))
    if all(isinstance(item, Embedding) for item in items):
        return _nested_array([item for item in items if isinstance(item, Embedding)], constant)
    atoms = [coerce.atom(item) for item in items]
    sql, kind = coerce.list_of(atoms)
    return Embedding(sql, kind, (len(atoms),), latest_ts(atoms), constant=constant)


def _nested_array(items: list[Embedding], constant: bool) -> Embedding:
    shapes = {item.shape for item in items}
    if len(shapes) > 1 or None in shapes:
        raise MldbError("Embeddings don't contain the same number of elements")
    inner = items[0].shape or ()
    kind = coerce.unify(items)
    lists = [coerce.list_as(item, kind) for item in items]
    return Embedding(f"flatten([{', '.join(lists)}])", kind, (len(items), *inner), constant=constant)


@binds(Extract)
def _extract(node: Extract, scope: Scope) -> Value:
    base = bind(node.base, scope)
    if isinstance(base, Open):
        base = replace(base, sql=scope.stage(base.sql)) if "(" in base.sql else base
    row = _columns_of(base, atom=isinstance(node.base, ColumnRef) and scope.atoms_only())
    value = bind(node.inner, RowScope(scope, row, closed=not row.rests))
    return value if is_constant(base) else as_constant(value, False)


def _columns_of(base: Value, *, atom: bool) -> Row:
    """What ``base[…]`` can read; an atom has no columns, which is no error by itself."""
    if atom or isinstance(base, MultiValue) or (isinstance(base, Atom) and base.kind is not Kind.NULL):
        return Row()
    return require_row(base, "only a row or an embedding can be read with [ ]")
