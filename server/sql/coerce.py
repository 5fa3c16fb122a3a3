"""Conversions between bound values: to an atom, to a kind, to truth, to cells; comparison and sort keys.

The rules are those of sql-dialect.md §1.4 and §7.3. What a kind decides is decided here, while binding; only
``ANY`` decides at run time, by the macros of ``server.sql.routines``.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import groupby
from operator import itemgetter

from server.errors import MldbError
from server.sql.bound import (
    NEVER_SQL,
    NO_CELLS,
    Atom,
    Embedding,
    MultiValue,
    Open,
    Row,
    Value,
    any_sql,
    as_any_list,
    concat_lists,
    embedding_cells,
    is_constant,
    is_null,
    latest,
    latest_ts,
    typed,
)
from server.sql.duck import literal_text, macro
from server.values.kinds import CELL_TYPE, Kind
from server.values.paths import format_path, natural_key

NUMERIC = (Kind.BOOLEAN, Kind.INTEGER, Kind.UNSIGNED, Kind.NUMBER)
_RANK = {
    Kind.BOOLEAN: 1, Kind.INTEGER: 1, Kind.UNSIGNED: 1, Kind.NUMBER: 1, Kind.STRING: 2, Kind.TIMESTAMP: 3,
    Kind.INTERVAL: 4, Kind.BLOB: 5, Kind.PATH: 6,
}  # fmt: skip


def atom(value: Value) -> Atom:
    """The value as one atom under the LATEST filter; a row that cannot be one is refused."""
    match value:
        case Atom():
            return value.present()
        case MultiValue():
            return latest(value)
        case Open(sql, constant):
            return Atom(f"m_atom({sql})", Kind.ANY, lambda: f"m_newest({sql})", constant)
        case Embedding(shape=(0,)):
            return Atom("NULL", Kind.NULL, value.ts, value.constant)
        case Row() if not value.columns and not value.rests:
            return Atom("NULL", Kind.NULL)
        case Row(columns, rests) if not columns and len(rests) == 1 and not rests[0].prefix:
            return atom(Open(rests[0].sql, rests[0].constant))
    kind = "embedding" if isinstance(value, Embedding) else "structured"
    raise MldbError(f"Cannot convert value of type '{kind}' to 'atomic value'; name one of its columns")


def _only_atom(value: Value) -> Atom:
    """The value as one atom; one that the data show to be a row raises at run time."""
    if isinstance(value, Open):
        return replace(atom(value), sql=f"m_one_value({value.sql})")
    return atom(value)


def to_any(value: Value) -> str:
    one = atom(value)
    return any_sql(one.sql, one.kind)


def to_double(value: Value) -> str:
    """SQL of a number as DOUBLE; a string or a timestamp raises at run time, as MLDB's ``toDouble`` does."""
    one = _only_atom(value)
    match one.kind:
        case Kind.NUMBER:
            return one.sql
        case Kind.NULL:
            return "NULL::DOUBLE"
        case Kind.BOOLEAN | Kind.INTEGER | Kind.UNSIGNED:
            return f"CAST({one.sql} AS DOUBLE)"
    return macro("m_num", to_any(one))


def to_integer(value: Value) -> str:
    """SQL of an integer as BIGINT; a non-integral number or a string raises at run time."""
    one = _only_atom(value)
    match one.kind:
        case Kind.INTEGER:
            return one.sql
        case Kind.BOOLEAN:
            return f"CAST({one.sql} AS BIGINT)"
        case Kind.NULL:
            return "NULL::BIGINT"
    return macro("m_int", to_any(one))


def to_text(value: Value) -> str:
    """SQL of the text form of an atom (CAST AS string)."""
    one = _only_atom(value)
    match one.kind:
        case Kind.STRING | Kind.PATH:
            return one.sql
        case Kind.NULL:
            return "NULL::VARCHAR"
        case Kind.INTEGER | Kind.UNSIGNED:
            return f"CAST({one.sql} AS VARCHAR)"
        case Kind.BOOLEAN:
            return f"CAST(CAST({one.sql} AS TINYINT) AS VARCHAR)"
        case Kind.NUMBER:
            return macro("m_numtext", one.sql)
        case Kind.TIMESTAMP:
            return macro("m_tstext", one.sql)
    return macro("m_text", to_any(one))


def to_blob(value: Value) -> str:
    """SQL of an atom as BLOB: of what is none the text form, as UTF-8."""
    one = atom(value)
    return one.sql if one.kind is Kind.BLOB else f"u_cast_blob({to_any(one)})"


def to_timestamp(value: Value) -> str:
    """SQL of an atom as seconds; text that is no date gives NULL."""
    one = _only_atom(value)
    match one.kind:
        case Kind.TIMESTAMP:
            return one.sql
        case Kind.NULL:
            return "NULL::DOUBLE"
        case Kind.BOOLEAN | Kind.INTEGER | Kind.UNSIGNED | Kind.NUMBER:
            return f"CAST({one.sql} AS DOUBLE)"
        case Kind.STRING:
            return macro("m_parse_ts", one.sql)
    return macro("m_ts", to_any(one))


def to_path(value: Value) -> str:
    """SQL of a value as a path's text: a string is ONE element; rows and embeddings give several."""
    match value:
        case Embedding(shape=shape) if shape is None or len(shape) == 1:
            return f"u_join_path({as_any_list(value)})"
        case Open():
            return macro("m_cells_path", value.sql)
        case Row(rests=rests) if rests:
            return macro("m_cells_path", to_cells(value))
        case Row(columns=columns) if columns:
            parts = [to_any(leaf) for _, leaf in sorted_leaves(value)]
            return f"u_join_path([{', '.join(parts)}])"
        case Embedding():
            raise MldbError(
                "Unable to create a row name from the passed expression. A name is an atom, or a list or row of atoms"
            )
    one = atom(value)
    match one.kind:
        case Kind.PATH:
            return one.sql
        case Kind.NULL:
            return "NULL::VARCHAR"
        case Kind.INTEGER | Kind.UNSIGNED | Kind.BOOLEAN:
            return to_text(one)
        case Kind.STRING:
            return f"m_quote({one.sql})"
    return macro("m_path", to_any(one))


def as_double_list(value: Value) -> str:
    """A vector argument as DOUBLE[]: an embedding, or a row's columns in natural order."""
    if isinstance(value, Embedding):
        if value.kind is Kind.NUMBER:
            return f"CAST({value.sql} AS DOUBLE[])"
        if value.kind in NUMERIC:
            return f"list_transform({value.sql}, lambda e: CAST(e AS DOUBLE))"
        return f"list_transform({as_any_list(value)}, lambda e: m_num(e))"
    if isinstance(value, Row) and not value.rests:
        return f"CAST([{', '.join(to_double(leaf) for _, leaf in sorted_leaves(value))}] AS DOUBLE[])"
    if isinstance(value, Row | Open):
        return f"u_numbers({to_cells(value)})"
    if is_null(value):
        return "CAST(NULL AS DOUBLE[])"
    raise MldbError("a vector is needed here: an embedding, or a row of numbers")


def sorted_leaves(row: Row) -> list[tuple[tuple[str, ...], Value]]:
    return sorted(row.columns.items(), key=lambda item: natural_key(item[0]))


def truth(value: Value) -> str:
    """SQL of MLDB's truth: BOOLEAN, NULL for null."""
    match value:
        case Row(named=True):
            return f"CASE WHEN {has_cells(value)} THEN TRUE END"
        case Row():
            return has_cells(value)
        case Embedding(sql):
            return f"(len({sql}) > 0)"
        case Open():
            return macro("m_cells_truth", value.cells)
    one = atom(value)
    match one.kind:
        case Kind.BOOLEAN:
            return one.sql
        case Kind.NULL:
            return "NULL::BOOLEAN"
        case Kind.INTEGER | Kind.UNSIGNED | Kind.NUMBER:
            return f"({one.sql} <> 0)"
        case Kind.STRING | Kind.PATH:
            return f"({one.sql} <> '')"
        case Kind.TIMESTAMP:
            return f"isfinite({one.sql})"
    return macro("m_truth", to_any(one))


def has_cells(row: Row) -> str:
    """SQL of whether a row has any cell."""
    tests = [f"coalesce(len({rest.sql}), 0) > 0" for rest in row.rests]
    for leaf in row.columns.values():
        match leaf:
            case MultiValue(sql):
                tests.append(f"coalesce(len({sql}), 0) > 0")
            case Atom(sparse=True):
                tests.append(f"{leaf.sql} IS NOT NULL")
            case _:
                return "TRUE"
    return f"({' OR '.join(tests) or 'FALSE'})"


def to_cells(value: Value) -> str:
    """Any value as a list of cells with paths relative to it; absent cells are left out."""
    match value:
        case Open():
            return value.cells
        case Row():
            lists = [_leaf_cells(format_path(path) if path else "", leaf) for path, leaf in value.columns.items()]
            return concat_lists([*_merge_singles(lists), *(rest.cells() for rest in value.rests)])
        case _:
            return concat_lists(_merge_singles([_leaf_cells("", value)]))


def _leaf_cells(path: str, leaf: Value) -> tuple[str, bool]:
    """SQL of a leaf's cells: one struct (True), or a list of them (False)."""
    text = literal_text(path)
    match leaf:
        case Atom(sparse=False):
            return f"struct_pack(p := {text}, v := {to_any(leaf)}, t := {leaf.ts()})", True
        case Atom():
            ts = f"coalesce({leaf.ts()}, {NEVER_SQL})" if leaf.there else leaf.ts()
            cell = f"struct_pack(p := {text}, v := {to_any(leaf)}, t := {ts})"
            return f"CASE WHEN {leaf.presence} THEN [{cell}] ELSE {NO_CELLS} END", False
        case MultiValue(sql, kind):
            cell = f"struct_pack(p := {text}, v := {any_sql('c.v', kind)}, t := c.t)"
            return f"list_transform({sql}, lambda c: {cell})", False
        case Embedding():
            return embedding_cells(path, leaf), False
    raise TypeError(f"not a leaf: {leaf!r}")


def _merge_singles(lists: list[tuple[str, bool]]) -> list[str]:
    """Neighbouring single cells as one list literal."""
    merged: list[str] = []
    for single, run in groupby(lists, key=itemgetter(1)):
        texts = [text for text, _ in run]
        merged += [f"[{', '.join(texts)}]::{CELL_TYPE}[]"] if single else texts
    return merged


# ── comparison ───────────────────────────────────────────────────────────────────────────────────────────────


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


def _may_be_nan(atom: Atom) -> bool:
    return atom.kind is Kind.NUMBER and atom.may_be_nan()


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


def unify(values: Iterable[Atom | Embedding]) -> Kind:
    """The one kind that can hold all these atoms, and the elements of these embeddings."""
    kinds = {value.kind for value in values if value.kind is not Kind.NULL}
    if not kinds:
        return Kind.NULL
    if len(kinds) == 1:
        return kinds.pop()
    if kinds <= {Kind.BOOLEAN, Kind.INTEGER}:
        return Kind.INTEGER
    if Kind.NUMBER in kinds and kinds <= set(NUMERIC):
        return Kind.NUMBER
    return Kind.ANY


def list_of(atoms: Sequence[Atom]) -> tuple[str, Kind]:
    """SQL of a list of atoms, and the one kind of its elements."""
    kind = unify(atoms)
    kind = Kind.ANY if kind is Kind.NULL else kind
    return f"[{', '.join(as_kind(atom, kind) for atom in atoms)}]", kind


def list_as(value: Embedding, kind: Kind) -> str:
    """SQL of the list of an embedding, its elements in a kind that ``unify`` chose for them."""
    if value.kind is kind:
        return value.sql
    return f"list_transform({value.sql}, lambda e: {as_kind(Atom('e', value.kind), kind)})"


def as_kind(value: Atom, kind: Kind) -> str:
    """SQL of an atom in a kind that ``unify`` chose for it."""
    if kind is Kind.NULL or value.kind is Kind.NULL:
        return f"NULL::{kind.duck}" if kind is not Kind.ANY else "NULL::any_value_t"
    if value.kind is kind:
        return typed(value)
    if kind is Kind.INTEGER:
        return to_integer(value)
    if kind is Kind.NUMBER:
        return to_double(value)
    return to_any(value)
