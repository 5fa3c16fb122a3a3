"""Functions on Arrow batches as DuckDB functions: each takes a struct that carries the row, and gives one.

Its fields are ``task`` (of the argument), the columns ``c0``, ``c1``, …, their timestamps ``t0``, ``t1``, … if the
function wants them, and ``rest`` where rows are open.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import duckdb
import numpy as np
import pyarrow as pa
from duckdb.func import FunctionNullHandling, PythonUDFType

from server.errors import Cancelled, MldbError
from server.sql import coerce, tasks
from server.sql.bound import Atom, Embedding, MultiValue, Rest, Row, RowBuilder, typed
from server.sql.routines import carrying, duck_type
from server.sql.scope import Application
from server.storage.database import identifier
from server.values.arrow_types import ARROW_TYPES
from server.values.atoms import NEVER
from server.values.batches import Column, RowBatch, RowType, one_array
from server.values.cells import any_array, cells_array
from server.values.kinds import CELL_TYPE, Kind
from server.values.paths import Path

if TYPE_CHECKING:
    from server.declarations import BoundFunction, Function, Progress
    from server.sql.scope import Scope


def apply_function(function: Function, row: Row, scope: Scope, *, constant: bool = False) -> Row:
    """A call of a function that works on Arrow batches, computed once per row below the expression."""
    type_, packed = pack(row, timestamps=False)
    bound = function.bind(type_)
    timed = bool(getattr(bound, "timestamps", False))
    if timed:
        type_, packed = pack(row, timestamps=True)
    name = scope.context.define(bound, (type_, timed))
    application = Application(scope.stage(f"{identifier(name)}({packed})"), bound, row, type_, timed)
    scope.context.applications.append(application)
    return unpack(application, constant)


def pack(row: Row, *, timestamps: bool) -> tuple[RowType, str]:
    """A row as the argument of a batch function: its type, and SQL of the struct that carries it."""
    columns: list[Column] = []
    fields: list[str] = []
    several: dict[Path, MultiValue] = {}
    for path, leaf in row.columns.items():
        if isinstance(leaf, MultiValue):
            several[path] = leaf
            continue
        kind = Kind.ANY if leaf.kind is Kind.NULL else leaf.kind
        if isinstance(leaf, Embedding):
            fields.append(f"c{len(columns)} := {leaf.sql}")
            columns.append(Column(path, kind, leaf.shape or (-1,)))
        else:
            fields.append(f"c{len(columns)} := {typed(leaf)}")
            columns.append(Column(path, kind))
        if timestamps:
            fields.append(f"t{len(columns) - 1} := {leaf.ts()}")
    opened = bool(row.rests or several or row.empty)
    if opened:
        rest = Row(dict(several), row.rests)
        fields.append(f"rest := {coerce.to_cells(rest)}")
    type_ = RowType(tuple(columns), opened)
    return type_, f"struct_pack(task := {tasks.TASK_SQL}, {', '.join(fields) or 'one := 1'})"


def unpack(application: Application, constant: bool) -> Row:
    """The columns of what a batch function gives."""
    builder = RowBuilder()
    result, output = application.result, application.bound.output
    for index, column in enumerate(output.columns):
        sql = f"{result}.c{index}"
        ts = partial(application.time, str(index))
        if column.shape is not None:
            shape = None if -1 in column.shape else column.shape
            builder.add(column.path, Embedding(sql, column.kind, shape, ts, column.names, constant))
        else:
            builder.add(column.path, Atom(sql, column.kind, ts, constant))
    if output.open:
        builder.rests.append(Rest((), f"{result}.rest", rows=output.rows))
    return builder.build()


def define(connection: duckdb.DuckDBPyConnection, name: str, bound: BoundFunction, type_: RowType, timed: bool) -> None:
    """Define the DuckDB function ``name`` that applies a function to rows of a type, with timestamps or without."""
    given = f"STRUCT(task BIGINT, {_struct(type_, timed)})"
    given_columns = len(type_.columns)
    output = bound.output
    returned = f"STRUCT({_struct(output, timed)})"

    def call(column: pa.Array | pa.ChunkedArray) -> pa.Array:
        structs = one_array(column)
        task = tasks.find(structs.field("task")[0].as_py()) if len(structs) else None
        values = [structs.field(f"c{index}") for index in range(given_columns)]
        times = [structs.field(f"t{index}") if timed else NEVER for index in range(given_columns)]
        rest = structs.field("rest") if type_.open else None
        rows = RowBatch(type_, len(structs), values, times, rest)
        try:
            result = apply_bound(bound, rows, task)
        except Cancelled:
            result = _nothing(output, len(structs))  # an error could be caught by try(), row by row
        except MldbError as error:
            raise carrying(error) from None
        return _to_struct(result, output, timed)

    connection.create_function(
        name,
        call,
        [connection.type(given)],
        connection.type(returned),
        type=PythonUDFType.ARROW,
        null_handling=FunctionNullHandling.SPECIAL,
    )


def apply_bound(bound: BoundFunction, rows: RowBatch, task: Progress | None) -> RowBatch:
    """Apply a function for a task; ``Cancelled`` as soon as that is to stop."""
    if rows.length == 1 and getattr(bound, "brief", False):  # two changes of thread would cost as much as some models
        with tasks.acting_for(task):
            return bound.apply(rows)
    return tasks.stoppable(task, lambda: bound.apply(rows))


def _nothing(output: RowType, length: int) -> RowBatch:
    """Rows for a query that has been interrupted and will not look at them."""
    values = [
        any_array([None] * length)
        if column.kind is Kind.ANY and column.shape is None
        else pa.nulls(length, _arrow_type(column))
        for column in output.columns
    ]
    return RowBatch(output, length, values, rest=cells_array([[]] * length) if output.open else None)


def _struct(type_: RowType, timed: bool) -> str:
    """The fields of the struct that carries a row."""
    fields: list[str] = []
    for index, column in enumerate(type_.columns):
        fields.append(f"c{index} {_duck_column(column)}")
        if timed:
            fields.append(f"t{index} DOUBLE")
    if type_.open:
        fields.append(f"rest {CELL_TYPE}[]")
    return ", ".join(fields) or "one INTEGER"


def _duck_column(column: Column) -> str:
    base = duck_type(column.kind)
    return base if column.shape is None else f"{base}[]"


def _arrow_type(column: Column) -> pa.DataType:
    base = ARROW_TYPES[column.kind]
    return base if column.shape is None else pa.list_(base)


def _to_struct(batch: RowBatch, output: RowType, timed: bool) -> pa.Array:
    names: list[str] = []
    arrays: list[pa.Array] = []
    for index, column in enumerate(output.columns):
        names.append(f"c{index}")
        arrays.append(as_declared(batch.values[index], column))
        if timed:
            names.append(f"t{index}")
            arrays.append(batch.times(index))
    if output.open:
        names.append("rest")
        arrays.append(batch.rest)
    if not arrays:
        return pa.StructArray.from_arrays([pa.nulls(batch.length, pa.int32())], names=["one"])
    return pa.StructArray.from_arrays(arrays, names=names)


def as_declared(array: pa.Array, column: Column) -> pa.Array:
    """A result column in the Arrow type that DuckDB expects (float32 results as DOUBLE, lists as lists)."""
    array = one_array(array)
    if pa.types.is_union(array.type):
        return array
    wanted = _arrow_type(column)
    if array.type == wanted:
        return array
    if pa.types.is_fixed_size_list(array.type) and not array.null_count and array.type.value_type == wanted.value_type:
        ends = np.arange(len(array) + 1, dtype=np.int32) * array.type.list_size  # half the time of a cast
        return pa.ListArray.from_arrays(pa.array(ends), array.flatten(), type=wanted)
    return array.cast(wanted)
