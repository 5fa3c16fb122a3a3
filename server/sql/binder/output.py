"""Names, order and distinctness of a statement's rows: NAMED, ORDER BY, DISTINCT ON (sql-dialect.md §5)."""

from __future__ import annotations

from dataclasses import replace

from server.errors import MldbError
from server.sql import coerce, comparison
from server.sql.binder.base import bind, within
from server.sql.bound import Atom, Open, is_constant, is_null
from server.sql.relations import Relation
from server.sql.scope import Scope
from server.sql.tree import Expression, OrderKey, Select
from server.values.kinds import Kind

ALL_EQUAL = "NULL::BIGINT"  # what no row has is no constant: the rows are sorted, if only by what breaks ties
NULL_NAME = "Can't create a row with a null name."


def named(expression: Expression | None, relation: Relation, scope: Scope) -> Atom:
    """The row path that NAMED gives, or the relation's own."""
    if expression is None:
        return relation.row_path()
    value = bind(expression, scope)
    with within(expression):
        if is_null(value):
            raise MldbError(NULL_NAME)
        if isinstance(value, Atom) and value.kind is Kind.INTEGER and value.sql == relation.row_path().sql:
            return value
        if isinstance(value, Atom | Open):
            value = replace(value, sql=scope.reference(value.sql))  # its conversion to a path spells it many times
        path = coerce.to_path(value)
        return Atom(f"coalesce({path}, '')" if relation.nameless else f"m_need_name({path})", Kind.PATH)


def order_terms(keys: tuple[OrderKey, ...], scope: Scope) -> list[str]:
    """ORDER BY terms; constants say nothing and are dropped."""
    terms: list[str] = []
    for key in keys:
        value = bind(key.expression, scope)
        if not is_constant(value):
            with within(key):
                terms.extend(comparison.sort_terms(value, key.descending) or [ALL_EQUAL])
    return terms


def distinct_terms(select: Select, scope: Scope) -> list[str]:
    if not select.distinct_on:
        return []
    if len(select.distinct_on) > len(select.order_by):
        raise MldbError("DISTINCT ON expression cannot have more clauses than ORDER BY expression")
    for expression, key in zip(select.distinct_on, select.order_by, strict=False):
        if expression != key.expression:
            raise MldbError("DISTINCT ON expression must match leftmost(s) ORDER BY clause(s)")
    return [comparison.group_term(bind(expression, scope)) for expression in select.distinct_on]
