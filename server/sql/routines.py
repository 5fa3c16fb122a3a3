"""What compiled queries call at run time: DuckDB macros, and Python functions over Arrow vectors.

Macros (``any_…``, ``m_…``) are DuckDB SQL and cost nothing to call. Python functions (``u_…``) are for what SQL
cannot say; they see whole vectors. ``install`` defines both, once per database.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import duckdb
import pyarrow as pa
from duckdb.func import FunctionNullHandling, PythonUDFType

from server.declarations import Progress
from server.errors import MldbError
from server.sql import tasks
from server.values.arrow_types import ARROW_TYPES, CELLS_ARROW
from server.values.atoms import (
    NEVER,
    Atom,
    Interval,
    PathValue,
    Timestamp,
)
from server.values.batches import one_array
from server.values.cells import any_array, atoms_of, cells_array, cells_of, rows_array, same_in_all
from server.values.kinds import ANY_TYPE, CELL_TYPE, Kind
from server.values.paths import format_path

# Between the text of an error that a routine raises and its details as JSON: DuckDB passes texts only.
DETAILS_MARK = "\x1e"
CODE_MEMBER = "httpCode"  # among them, the code where it is not 400

# Marks an argument or result as a list of cells, of ANY, …; other entries are kinds.
CELLS = "cells"
ANYS = "anys"
NUMBERS = "numbers"
TEXTS = "texts"
ITEMS = "items"  # top-level columns: path and cells
DATED = "dated"  # as a result: cells of one time, from a ``DatedRow``

Shape = Kind | str

_DUCK_TYPES = {
    CELLS: f"{CELL_TYPE}[]", DATED: f"{CELL_TYPE}[]", ANYS: f"{ANY_TYPE}[]", NUMBERS: "DOUBLE[]", TEXTS: "VARCHAR[]",
    ITEMS: f"STRUCT(p VARCHAR, c {CELL_TYPE}[])[]",
}  # fmt: skip


@dataclass(frozen=True)
class Routine:
    """A Python function that compiled SQL may call: on whole vectors underneath, on Python values in ``body``.

    ``arguments`` and ``result`` are kinds or list shapes; cells arrive as ``list[Cell]``, which rows may share, atoms
    as in ``server.values.atoms``. With ``strict`` a NULL in any argument gives NULL without a call. The body of a
    ``whole`` one takes the arguments of all rows at once, a list for each, and gives a list. A row of a ``slow`` one
    (``s_…``) may take so long that between rows it is asked whether the query is over: SQL gives it ``TASK_SQL`` first.
    """

    name: str
    arguments: tuple[Shape, ...]
    result: Shape
    body: Callable[..., Any]
    strict: bool = True
    volatile: bool = False
    whole: bool = False
    slow: bool = False

    @property
    def function(self) -> str:
        """The name without its prefix."""
        return self.name[2:]


def carrying(error: MldbError) -> MldbError:
    """The error with its details and its code in its text, for ``server.sql.engine_errors``."""
    details = error.details | ({CODE_MEMBER: error.code} if error.code != MldbError.code else {})
    return MldbError(f"{error.message}{DETAILS_MARK}{json.dumps(details)}") if details else error


def duck_type(shape: Shape) -> str:
    return shape.duck if isinstance(shape, Kind) else _DUCK_TYPES[shape]


def install(connection: duckdb.DuckDBPyConnection, routines: Sequence[Routine], macros: Sequence[str]) -> None:
    """Define the routines and the macros (which call them); each macro text holds lines ``name(args) := SQL``.

    Macros go to the disk, all or none of them, and only when they are not what it has: a full disk can be read.
    """
    there = {name for (name,) in connection.execute("SELECT function_name FROM duckdb_functions()").fetchall()}
    for routine in routines:
        if routine.name in there:
            continue
        arguments = (Kind.INTEGER, *routine.arguments) if routine.slow else routine.arguments
        connection.create_function(
            routine.name,
            _vectorised(routine),
            [connection.type(duck_type(shape)) for shape in arguments],
            connection.type(duck_type(routine.result)),
            type=PythonUDFType.ARROW,
            null_handling=FunctionNullHandling.SPECIAL,
            side_effects=routine.volatile,
        )
    definitions = [f"CREATE OR REPLACE MACRO {macro}" for text in macros for macro in split_macros(text)]
    digest = blake2b("\n".join(definitions).encode(), digest_size=8).hexdigest()
    if "mldb_macros" in there and connection.execute("SELECT mldb_macros()").fetchall() == [(digest,)]:
        return
    connection.execute("BEGIN")
    try:
        connection.execute(";\n".join([*definitions, f"CREATE OR REPLACE MACRO mldb_macros() AS '{digest}'"]))
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def split_macros(text: str) -> list[str]:
    """The definitions in a macro text: a line that is not indented begins one."""
    texts: list[str] = []
    for line in text.strip().splitlines():
        if ":=" in line and not line.startswith(" "):
            texts.append(line.replace(":=", "AS", 1))
        else:
            texts[-1] += "\n" + line
    return texts


def _vectorised(routine: Routine) -> Callable[..., pa.Array]:
    def call(*columns: pa.Array | pa.ChunkedArray) -> pa.Array:
        task, columns = _task_of(columns) if routine.slow else (None, columns)
        if tasks.is_over(task):
            # The rows of a query that has been interrupted are not looked at; an error could be caught by try().
            return to_arrow([None] * len(columns[0]), routine.result)
        values = [from_arrow(column, shape) for column, shape in zip(columns, routine.arguments, strict=True)]
        if routine.whole:
            return to_arrow(routine.body(*values), routine.result)
        rows = zip(*values, strict=True) if values else iter([()])
        body, strict = routine.body, routine.strict
        results = [None if (strict and None in row) or tasks.is_over(task) else body(*row) for row in rows]
        return to_arrow(results, routine.result)

    return _ARITIES[len(routine.arguments) + routine.slow](call)


def _task_of(columns: tuple[Any, ...]) -> tuple[Progress | None, tuple[Any, ...]]:
    """The task whose number stands in the first column, and the other columns."""
    number, *others = columns
    return tasks.find(number[0].as_py() if len(number) else None), tuple(others)


# DuckDB wants a function of as many parameters as it declares.
_ARITIES: list[Callable[[Callable[..., pa.Array]], Callable[..., pa.Array]]] = [
    lambda call: lambda: call(),
    lambda call: lambda a: call(a),
    lambda call: lambda a, b: call(a, b),
    lambda call: lambda a, b, c: call(a, b, c),
    lambda call: lambda a, b, c, d: call(a, b, c, d),
    lambda call: lambda a, b, c, d, e: call(a, b, c, d, e),
    lambda call: lambda a, b, c, d, e, f: call(a, b, c, d, e, f),
    lambda call: lambda a, b, c, d, e, f, g: call(a, b, c, d, e, f, g),
]


def from_arrow(column: pa.Array | pa.ChunkedArray, shape: Shape) -> list[Any]:
    """An Arrow vector as Python values of a shape."""
    array = one_array(column)
    if isinstance(shape, Kind):
        return atoms_of(array, shape)
    if shape == CELLS:
        if same_in_all(array):
            return cells_of(array.slice(0, 1)) * len(array)
        cells = cells_of(array)
        return [None if null else row for null, row in zip(array.is_null().to_pylist(), cells, strict=True)]
    if shape == ANYS:
        return _lists_of(array)
    return list(array.to_pylist())


def _lists_of(array: pa.Array) -> list[Any]:
    flat = atoms_of(array.flatten(), Kind.ANY)
    lists: list[list[Atom] | None] = []
    at = 0
    for length in array.value_lengths().to_pylist():
        lists.append(None if length is None else flat[at : at + length])
        at += length or 0
    return lists


def to_arrow(values: list[Any], shape: Shape) -> pa.Array:
    """Python values as an Arrow vector of a shape."""
    if shape == CELLS:
        return _nullable_lists(values, lambda rows: cells_array(rows), CELLS_ARROW)
    if shape == DATED:
        return rows_array([({}, NEVER) if value is None else value for value in values])
    if shape == ANYS:
        return _nullable_lists(values, _any_lists, pa.list_(ARROW_TYPES[Kind.ANY]))
    if shape == NUMBERS:
        return pa.array(values, pa.list_(pa.float64()))
    if shape == TEXTS:
        return pa.array(values, pa.list_(pa.string()))
    if shape == ITEMS:
        return _items(values)
    if shape in (Kind.ANY, Kind.NULL):
        return any_array(values)
    return pa.array([_plain(value) for value in values], ARROW_TYPES[shape])  # type: ignore[index]


def _nullable_lists(values: list[Any], build: Callable[[list[Any]], pa.Array], type_: pa.DataType) -> pa.Array:
    built = build([value if value is not None else [] for value in values])
    if None not in values:
        return built
    mask = pa.array([value is None for value in values])
    return pa.ListArray.from_arrays(built.offsets, built.values, mask=mask).cast(type_)


def _any_lists(rows: list[list[Atom]]) -> pa.Array:
    offsets = [0]
    for row in rows:
        offsets.append(offsets[-1] + len(row))
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), any_array([a for row in rows for a in row]))


def _items(rows: list[Any]) -> pa.Array:
    flat = [item for row in rows for item in row or ()]
    offsets = [0]
    for row in rows:
        offsets.append(offsets[-1] + len(row or ()))
    texts = pa.array([format_path(path) for path, _ in flat], pa.string())
    items = pa.StructArray.from_arrays([texts, cells_array([cells for _, cells in flat])], names=["p", "c"])
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), items)


def _plain(value: Any) -> Any:
    match value:
        case Timestamp(seconds):
            return seconds
        case Interval(months, days, seconds):
            return {"months": months, "days": days, "seconds": seconds}
        case PathValue(path):
            return format_path(path)
    return value
