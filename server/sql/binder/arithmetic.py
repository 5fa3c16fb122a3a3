"""Arithmetic on atoms, rows and embeddings (sql-dialect.md §7.1).

Numbers are computed as DOUBLE; that integral results are integers shows on output. What two ``ANY`` mean is decided
at run time by ``server.sql.functions.arithmetic``.
"""

from __future__ import annotations

from dataclasses import replace

from server.errors import MldbError
from server.sql import coerce
from server.sql.binder.elementwise import by_column, map_atoms
from server.sql.bound import (
    Atom,
    Embedding,
    MultiValue,
    Open,
    Row,
    Value,
    fixed,
    if_one_may_be_null,
    is_constant,
    is_null,
    is_open,
    latest_ts,
    never,
    possible,
    spelled,
    typed,
)
from server.sql.duck import macro
from server.values.kinds import Kind

_BITS = {"&": "&", "|": "|", "^": "xor"}
_FAST = {"-": "1", "*": "2", "/": "3"}  # what ``m_arithmetic_fast`` does of numbers, by its numbers
_SIGNED = {Kind.INTEGER, Kind.BOOLEAN}
_WHOLE = {*_SIGNED, Kind.UNSIGNED}


def arithmetic(op: str, left: Value, right: Value) -> Value:
    """``left op right``; rows and embeddings work element by element, a scalar on either side is spread."""
    left, right = _latest(left), _latest(right)
    if isinstance(left, Atom) and isinstance(right, Atom):
        return _atoms(op, left, right)
    if isinstance(left, Embedding | Atom) and isinstance(right, Embedding | Atom):
        return _embeddings(op, left, right)
    return _rows(op, left, right)


def _latest(value: Value) -> Value:
    """Of a cell with several values the latest, also where it shows only at run time that the value is one cell."""
    if isinstance(value, Open):
        return Open(macro("m_one_atom", value.cells))
    return coerce.atom(value) if isinstance(value, MultiValue) else value


def _atoms(op: str, left: Atom, right: Atom) -> Atom:
    ts, constant = latest_ts([left, right]), left.constant and right.constant
    if Kind.NULL in (left.kind, right.kind):
        return Atom("NULL", Kind.NULL, ts, constant)
    known = _known(op, left, right)
    may_be_null = possible if known is None else if_one_may_be_null((left, right))
    sql, kind = known or _at_run_time(op, left, right)
    return Atom(sql, kind, ts, constant, may_be_null=may_be_null)


def _known(op: str, left: Atom, right: Atom) -> tuple[str, Kind] | None:
    """What the kinds of numbers and texts decide; NULL only of NULL."""
    kinds = (left.kind, right.kind)
    if op in _BITS and Kind.UNSIGNED in kinds:
        words = _words(left, right)
        return None if words is None else _bits(op, *words)
    if all(kind in coerce.NUMERIC for kind in kinds):
        return _numbers(op, left, right)
    if op == "+" and Kind.STRING in kinds:
        return f"({coerce.to_text(left)} || {coerce.to_text(right)})", Kind.STRING
    return None


def _at_run_time(op: str, left: Atom, right: Atom) -> tuple[str, Kind]:
    """Dates and intervals, and what only the data decide."""
    kinds = (left.kind, right.kind)
    match op, *kinds:
        case "-", Kind.TIMESTAMP, Kind.TIMESTAMP:
            return macro("m_between", left.sql, right.sql), Kind.INTERVAL
        case "+" | "-", Kind.TIMESTAMP, Kind.INTERVAL:
            return macro("m_shift", left.sql, right.sql, f"{op}1"), Kind.TIMESTAMP
        case "+", Kind.INTERVAL, Kind.TIMESTAMP:
            return macro("m_shift", right.sql, left.sql, "1"), Kind.TIMESTAMP
    first, second = coerce.to_any(left), coerce.to_any(right)
    sql = f"u_arithmetic('{op}', {first}, {second})"
    if Kind.TIMESTAMP in kinds and op in "+-" and kinds != (Kind.TIMESTAMP, Kind.TIMESTAMP):
        return f"union_extract({sql}, 't')", Kind.TIMESTAMP
    if Kind.INTERVAL in kinds and Kind.ANY not in kinds:
        return f"union_extract({sql}, 'v')", Kind.INTERVAL
    if op in _FAST and all(kind is Kind.ANY or kind in coerce.NUMERIC for kind in kinds):
        return macro("m_arithmetic_fast", first, second, _FAST[op], sql), Kind.ANY
    return sql, Kind.ANY


def _words(left: Atom, right: Atom) -> tuple[Atom, Atom] | None:
    """Two operands that have no sign, the second one a literal if one is; None where a sign might be met."""
    first, second = sorted((left, right), key=lambda side: side.kind is not Kind.UNSIGNED)
    return (first, second) if second.kind is Kind.UNSIGNED or _is_positive(second) else None


def _is_positive(atom: Atom) -> bool:
    """Whether it is known to be an integer above 0 that needs no sign to be told."""
    return atom.kind is Kind.INTEGER and isinstance(atom.literal, int) and atom.literal > 0


def _bits(op: str, word: Atom, other: Atom) -> tuple[str, Kind]:
    sql = f"{_BITS[op]}({word.sql}, {_unsigned(other)})" if op == "^" else f"({word.sql} {op} {_unsigned(other)})"
    small = op == "&" and other.kind is not Kind.UNSIGNED
    return (f"CAST({sql} AS BIGINT)", Kind.INTEGER) if small else (sql, Kind.UNSIGNED)


def _numbers(op: str, left: Atom, right: Atom) -> tuple[str, Kind]:
    if op in _BITS:
        a, b = coerce.to_integer(left), coerce.to_integer(right)
        return (f"xor({a}, {b})" if op == "^" else f"({a} {op} {b})"), Kind.INTEGER
    if op == "%":
        return _modulo(left, right)
    a, b = coerce.to_double(left), coerce.to_double(right)
    return (f"m_divide({a}, {b})" if op == "/" else f"({a} {op} {b})"), Kind.NUMBER


def _modulo(left: Atom, right: Atom) -> tuple[str, Kind]:
    kinds = {left.kind, right.kind}
    if kinds <= _SIGNED:
        return macro("m_modulo", coerce.to_integer(left), coerce.to_integer(right)), Kind.INTEGER
    if kinds <= _WHOLE:
        sql = macro("m_modulo_unsigned", _unsigned(left), _unsigned(right))
        return (f"CAST({sql} AS BIGINT)", Kind.INTEGER) if _is_positive(right) else (sql, Kind.UNSIGNED)
    slow = f"u_modulo({coerce.to_any(left)}, {coerce.to_any(right)})"
    fast = macro("m_modulo_fast", coerce.to_double(left), coerce.to_double(right))
    return f"coalesce({fast}, {coerce.to_double(Atom(slow, Kind.ANY))})", Kind.NUMBER


def _unsigned(atom: Atom) -> str:
    """A whole number as C converts it to a machine word without a sign (UBIGINT)."""
    return atom.sql if atom.kind is Kind.UNSIGNED else macro("m_unsigned", coerce.to_integer(atom))


def negate(value: Value) -> Value:
    """Unary minus."""
    match value:
        case Atom(kind=Kind.NULL):
            return value
        case Atom(kind=Kind.INTEGER | Kind.BOOLEAN):
            return Atom(f"(-{coerce.to_integer(value)})", Kind.INTEGER, value.ts, value.constant)
        case Atom(kind=Kind.NUMBER | Kind.UNSIGNED):
            # Zero is an integer, whose negative is no other number.
            return Atom(f"(-{coerce.to_double(value)} + 0e0)", Kind.NUMBER, value.ts, value.constant)
        case Atom():
            sql = f"u_negate({coerce.to_any(value)})"
            if value.kind is Kind.INTERVAL:
                return Atom(f"union_extract({sql}, 'v')", Kind.INTERVAL, value.ts, value.constant)
            return Atom(sql, Kind.ANY, value.ts, value.constant)
        case MultiValue():
            return negate(coerce.atom(value))
        case Embedding():
            sql = f"list_transform({coerce.as_double_list(value)}, lambda e: (-e))"
            return Embedding(sql, Kind.NUMBER, value.shape, value.ts, value.names, value.constant)
    return map_atoms(value, lambda atom: _as_atom(negate(atom)))


def _as_atom(value: Value) -> Atom:
    assert isinstance(value, Atom)
    return value


def _embeddings(op: str, left: Atom | Embedding, right: Atom | Embedding) -> Value:
    ts, constant = latest_ts([left, right]), is_constant(left) and is_constant(right)
    if any(is_null(side) for side in (left, right)):
        return Atom("NULL", Kind.NULL, ts, constant)
    if op not in "+-*/":
        return _rows(op, left, right)
    shape_of = left if isinstance(left, Embedding) else right
    assert isinstance(shape_of, Embedding)
    shapes = {side.shape for side in (left, right) if isinstance(side, Embedding)}
    if len(shapes - {None}) > 1:
        raise MldbError("Attempt to perform operation on incompatible shaped embeddings")
    numbers = {left.kind, right.kind} <= set(coerce.NUMERIC)
    sql, kind = (_of_numbers(op, left, right), Kind.NUMBER) if numbers else _of_elements(op, left, right)
    return Embedding(sql, kind, shape_of.shape, ts, shape_of.names, constant)


def _of_numbers(op: str, left: Atom | Embedding, right: Atom | Embedding) -> str:
    if isinstance(left, Embedding):
        other = f"({coerce.as_double_list(right)})[i]" if isinstance(right, Embedding) else coerce.to_double(right)
        return f"list_transform({coerce.as_double_list(left)}, lambda e, i: {_scalar_op(op, 'e', other)})"
    return f"list_transform({coerce.as_double_list(right)}, lambda e: {_scalar_op(op, coerce.to_double(left), 'e')})"


def _of_elements(op: str, left: Atom | Embedding, right: Atom | Embedding) -> tuple[str, Kind]:
    """Elements that are not all numbers are combined as atoms are."""
    if isinstance(left, Embedding):
        other = Atom(f"({right.sql})[i]", right.kind, never) if isinstance(right, Embedding) else right
        body = _atoms(op, Atom("e", left.kind, never), other)
        return f"list_transform({left.sql}, lambda e, i: {typed(body)})", body.kind
    body = _atoms(op, left, Atom("e", right.kind, never))
    return f"list_transform({right.sql}, lambda e: {typed(body)})", body.kind


def _scalar_op(op: str, a: str, b: str) -> str:
    return f"m_divide({a}, {b})" if op == "/" else f"({a} {op} {b})"


def _rows(op: str, left: Value, right: Value) -> Value:
    """By column name, a full outer match; a scalar on either side goes with every column, and all values of a cell."""
    if isinstance(left, Atom):
        return map_atoms(right, lambda atom: _atoms(op, left, atom), every=True)
    if isinstance(right, Atom):
        return map_atoms(left, lambda atom: _atoms(op, atom, right), every=True)
    a, b = (spelled(side) if isinstance(side, Row) else side for side in (left, right))
    if _is_open(a) or _is_open(b):
        return Open(f"u_arithmetic_cells('{op}', {coerce.to_cells(a)}, {coerce.to_cells(b)})")
    return by_column(a, b, lambda one, other: _atoms(op, one, other))


def _is_open(value: Value) -> bool:
    if isinstance(value, Embedding):
        return value.shape is None and value.names is None
    return is_open(value)


def set_timestamp(value: Value, when: Value) -> Value:
    """``value @ when``."""
    if isinstance(value, MultiValue):
        value = coerce.atom(value)
    moment = coerce.atom(when)
    sql = coerce.to_timestamp(moment)
    if moment.kind not in (Kind.TIMESTAMP, Kind.INTEGER, Kind.NUMBER):
        sql = f"m_need_ts({sql})"
        if isinstance(value, Atom) and moment.kind is not Kind.NULL:
            value = replace(value.present(), sql=f"CASE WHEN {sql} IS NOT NULL THEN {typed(value)} END")
    match value:
        case Atom():
            return Atom(value.sql, value.kind, fixed(sql), value.constant and moment.constant)
        case Embedding():
            return Embedding(value.sql, value.kind, value.shape, fixed(sql), value.names, value.constant)
        case Open():  # an atom is dated, the atoms of a row are not
            cell = f"CASE WHEN c.p = '' THEN struct_pack(p := c.p, v := c.v, t := {sql}) ELSE c END"
            return Open(f"list_transform({value.cells}, lambda c: {cell})")
    return value
