"""Binding of expressions: tree and scope in, bound value out. One small function per kind of node."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from server.errors import MldbError
from server.sql import coerce, comparison
from server.sql.binder.arithmetic import arithmetic, negate, set_timestamp
from server.sql.binder.base import bind, binds
from server.sql.bound import (
    NEVER_SQL,
    Atom,
    Embedding,
    MultiValue,
    Open,
    Row,
    Value,
    as_constant,
    impossible,
    is_constant,
    latest_ts,
    possible,
    timestamp_of,
)
from server.sql.duck import literal, macro
from server.sql.relations import require_row
from server.sql.render import render
from server.sql.scope import RowScope, Scope
from server.sql.tree import (
    ArrayLiteral,
    Binary,
    Cast,
    ColumnRef,
    Constant,
    Extract,
    Parameter,
    Unary,
)
from server.values.kinds import Kind


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
    if isinstance(value, Row) and (value == Row() or any(rest.is_row for rest in value.rests)):
        return value
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
        return comparison.compare(node.op, left, right)
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
        base = replace(base, sql=scope.reference(base.sql))
    row = _columns_of(base, atom=isinstance(node.base, ColumnRef) and scope.atoms_only())
    value = bind(node.inner, RowScope(scope, row, closed=not row.rests))
    return value if is_constant(base) else as_constant(value, False)


def _columns_of(base: Value, *, atom: bool) -> Row:
    """What ``base[…]`` can read; an atom has no columns, which is no error by itself."""
    if atom or isinstance(base, MultiValue) or (isinstance(base, Atom) and base.kind is not Kind.NULL):
        return Row()
    return require_row(base, "only a row or an embedding can be read with [ ]")
