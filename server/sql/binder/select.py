"""Binding of statements (sql-dialect.md §5): FROM, WHERE, WHEN, SELECT, NAMED, ORDER BY and the rest, in that order."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from server.errors import MldbError
from server.sql import coerce
from server.sql.binder.expressions import bind
from server.sql.binder.groups import bind_grouped, has_aggregate
from server.sql.binder.query import Query, SelectRelation
from server.sql.binder.rows import bind_clauses
from server.sql.binder.sources import bind_table
from server.sql.binder.when import WhenScope
from server.sql.bound import Atom, Row, Value, is_constant, typed
from server.sql.duck import literal_text
from server.sql.relations import NoTable, Relation
from server.sql.scope import Context, NoScope, OverlayScope, Scope, ScopeFunction, TableScope
from server.sql.tree import Call, Constant, Expression, InList, OrderKey, Select
from server.values.kinds import CELL_TYPE, Kind

NULL_NAME = "Can't create a row with a null name."


def bind_select(
    select: Select, context: Context, functions: Callable[[Relation], Mapping[str, ScopeFunction]] | None = None
) -> Query:
    """The bound form of a statement. ``functions`` are further row functions of its FROM (``lineNumber()``)."""
    if select.source is None:
        return _without_from(select, context)
    relation = bind_table(select.source, context)
    scope: Scope = TableScope(context, relation, functions(relation) if functions is not None else None)
    where = [coerce.truth(bind(select.where, scope))] if select.where is not None else []
    filtered = WhenScope(scope, select.when) if select.when is not None else scope
    if select.group_by or has_aggregate(select.clauses, scope):
        return bind_grouped(select, relation, filtered, where)
    if select.having is not None:
        raise MldbError("HAVING expression requires a GROUP BY expression")
    return _ungrouped(select, relation, filtered, where)


def _without_from(select: Select, context: Context) -> Query:
    for clause, text in ((select.group_by, "GROUP BY"), (select.having, "HAVING")):
        if clause:
            raise MldbError(f"{text} usage requires a FROM statement")
    relation = NoTable(context.number())
    scope = NoScope(context, relation)
    where = [coerce.truth(bind(select.where, scope))] if select.where is not None else []
    row = bind_clauses(select.clauses, scope)
    path = named(select.named, relation, scope)
    return Query(relation, row, path, _hash(path, relation), where, limit=select.limit, offset=select.offset)


def _ungrouped(select: Select, relation: Relation, scope: Scope, where: list[str]) -> Query:
    row = bind_clauses(select.clauses, scope)
    path = named(select.named, relation, scope)
    order = order_terms(select.order_by, OverlayScope(row, scope))
    if order:
        order.append(relation.row_hash())
    elif select.where is not None:
        order = _order_of_list(select.where, relation)
    hash_ = relation.row_hash() if select.named is None else _hash(path, relation)
    distinct = distinct_terms(select, OverlayScope(row, scope))
    return Query(relation, row, path, hash_, where, order, distinct, select.limit, select.offset)


def named(expression: Expression | None, relation: Relation, scope: Scope) -> Atom:
    """The row path that NAMED gives, or the relation's own."""
    if expression is None:
        return relation.row_path()
    value = bind(expression, scope)
    if isinstance(value, Atom) and value.kind is Kind.NULL:
        raise MldbError(NULL_NAME)
    if isinstance(value, Atom) and value.kind is Kind.INTEGER and value.sql == relation.row_path().sql:
        return value
    return Atom(f"m_need_name({coerce.to_path(value)})", Kind.PATH)


def _hash(path: Atom, relation: Relation) -> str:
    text = path.sql if path.kind is Kind.PATH else f"CAST({path.sql} AS VARCHAR)"
    return f"mldb_path_hash({text})"


def order_terms(keys: tuple[OrderKey, ...], scope: Scope) -> list[str]:
    """ORDER BY terms; constants say nothing and are dropped."""
    terms: list[str] = []
    for key in keys:
        value = bind(key.expression, scope)
        if not is_constant(value):
            terms.extend(coerce.sort_terms(value, key.descending))
    return terms


def distinct_terms(select: Select, scope: Scope) -> list[str]:
    if not select.distinct_on:
        return []
    if len(select.distinct_on) > len(select.order_by):
        raise MldbError("DISTINCT ON expression cannot have more clauses than ORDER BY expression")
    for expression, key in zip(select.distinct_on, select.order_by, strict=False):
        if expression != key.expression:
            raise MldbError("DISTINCT ON expression must match leftmost(s) ORDER BY clause(s)")
    values = [coerce.atom(bind(expression, scope)) for expression in select.distinct_on]
    return [typed(value) for value in values]


def _order_of_list(where: Expression, relation: Relation) -> list[str]:
    """``WHERE rowName() IN ('a', 'b')`` lists its rows in the order of the list (§3.5)."""
    match where:
        case InList(operand=Call(name="rowName", qualifier=None), items=items, negated=False) if all(
            isinstance(item, Constant) and isinstance(item.value, str) for item in items
        ):
            names = ", ".join(literal_text(str(item.value)) for item in items if isinstance(item, Constant))
            return [f"list_position([{names}], {relation.row_text()})"]
    return []


def value_set(select: Select, scope: Scope) -> str:
    """SQL of the non-null values of all columns and rows of a sub-query, as ``ANY`` (for IN)."""
    context = scope.context
    query = bind_select(select, context)
    relation = SelectRelation(context.number(), query)
    row = relation.row()
    text = _one_column(row)
    if text is None:
        cells = f"CAST({coerce.to_cells(row)} AS {CELL_TYPE}[])"
        text = f"unnest(list_transform({cells}, lambda c: c.v))"
    source = relation.render(text, ordered=False)
    return f"SELECT s.v FROM (SELECT {text} AS v FROM {source}) AS s WHERE s.v IS NOT NULL"


def _one_column(row: Row) -> str | None:
    values: list[Value] = list(row.columns.values())
    if row.rests or len(values) != 1 or not isinstance(values[0], Atom):
        return None
    return coerce.to_any(values[0])
