"""The recursion of binding. Each kind of node is bound by the module that knows it, registered here.

So the modules of the binder need not know each other: they call ``bind`` and ``bind_table``, and ``binds`` and
``binds_table`` say who answers. ``server.sql.binder.nodes`` brings all of them in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeVar

from server.errors import MldbError
from server.sql import coerce, tasks
from server.sql.bound import Atom, Value
from server.sql.relations import Relation
from server.sql.scope import LONG, Context, Scope
from server.sql.tree import Constant, Expression, Node, Parameter, Table

ExpressionBinder = Callable[[Any, Scope], Value]
TableBinder = Callable[[Any, Context], Relation]
_E = TypeVar("_E", bound=ExpressionBinder)
_T = TypeVar("_T", bound=TableBinder)

_EXPRESSIONS: dict[type, ExpressionBinder] = {}
_TABLES: dict[type, TableBinder] = {}


def binds(kind: type) -> Callable[[_E], _E]:
    """Registers the binder of a kind of expression."""

    def register(binder: _E) -> _E:
        _EXPRESSIONS[kind] = binder
        return binder

    return register


def binds_table(kind: type) -> Callable[[_T], _T]:
    """Registers the binder of a kind of table expression."""

    def register(binder: _T) -> _T:
        _TABLES[kind] = binder
        return binder

    return register


def is_bound(kind: type) -> bool:
    return kind in _EXPRESSIONS or kind in _TABLES


def bind(expression: Expression, scope: Scope) -> Value:
    """The bound value of an expression in a scope; ``MldbError`` when it means nothing there."""
    tasks.check()
    found = scope.known(expression)
    if found is not None:
        return found
    try:
        value = _EXPRESSIONS[type(expression)](expression, scope)
    except MldbError as error:
        at(error, expression)
        raise
    if isinstance(value, Atom) and len(value.sql) > LONG and not _is_literal(expression, value):
        value = replace(value, sql=scope.brief(value.sql))
    return value


def _is_literal(expression: Expression, value: Atom) -> bool:
    """Some functions want to know such an argument while the query is compiled, be it as long as a script."""
    return value.constant and isinstance(expression, Constant | Parameter)


def at(error: MldbError, node: Node) -> None:
    """Note the place of an error, unless a node further in has."""
    if error.span is None and node.span != (0, 0):
        error.span = node.span


@contextmanager
def within(node: Node) -> Iterator[None]:
    """Errors that are raised inside without a place get that of the node."""
    try:
        yield
    except MldbError as error:
        at(error, node)
        raise


@contextmanager
def elsewhere() -> Iterator[None]:
    """What is bound inside comes from another text than the query: places in it are not places in the query."""
    try:
        yield
    except MldbError as error:
        error.span = None
        raise


def bind_atom(expression: Expression, scope: Scope) -> Atom:
    """As ``bind``, for what must be one atom."""
    value = bind(expression, scope)
    with within(expression):
        return coerce.atom(value)


def bind_truth(expression: Expression, scope: Scope) -> str:
    """SQL of the truth of an expression."""
    value = bind(expression, scope)
    with within(expression):
        return coerce.truth(value)


def bind_table(table: Table, context: Context) -> Relation:
    """The relation that a table expression means."""
    with within(table):
        return _TABLES[type(table)](table, context)
