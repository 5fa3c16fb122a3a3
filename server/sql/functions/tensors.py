"""TensorFlow in SQL: ``tf_<Op>(inputs…, {attributes})`` and ``tf_extract_constant`` (entity-types.md §4.4)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from server.errors import MldbError
from server.sql.batch_functions import apply_function
from server.sql.bound import Atom, Embedding, Open, Row, RowBuilder, Value, is_constant
from server.sql.duck import literal_text
from server.sql.functions.registry import Builtin, fixed_atom, fixed_row
from server.sql.scope import Scope
from server.sql.tree import Call, RowLiteral
from server.values.cells import nested
from server.values.kinds import Kind

_PREFIX = "tf_"


@runtime_checkable
class HasConstants(Protocol):
    """A function over a graph whose constants can be read."""

    def constant(self, node: str) -> tuple[Kind, tuple[int, ...], list[Any]]:
        """Kind, shape and flat values of a constant node."""


def operation(name: str) -> Builtin | None:
    """The builtin for a TensorFlow operation, None for a name that cannot be one."""
    if not name.startswith(_PREFIX) or not name[len(_PREFIX) : len(_PREFIX) + 1].isupper():
        return None
    return Builtin(f"{name}([input: any, …]) → any", "", bind=_apply)


def _apply(node: Call, args: list[Value], scope: Scope) -> Value:
    if scope.context.operations is None:
        raise MldbError("TensorFlow cannot be used in this query")
    named = bool(node.args) and isinstance(node.args[-1], RowLiteral)
    attrs = _attributes(args.pop(), scope) if named else {}
    builder = RowBuilder()
    for number, argument in enumerate(args):
        if isinstance(argument, Row | Open):
            raise MldbError(f"input {number} must be a number, a text, a blob or an embedding, not a row")
        builder.add((f"i{number}",), argument)
    row = builder.build()
    function = scope.context.operations(node.name[len(_PREFIX) :], attrs)
    found = apply_function(function, row, scope, constant=all(map(is_constant, args)))
    if len(found.columns) == 1 and not found.rests:
        return next(iter(found.columns.values()))
    return found


def _attributes(value: Value, scope: Scope) -> Mapping[str, Any]:
    cells = fixed_row(value, scope)
    if cells is None:
        raise MldbError("the attributes of an operation must be constants")
    attrs = nested(cells)
    return attrs if isinstance(attrs, dict) else {}


def _extract_constant(node: Call, args: list[Value], scope: Scope) -> Value:
    known, name = fixed_atom(args[0], scope)
    path = fixed_row(args[1], scope)
    if not known or not isinstance(name, str) or path is None:
        raise MldbError("expected the name of a function, and the path of a node as constants")
    function = scope.context.catalog.function(name)
    if not isinstance(function, HasConstants):
        raise MldbError(f"'{name}' is no function of type tensorflow.graph")
    kind, shape, values = function.constant("/".join(str(cell.value) for cell in path))
    if kind is Kind.BLOB:
        raise MldbError("Can't return tensor of this type from TensorFlow")
    literal = ", ".join(_number(value, kind) for value in values)
    type_ = "DOUBLE" if kind is Kind.NUMBER else "BIGINT"
    if not shape:
        return Atom(f"{literal}::{type_}", kind, constant=True)
    return Embedding(f"[{literal}]::{type_}[{len(values)}]", kind, shape, constant=True)


def _number(value: Any, kind: Kind) -> str:
    return str(int(value)) if kind is not Kind.NUMBER else f"{literal_text(repr(float(value)))}::DOUBLE"


BUILTINS = [
    Builtin(
        "tf_extract_constant(graph: text, path: path | text) → embedding",
        "A constant of the graph of a `tensorflow.graph` function; `path` is the node's name, cut at the slashes. "
        "Any other `tf_<Op>(inputs…, {attributes})` applies a TensorFlow operation: "
        "`tf_MatrixInverse([[1, 2], [3, 4]])`.",
        bind=_extract_constant,
    ),
]
