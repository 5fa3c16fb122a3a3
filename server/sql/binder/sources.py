"""Binding of FROM: datasets, sub-selects, joins and table functions (sql-dialect.md §6)."""

from __future__ import annotations

from contextvars import ContextVar

from server.errors import MldbError
from server.sql.binder.base import bind_table, binds_table, elsewhere
from server.sql.binder.query import Query
from server.sql.cells import CellsRelation
from server.sql.relations import NoTable, Relation, WideRelation
from server.sql.scope import Context, NoScope
from server.sql.tree import DatasetRef, Table
from server.sql.views import View
from server.storage.layouts import Cells, Wide

MAX_VIEWS = 1000  # that a query reads, each as often as it is read; the setting ``query_views`` replaces it
_MAX_VIEWS_DEEP = 50  # no setting: each is bound within the one above, on a stack of a thousand frames of Python

_views: ContextVar[tuple[str, ...]] = ContextVar("views", default=())  # that are being bound, the outermost first


@binds_table(DatasetRef)
def _dataset_ref(table: DatasetRef, context: Context) -> Relation:
    return bind_dataset(table.name, table.alias if table.alias is not None else table.name, context)


def bind_dataset(name: str, alias: str, context: Context) -> Relation:
    layout = context.layouts.get(name) or context.catalog.layout(name)
    match layout:
        case Wide():
            if layout.passing:
                context.marks.add("volatile")
            return WideRelation(context.number(), layout, alias, context.has_nan, context.has_null)
        case Cells():
            context.cells.append(layout)
            return CellsRelation(context.number(), layout, alias, lasting=context.lasting)
        case View(table=table):
            inner = _bind_view(name, table, context)
            inner.alias = alias
            return inner
    raise TypeError(f"dataset '{name}' has an unknown layout {layout!r}")


def _bind_view(name: str, table: Table, context: Context) -> Relation:
    """``MldbError`` for a view that is made of itself, and for views of views that are read too often."""
    above = _views.get()
    if name in above:
        raise MldbError(f"Dataset '{name}' is made of itself: {' of '.join([*above[above.index(name) :], name])}")
    if len(above) == _MAX_VIEWS_DEEP or next(context.views) >= MAX_VIEWS:
        raise MldbError(
            f"Dataset '{name}': a query may read {MAX_VIEWS} views (the setting is query_views), and views of views "
            f"{_MAX_VIEWS_DEEP} deep; record one of them as a dataset with the procedure transform"
        )
    token = _views.set((*above, name))
    try:
        with elsewhere():
            return bind_table(table, context)
    finally:
        _views.reset(token)


def whole(relation: Relation) -> Query:
    """``SELECT * FROM relation`` as a query."""
    return Query(relation, relation.row(), relation.row_path(), relation.row_hash())


def constant_scope(context: Context) -> NoScope:
    """The scope of expressions in FROM: constants and parameters."""
    return NoScope(context, NoTable(context.number()))
