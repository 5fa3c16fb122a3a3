"""Operations on atoms applied to whole values: to every column of a row, every element of an embedding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from server.errors import MldbError
from server.sql import coerce
from server.sql.bound import (
    Atom,
    Embedding,
    MultiValue,
    Open,
    Row,
    RowBuilder,
    Value,
    any_sql,
    latest_ts,
    never,
    presence,
    spelled,
    typed,
)
from server.sql.duck import literal_text
from server.sql.relations import require_row
from server.sql.scope import Scope
from server.values.kinds import Kind
from server.values.paths import Path

_NAME_THEM = "rows whose columns are not known before the query runs cannot be combined; name their columns"


def map_atoms(value: Value, change: Callable[[Atom], Atom], *, every: bool = False) -> Value:
    """Apply an atom-wise operation to every atom of a value; cells of an open row are changed one by one.

    Of a multi-valued cell the latest value, or ``every`` one.
    """
    match value:
        case Atom():
            return change(value)
        case MultiValue() if every:
            return _map_values(value, change)
        case MultiValue():
            return change(coerce.atom(value))
        case Embedding():
            body = change(Atom("e", value.kind, never))
            sql = f"list_transform({value.sql}, lambda e: {body.sql})"
            return Embedding(sql, body.kind, value.shape, value.ts, value.names, value.constant)
        case Open():
            return Open(_map_cells(value.cells, change))
        case Row():
            builder = RowBuilder()
            for path, leaf in value.columns.items():
                changed = map_atoms(leaf, change, every=every)
                if isinstance(leaf, Atom) and isinstance(changed, Atom) and leaf.sparse and not leaf.there:
                    changed = replace(changed, sparse=True)
                elif isinstance(leaf, Atom | MultiValue) and isinstance(changed, Atom) and presence(leaf):
                    changed = changed.where(presence(leaf))
                builder.add(path, changed)
            for rest in value.rests:
                builder.add(rest.prefix, Open(_map_cells(rest.sql, change)))
            return builder.build()


def _map_values(value: MultiValue, change: Callable[[Atom], Atom]) -> MultiValue:
    inner = change(Atom("c.v", value.kind, lambda: "c.t"))
    body = f"struct_pack(v := {typed(inner)}, t := {inner.ts()})"
    return MultiValue(f"list_transform({value.sql}, lambda c: {body})", inner.kind)


def _map_cells(sql: str, change: Callable[[Atom], Atom]) -> str:
    body = change(Atom("c.v", Kind.ANY, lambda: "c.t"))
    value = any_sql(body.sql, body.kind)
    return f"list_transform({sql}, lambda c: struct_pack(p := c.p, v := {value}, t := c.t))"


def map_pairs(left: Value, right: Value, change: Callable[[Atom, Atom], Atom], scope: Scope) -> Value:
    """An operation on two atoms, on rows and embeddings element by element; an atom goes with every element."""
    if isinstance(left, Open) and isinstance(right, Open):
        left, right = _only_atom(left), _only_atom(right)
    if isinstance(right, Atom | MultiValue):
        second = coerce.atom(right)
        return map_atoms(left, lambda atom: change(atom, second))
    if isinstance(left, Atom | MultiValue):
        first = coerce.atom(left)
        return map_atoms(right, lambda atom: change(first, atom))
    if isinstance(left, Embedding) and isinstance(right, Embedding):
        return _map_vectors(left, right, change, scope)
    return by_column(left, right, change)


def _only_atom(value: Open) -> Atom:
    """One of two values that both show only at run time: atoms can be combined then, rows cannot."""
    return coerce.atom(replace(value, sql=f"m_only_atom({value.sql}, {literal_text(_NAME_THEM)})"))


def _map_vectors(left: Embedding, right: Embedding, change: Callable[[Atom, Atom], Atom], scope: Scope) -> Embedding:
    if None not in (left.shape, right.shape) and left.shape != right.shape:
        raise MldbError("Attempt to apply function to incompatibly sized embeddings")
    other = scope.stage(right.sql)
    body = change(Atom("e", left.kind), Atom(f"{other}[i]", right.kind))
    sql = f"list_transform({left.sql}, lambda e, i: {body.sql})"
    constant = left.constant and right.constant
    return Embedding(sql, body.kind, left.shape, latest_ts([left, right]), left.names, constant)


def by_column(left: Value, right: Value, change: Callable[[Atom, Atom], Atom]) -> Row:
    """An operation on the columns of equal name of two rows or embeddings; what one side lacks is null."""
    a, b, missing = _columns(left), _columns(right), Atom("NULL", Kind.NULL)
    builder = RowBuilder()
    for path in dict.fromkeys([*a, *b]):
        builder.add(path, change(a.get(path, missing), b.get(path, missing)))
    return builder.build()


def _columns(value: Value) -> dict[Path, Atom]:
    row = spelled(require_row(value, "a number, a row or an embedding is needed here"))
    if row.rests:
        raise MldbError(_NAME_THEM)
    return {path: coerce.atom(leaf) for path, leaf in row.columns.items()}
