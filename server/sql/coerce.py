"""Conversions between bound values: to an atom, to a kind, to truth, to cells.

The rules are those of sql-dialect.md §1.4. What a kind decides is decided here, while binding; only
``ANY`` decides at run time, by the macros of ``server.sql.functions.conversions``.
"""

from __future__ import annotations

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
    is_null,
    latest,
    typed,
)
from server.sql.duck import literal_text, macro
from server.values.kinds import CELL_TYPE, Kind
from server.values.paths import format_path, natural_key

NUMERIC = (Kind.BOOLEAN, Kind.INTEGER, Kind.UNSIGNED, Kind.NUMBER)


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
