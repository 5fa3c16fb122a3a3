"""Binding of statements (sql-dialect.md §5): FROM, WHERE, WHEN, SELECT, NAMED, ORDER BY and the rest, in that order."""

from __future__ import annotations

from server.errors import MldbError
from server.sql import coerce
from server.sql.binder.base import bind, bind_table, bind_truth, binds, binds_table, within
from server.sql.binder.groups import bind_grouped, has_aggregate
from server.sql.binder.output import distinct_terms, named, order_terms
from server.sql.binder.query import Query, SelectRelation
from server.sql.binder.rows import bind_clauses
from server.sql.binder.when import WhenScope
from server.sql.bound import Atom, Row, Value, path_text
from server.sql.duck import literal_text
from server.sql.relations import NoTable, Relation
from server.sql.scope import Context, NoScope, OverlayScope, Scope, TableScope
from server.sql.tree import Call, Constant, Expression, InList, InQuery, Select, SubSelect
from server.storage.database import PATH_HASH
from server.values.kinds import CELL_TYPE, Kind


def bind_select(select: Select, context: Context) -> Query:
    """The bound form of a statement."""
    if select.source is None:
        return _without_from(select, context)
    relation = bind_table(select.source, context)
    scope: Scope = TableScope(context, relation)
    where = [bind_truth(select.where, scope)] if select.where is not None else []
    filtered = WhenScope(scope, select.when) if select.when is not None else scope
    if select.group_by or has_aggregate(select.clauses):
        return bind_grouped(select, relation, filtered, where)
    if select.having is not None:
        with within(select.having):
            raise MldbError("HAVING expression requires a GROUP BY expression")
    return _ungrouped(select, relation, filtered, where)


def _without_from(select: Select, context: Context) -> Query:
    for clause, expressions in (("GROUP BY", select.group_by), ("HAVING", (select.having,))):
        if expressions and expressions[0] is not None:
            with within(expressions[0]):
                raise MldbError(f"{clause} usage requires a FROM statement")
    relation = NoTable(context.number())
    scope = NoScope(context, relation)
    where = [bind_truth(select.where, scope)] if select.where is not None else []
    row = bind_clauses(select.clauses, scope)
    path = named(select.named, relation, scope)
    return Query(relation, row, path, _hash(path), where, limit=select.limit, offset=select.offset)


def _ungrouped(select: Select, relation: Relation, scope: Scope, where: list[str]) -> Query:
    row = bind_clauses(select.clauses, scope)
    path = named(select.named, relation, scope)
    order = order_terms(select.order_by, OverlayScope(row, scope))
    if order:
        order.append(relation.row_hash())
    elif select.where is not None:
        order = _order_of_list(select.where, relation)
    hash_ = relation.row_hash() if select.named is None else _hash(path)
    distinct = distinct_terms(select, OverlayScope(row, scope))
    return Query(relation, row, path, hash_, where, order, distinct, select.limit, select.offset)


def _hash(path: Atom) -> str:
    return f"{PATH_HASH}({path_text(path)})"


def _order_of_list(where: Expression, relation: Relation) -> list[str]:
    """``WHERE rowName() IN ('a', 'b')`` lists its rows in the order of the list (§3.5)."""
    match where:
        case InList(operand=Call(name="rowName", qualifier=None), items=items, negated=False) if all(
            isinstance(item, Constant) and isinstance(item.value, str) for item in items
        ):
            names = ", ".join(literal_text(str(item.value)) for item in items if isinstance(item, Constant))
            return [f"list_position([{names}], {relation.row_text()})"]
    return []


def _value_set(select: Select, scope: Scope) -> str:
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


@binds(InQuery)
def _in_query(node: InQuery, scope: Scope) -> Value:
    value = coerce.atom(bind(node.operand, scope))
    members = _value_set(node.query, scope)
    if scope.in_cells():
        listed = scope.once(f"(SELECT coalesce(list(v), []) FROM ({members}))")
        hit = f"list_contains({listed}, {coerce.to_any(value)})"
    else:
        hit = scope.stage(f"({coerce.to_any(value)} IN ({members}))")
    sql = f"CASE WHEN {value.sql} IS NULL THEN NULL ELSE {'NOT ' if node.negated else ''}coalesce({hit}, FALSE) END"
    return Atom(f"({sql})", Kind.BOOLEAN, value.ts)


@binds_table(SubSelect)
def _sub_select(table: SubSelect, context: Context) -> Relation:
    return SelectRelation(context.number(), bind_select(table.query, context), table.alias)
