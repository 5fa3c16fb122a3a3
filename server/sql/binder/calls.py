"""Function calls: scope functions, then user functions, then builtins (sql-dialect.md §11.1)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from server.declarations import refuse_unknown_inputs
from server.errors import MldbError
from server.sql.batch_functions import apply_function
from server.sql.binder.aggregates import AGGREGATES
from server.sql.binder.base import bind, binds, elsewhere
from server.sql.binder.rowfunctions import JOIN_ONLY, NOTES, ROW_FUNCTIONS, outside_of_join
from server.sql.bound import MultiValue, Row, Value, as_constant, only_latest
from server.sql.functions import BUILTINS
from server.sql.functions.tensors import operation
from server.sql.positions import did_you_mean
from server.sql.relations import require_row
from server.sql.remedies import FUNCTIONS
from server.sql.render import render
from server.sql.tree import Call

if TYPE_CHECKING:
    from server.declarations import Function
    from server.sql.scope import Scope


IMPORT_ONLY = {"rowNumber", "totalRows"}
_LIKE_A_FUNCTION = 0.7  # of 250 short names there is always one that looks a little alike


@runtime_checkable
class Inlined(Protocol):
    """A function that is SQL itself and is bound into the query that calls it."""

    def inline(self, argument: Value, scope: Scope) -> Value: ...


@binds(Call)
def _call(node: Call, scope: Scope) -> Value:
    found = scope.call(node)
    if found is not None:
        return found
    if node.qualifier is None:
        function = scope.context.catalog.function(node.name)
        if function is not None:
            return call_function(node, function, scope)
    builtin = BUILTINS.get(node.name) or operation(node.name)
    if builtin is None:
        raise MldbError(_unknown(node))
    return builtin.call(node, scope, bind)


def _unknown(node: Call) -> str:
    where = f" in dataset '{node.qualifier}'" if node.qualifier is not None else ""
    text = (
        f"Unable to find function '{node.name}' binding function call '{render(node)}'{where}.  The function is not a "
        "built-in function, and either it's not a registered user function, or user functions are not available in "
        "the scope of the expression."
    )
    if node.name in IMPORT_ONLY:
        return f"function {node.name} is only available in SELECT expressions."
    if node.name in AGGREGATES:
        return f"{text}  It is an aggregate, which may stand in SELECT, HAVING, NAMED and ORDER BY of a grouped query."
    if node.name in JOIN_ONLY:
        return outside_of_join(node.name)
    if node.name in ROW_FUNCTIONS:
        return f"{text}  It tells of a row of FROM, and there is none at hand here."
    remedy = FUNCTIONS.get(node.name) or FUNCTIONS.get(node.name.lower())
    if remedy is not None:
        return f"{text}  Instead, {remedy}."
    known = (*BUILTINS, *AGGREGATES, *(note.name for note in NOTES))
    return text + did_you_mean(node.name, known, _LIKE_A_FUNCTION)


def _latest_values(argument: Value) -> Value:
    """A row of which each column has one value at most: an argument is read by the filter LATEST (§2.4)."""
    if not isinstance(argument, Row) or not any(isinstance(leaf, MultiValue) for leaf in argument.columns.values()):
        return argument
    columns = {
        path: only_latest(leaf) if isinstance(leaf, MultiValue) else leaf for path, leaf in argument.columns.items()
    }
    return replace(argument, columns=columns)


def call_function(node: Call, function: Function, scope: Scope) -> Value:
    """A user function applied to its one row argument."""
    if len(node.args) > 1:
        raise MldbError(f"User function {node.name} expected a single row {{ }} argument")
    argument = _latest_values(bind(node.args[0], scope)) if node.args else Row()
    if isinstance(function, Inlined):
        with elsewhere():
            found = function.inline(argument, scope)
        return found if scope.context.catalog.deterministic(node.name) else as_constant(found, False)
    row = require_row(argument, f"User function {node.name} expected a single row {{ }} argument")
    refuse_unknown_inputs(function, function.input.top, (path[0] for path in row.columns if path))
    constant = row.constant and scope.context.catalog.deterministic(node.name)
    return apply_function(function, row, scope, constant=constant)
