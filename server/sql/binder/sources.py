"""Binding of FROM: datasets, sub-selects, joins and table functions (sql-dialect.md §6)."""

from __future__ import annotations

from server.errors import MldbError
from server.sql.binder.query import Query, SelectRelation
from server.sql.relations import CellsRelation, Relation, WideRelation
from server.sql.scope import Context, NoScope
from server.sql.tree import DatasetRef, Join, RowTable, SubSelect, Table, TableCall
from server.sql.views import View
from server.storage.layouts import Cells, Wide


def bind_table(table: Table, context: Context) -> Relation:
    """The relation that a table expression means."""
    from server.sql.binder.joins import bind_join
    from server.sql.binder.tables import bind_row_table, bind_table_call

    match table:
        case DatasetRef(name=name, alias=alias):
            return bind_dataset(name, alias if alias is not None else name, context)
        case SubSelect(query=select, alias=alias):
            from server.sql.binder.select import bind_select

            return SelectRelation(context.number(), bind_select(select, context), alias)
        case Join():
            return bind_join(table, context)
        case TableCall():
            return bind_table_call(table, context)
        case RowTable():
            return bind_row_table(table, context)
    raise MldbError("Expected table expression")


def bind_dataset(name: str, alias: str, context: Context) -> Relation:
    layout = context.layouts.get(name) or context.catalog.layout(name)
    match layout:
        case Wide():
            return WideRelation(context.number(), layout, alias, context.has_nan)
        case Cells():
            return CellsRelation(context.number(), layout, alias)
        case View(table=table):
            inner = bind_table(table, context)
            inner.alias = alias
            return inner
    raise TypeError(f"dataset '{name}' has an unknown layout {layout!r}")


def whole(relation: Relation) -> Query:
    """``SELECT * FROM relation`` as a query."""
    return Query(relation, relation.row(), relation.row_path(), relation.row_hash())


def constant_scope(context: Context) -> NoScope:
    """The scope of expressions in FROM: constants and parameters."""
    from server.sql.relations import NoTable

    return NoScope(context, NoTable(context.number()))
