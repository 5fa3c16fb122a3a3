"""Binding of FROM: datasets, sub-selects, joins and table functions (sql-dialect.md §6)."""

from __future__ import annotations

from server.sql.binder.base import bind_table, elsewhere, reads
from server.sql.binder.query import Query
from server.sql.relations import NoTable, Relation, WideRelation
from server.sql.scope import Context, NoScope
from server.sql.sparse import CellsRelation
from server.sql.tree import DatasetRef
from server.sql.views import View
from server.storage.layouts import Cells, Wide


@reads(DatasetRef)
def _dataset_ref(table: DatasetRef, context: Context) -> Relation:
    return bind_dataset(table.name, table.alias if table.alias is not None else table.name, context)


def bind_dataset(name: str, alias: str, context: Context) -> Relation:
    layout = context.layouts.get(name) or context.catalog.layout(name)
    match layout:
        case Wide():
            if layout.passing:
                context.marks.add("volatile")
            return WideRelation(context.number(), layout, alias, context.has_nan)
        case Cells():
            return CellsRelation(context.number(), layout, alias, lasting=context.lasting)
        case View(table=table):
            with elsewhere():
                inner = bind_table(table, context)
            inner.alias = alias
            return inner
    raise TypeError(f"dataset '{name}' has an unknown layout {layout!r}")


def whole(relation: Relation) -> Query:
    """``SELECT * FROM relation`` as a query."""
    return Query(relation, relation.row(), relation.row_path(), relation.row_hash())


def constant_scope(context: Context) -> NoScope:
    """The scope of expressions in FROM: constants and parameters."""
    return NoScope(context, NoTable(context.number()))
