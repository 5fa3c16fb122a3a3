"""How builtin functions are declared: a name, how many arguments, a binder; kept in one table over all families."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from server.errors import MldbError
from server.sql import coerce
from server.sql.bound import Atom, Embedding, Open, Row, Value, is_constant, latest_ts
from server.sql.runtime import CELLS, Routine, Shape
from server.sql.scope import Scope
from server.sql.tree import Call
from server.values.kinds import Kind

Bind = Callable[[Call, list[Value], Scope], Value]


@dataclass(frozen=True)
class Builtin:
    """A builtin function. ``most`` None: any number of arguments from ``least`` on.

    ``signature``, ``summary`` and ``example`` make the reference page; the example is SQL and its result.
    """

    name: str
    least: int
    most: int | None
    bind: Bind
    signature: str = ""
    summary: str = ""
    example: tuple[str, str] | None = None

    def check(self, count: int) -> None:
        """``MldbError`` when the number of arguments is wrong."""
        if count >= self.least and (self.most is None or count <= self.most):
            return
        plural = "" if self.least == 1 else "s"
        expected = f"{self.least} argument{plural}"
        if self.most is None:
            expected = f"at least {expected}"
        elif self.most != self.least:
            expected = f"between {self.least} and {self.most} arguments"
        raise MldbError(f"Binding builtin function {self.name}: expected {expected}, got {count}")


def result(sql: str, kind: Kind, args: list[Value]) -> Atom:
    """An atom computed from arguments: newest timestamp of them, constant when all of them are."""
    return Atom(sql, kind, latest_ts(args), all(map(is_constant, args)))


def routine_call(routine: Routine, args: list[Value]) -> Value:
    """A call of a Python routine with arguments converted to the shapes that it declares."""
    texts = [convert(value, shape) for value, shape in zip(args, routine.arguments, strict=True)]
    sql = f"{routine.name}({', '.join(texts)})"
    return of_shape(sql, routine.result, args)


def of_shape(sql: str, shape: Shape, args: list[Value]) -> Value:
    if isinstance(shape, Kind):
        return result(sql, shape, args)
    if shape == CELLS:
        return Open(sql)
    kinds = {"numbers": Kind.NUMBER, "texts": Kind.STRING, "anys": Kind.ANY}
    return Embedding(sql, kinds[shape], None, latest_ts(args), constant=all(map(is_constant, args)))


_CONVERT: dict[Kind, Callable[[Value], str]] = {
    Kind.NUMBER: coerce.to_double,
    Kind.INTEGER: coerce.to_integer,
    Kind.STRING: coerce.to_text,
    Kind.TIMESTAMP: coerce.to_timestamp,
    Kind.PATH: coerce.to_path,
    Kind.ANY: coerce.to_any,
    Kind.BOOLEAN: coerce.truth,
}


def convert(value: Value, shape: Shape) -> str:
    """An argument as SQL of a shape."""
    if isinstance(shape, Kind):
        if shape is Kind.BLOB:
            return f"u_cast_blob({coerce.to_any(value)})"
        return _CONVERT[shape](value)
    if shape == CELLS:
        return cells_or_null(value)
    if shape == "numbers":
        return coerce.as_double_list(value)
    if isinstance(value, Embedding):
        return coerce.as_any_list(value)
    raise MldbError("an embedding is needed here")


def cells_or_null(value: Value) -> str:
    if isinstance(value, Atom) and value.kind is Kind.NULL:
        from server.values.kinds import CELL_TYPE

        return f"NULL::{CELL_TYPE}[]"
    return coerce.to_cells(value)


def is_row(value: Value) -> bool:
    return isinstance(value, Row | Open | Embedding)
