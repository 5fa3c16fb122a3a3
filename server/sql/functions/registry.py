"""How builtin functions are declared: what is told of them, and a binder; kept in one table over all families."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from server.errors import MldbError
from server.sql import coerce
from server.sql.bound import Atom, Embedding, Open, Value, as_any_list, as_constant, is_constant, is_null, latest_ts
from server.sql.duck import literal_text, macro, outer_references
from server.sql.notes import PROPAGATED, Example, Note, Null
from server.sql.routines import ANYS, CELLS, NUMBERS, TEXTS, Routine, Shape, carrying
from server.sql.scope import Scope
from server.sql.tasks import TASK_SQL
from server.sql.tree import Call
from server.values.atoms import Atom as PlainAtom
from server.values.atoms import atom_to_json
from server.values.batches import Cell
from server.values.cells import decoded, nested
from server.values.kinds import CELL_TYPE, Kind
from server.values.paths import parse_path

Bind = Callable[[Call, list[Value], Scope], Value]

_OPTIONAL = re.compile(r"\[.*\]")  # arguments of a signature

# What MLDB says of too few arguments, and of too many, where it does not say how many it expected.
_COUNTS = {
    "date_part": ("takes between two and three arguments, got {}",) * 2,
    "date_trunc": ("takes between two and three arguments, got {}",) * 2,
    "extract_domain": ("extract_domain function takes 1 or 2 arguments",) * 2,
    "horizontal_string_agg": ("horizontal_string_agg function takes one or two arguments",) * 2,
    "jseval": ("jseval expected at least 2 arguments, got {}",) * 2,
    "jaccard_index": ("jaccard_index function takes two arguments",) * 2,
    "round": ("expected 1 argument, got {}", "expected 1 argument, got {}; quantize(x, 0.01) rounds to hundredths"),
    "log": ("the log function expected 1 or 2 arguments, got {}",) * 2,
    "parse_json": ("takes 1 or 2 argument, got {}",) * 2,
    "split_part": ("requires two arguments",) * 2,
    "token_extract": ("requires at least two arguments", "requires at most three arguments"),
    "tokenize": ("requires at least one argument", "requires at most two arguments"),
    "try": ("requires one or two arguments",) * 2,
}


@dataclass(frozen=True, kw_only=True)
class Builtin(Note):
    """A builtin function.

    A ``lazy`` one binds its arguments itself: ``bind`` gets none of them bound. What a ``volatile`` one gives may
    differ from call to call; of all others the value is constant when the arguments are.
    """

    bind: Bind
    lazy: bool = False
    volatile: bool = False
    null: Null = PROPAGATED

    @functools.cached_property
    def counts(self) -> tuple[int, int | None]:
        """How many arguments it takes at least and at most, by its signature; None for any number."""
        arguments = self.signature.partition(")")[0]
        most = None if "…" in arguments else arguments.count(": ")
        return _OPTIONAL.sub("", arguments).count(": "), most

    def call(self, node: Call, scope: Scope, bind_argument: Callable[[Any, Scope], Value]) -> Value:
        """The bound value of a call; errors of the function itself name it."""
        self.check(len(node.args))
        args = [] if self.lazy else [bind_argument(argument, scope) for argument in node.args]
        try:
            found = self.bind(node, args, scope)
        except MldbError as error:
            if self.lazy or error.message.startswith("Binding builtin function"):
                raise
            text = f"Binding builtin function {self.name}: {error.message}"
            raise MldbError(text, code=error.code, details=error.details) from error
        return found if self.lazy or self.volatile or not all(map(is_constant, args)) else as_constant(found)

    def check(self, count: int) -> None:
        """``MldbError`` when the number of arguments is wrong."""
        least, most = self.counts
        if count >= least and (most is None or count <= most):
            return
        if self.name in _COUNTS:
            few, many = _COUNTS[self.name]
            text = few if count < least else many
            raise MldbError(f"Binding builtin function {self.name}: {text.format(count)}")
        expected = f"{least} argument{'' if least == 1 else 's'}"
        if most is None:
            expected = f"at least {expected}"
        elif most != least:
            expected = f"between {least} and {most} arguments"
        raise MldbError(f"Binding builtin function {self.name}: expected {expected}, got {count}")


def result(sql: str, kind: Kind, args: list[Value]) -> Atom:
    """An atom computed from arguments: newest timestamp of them, constant when all of them are."""
    return Atom(sql, kind, latest_ts(args), all(map(is_constant, args)))


def executing(function: str, body: Callable[..., Any]) -> Callable[..., Any]:
    """The body of a routine, its errors beginning with the function's name."""

    @functools.wraps(body)
    def call(*args: Any) -> Any:
        try:
            return body(*args)
        except MldbError as error:
            raise failed(function, error, args) from None

    return call


def failed(function: str, error: MldbError, args: Sequence[Any]) -> MldbError:
    """What a routine raises: the error under the function's name, with the function and its arguments as details."""
    details: dict[str, Any] = {"functionName": function, "functionArgs": [_as_json(value) for value in args]}
    text = f"Executing builtin function {function}: {error.message}"
    return carrying(MldbError(text, code=error.code, details=details))


def _as_json(value: Any) -> Any:
    if isinstance(value, list) and value and isinstance(value[0], Cell):
        return nested(value, atom_to_json)
    if isinstance(value, list):
        return [_as_json(item) for item in value]
    return atom_to_json(value)


def routine(
    function: str,
    arguments: tuple[Shape, ...],
    result: Shape,
    body: Callable[..., Any],
    *,
    strict: bool = True,
    slow: bool = False,
) -> Routine:
    """The routine ``u_<function>``, or when it is slow ``s_<function>``, behind a builtin function."""
    name = f"s_{function}" if slow else f"u_{function}"
    return Routine(name, arguments, result, executing(function, body), strict, slow=slow)


def direct(routine: Routine, signature: str, summary: str, example: Example) -> Builtin:
    """A builtin function that is its routine."""

    def bind(node: Call, args: list[Value], scope: Scope) -> Value:
        return routine_call(routine, args, scope)

    return Builtin(signature, summary, example, bind=bind)


def routine_call(routine: Routine, args: list[Value], scope: Scope) -> Value:
    """A call of a Python routine with arguments converted to the shapes that it declares."""
    name = routine.function
    texts = [convert(value, shape, name) for value, shape in zip(args, routine.arguments, strict=True)]
    if routine.slow:
        texts.insert(0, TASK_SQL)
    return of_shape(f"{routine.name}({', '.join(texts)})", routine.result, args, scope)


def of_shape(sql: str, shape: Shape, args: list[Value], scope: Scope) -> Value:
    """A value of a shape computed from arguments. What is not an atom is computed once per row."""
    if isinstance(shape, Kind):
        return result(sql, shape, args)
    if shape == CELLS:
        return Open(scope.stage(sql))
    kinds = {NUMBERS: Kind.NUMBER, TEXTS: Kind.STRING, ANYS: Kind.ANY}
    return Embedding(scope.stage(sql), kinds[shape], None, latest_ts(args))


def number_argument(value: Value, function: str) -> str:
    """SQL of an argument as DOUBLE; what is no number raises an error that names the function."""
    one = coerce.atom(value)
    if one.kind in (*coerce.NUMERIC, Kind.NULL):
        return coerce.to_double(one)
    return macro("m_num_of", coerce.to_any(one), literal_text(function))


def integer_argument(value: Value, function: str) -> str:
    """SQL of an argument as BIGINT; text and fractions raise an error that names the function."""
    one = coerce.atom(value)
    if one.kind in (Kind.INTEGER, Kind.BOOLEAN, Kind.NULL):
        return coerce.to_integer(one)
    return f"u_int_of({coerce.to_any(one)}, {literal_text(function)})"


_CONVERT: dict[Kind, Callable[[Value], str]] = {
    Kind.STRING: coerce.to_text,
    Kind.TIMESTAMP: coerce.to_timestamp,
    Kind.PATH: coerce.to_path,
    Kind.ANY: coerce.to_any,
    Kind.BOOLEAN: coerce.truth,
    Kind.BLOB: coerce.to_blob,
}


def convert(value: Value, shape: Shape, function: str) -> str:
    """An argument of a function as SQL of a shape."""
    if shape is Kind.NUMBER:
        return number_argument(value, function)
    if shape is Kind.INTEGER:
        return integer_argument(value, function)
    if isinstance(shape, Kind):
        return _CONVERT[shape](value)
    if shape == CELLS:
        return cells_or_null(value)
    if shape == NUMBERS:
        return coerce.as_double_list(value)
    if isinstance(value, Embedding):
        return as_any_list(value)
    raise MldbError("an embedding is needed here")


def cells_or_null(value: Value) -> str:
    if is_null(value):
        return f"NULL::{CELL_TYPE}[]"
    return coerce.to_cells(value)


def fixed_row(value: Value, scope: Scope) -> list[Cell] | None:
    """The cells of a value that is known before any row is read, None for one that is not."""
    if not is_constant(value):
        return None
    sql = cells_or_null(value)
    if outer_references(sql):
        return None
    tagged = f"list_transform({sql}, lambda c: struct_pack(p := c.p, k := m_tag(c.v), v := c.v, t := c.t))"
    found = scope.context.execute(f"SELECT {tagged}")[0][0] or []
    return [Cell(parse_path(c["p"]) if c["p"] else (), decoded(c["k"], c["v"]), c["t"]) for c in found]


def fixed_atom(value: Value, scope: Scope) -> tuple[bool, PlainAtom]:
    """Whether an atom is known before any row is read, and if so the atom."""
    cells = fixed_row(coerce.atom(value), scope)
    return (False, None) if cells is None else (True, cells[0].value if cells else None)


def only_option(function: str, option: str, args: list[Value], scope: Scope) -> Any:
    """The one option that a function has, of the row that is its second argument; None where it is not given."""
    if len(args) < 2:
        return None
    cells = fixed_row(args[1], scope)
    options = nested(cells) if cells is not None else None
    if not isinstance(options, dict) or set(options) - {option}:
        raise MldbError(f"the options of {function} are a constant row with the one field {option}")
    return options.get(option)
