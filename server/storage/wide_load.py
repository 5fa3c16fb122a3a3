"""The rows that are to become a wide table, as the relation ``STAGE`` of the cursor."""

from __future__ import annotations

from collections.abc import Collection

import duckdb
import numpy as np
import pyarrow as pa

from server import tasks
from server.declarations import NamedBatch, Progress, QueryResult
from server.errors import MldbError
from server.storage.database import arrow_view
from server.storage.layouts import ROW, TIMESTAMP, WideColumn
from server.storage.pending import Pending
from server.storage.wide import STAGE, column_name, duck_type
from server.storage.wide_rows import WideRows
from server.values.batches import Column, RowBatch, RowType, one_array
from server.values.kinds import Kind
from server.values.paths import format_path, parse_path

_NUMBERS = (Kind.NUMBER, Kind.INTEGER, Kind.UNSIGNED)


def is_array(column: Column) -> bool:
    """Whether a column is an embedding that can be one array column: numbers, a size known beforehand."""
    return column.shape is not None and min(column.shape, default=0) > 0 and column.kind in _NUMBERS


def can_stream(type_: RowType) -> bool:
    """Whether the columns of the table are known before any row is."""
    return not type_.open and all(column.shape is None or is_array(column) for column in type_.columns)


def wide_columns(columns: Collection[Column]) -> list[WideColumn]:
    return [
        WideColumn(column.path, column_name(index), column.kind, column.shape, sparse=column.sparse)
        for index, column in enumerate(columns)
    ]


def stream(cursor: duckdb.DuckDBPyConnection, result: QueryResult, progress: Progress) -> list[WideColumn]:
    """Run a query into a temporary table, batch by batch."""
    columns = wide_columns(result.type.columns)
    declared = ", ".join(f"{column.name} {duck_type(column)}" for column in columns)
    cursor.execute(
        f"CREATE TEMP TABLE {STAGE} ({ROW} VARCHAR, {TIMESTAMP} DOUBLE{', ' + declared if declared else ''})"
    )
    for batch in result.batches(progress):
        progress.check()
        with arrow_view(cursor, "batch", _batch_table(batch, columns)):
            cursor.execute(f"INSERT INTO {STAGE} SELECT * FROM batch")
    return columns


def _batch_table(batch: NamedBatch, columns: list[WideColumn]) -> pa.Table:
    values = [one_array(array) for array in batch.rows.values]
    newest = np.full(batch.rows.length, -np.inf)
    for index in range(len(columns)):
        newest = np.fmax(newest, batch.rows.seconds(index))
    names = [ROW, TIMESTAMP, *(column.name for column in columns)]
    return pa.Table.from_arrays([one_array(batch.names).cast(pa.string()), pa.array(newest), *values], names=names)


def gather(
    cursor: duckdb.DuckDBPyConnection, result: QueryResult, progress: Progress, unknown: str
) -> list[WideColumn]:
    """Run a query whose rows may hold any columns; all of it in memory.

    The known columns and those of the first row are always there; what becomes of others ``unknown`` says
    (entity-types.md §2.3).
    """
    arrays = [column for column in result.type.columns if is_array(column)]
    collected: list[list[pa.Array]] = [[] for _ in arrays]
    pending = Pending()
    fixed = {format_path(column.path): None for column in result.type.columns if column.shape is None}
    for name in fixed:
        pending.column_number(name)
    first = True
    for batch in result.batches(progress):
        progress.check()
        loose, chosen = loosen(batch, arrays)
        for target, values in zip(collected, chosen, strict=True):
            target.append(values)
        if first and batch.rows.length:
            first = False
            fixed |= dict.fromkeys(_columns_of_first_row(loose))
        pending.add_batch(loose)
    columns = _kept(pending, fixed, unknown)
    return _stage(cursor, pending, columns, fixed, list(zip(arrays, map(pa.concat_arrays, collected), strict=True)))


def loosen(batch: NamedBatch, arrays: list[Column]) -> tuple[NamedBatch, list[pa.Array]]:
    """A batch without its array columns, and those."""
    rows, taken = batch.rows, set(arrays)
    positions = [index for index, column in enumerate(rows.type.columns) if column not in taken]
    chosen = [one_array(rows.values[index]) for index, column in enumerate(rows.type.columns) if column in taken]
    type_ = RowType(tuple(rows.type.columns[index] for index in positions), rows.type.open)
    values = [rows.values[index] for index in positions]
    times = [rows.timestamp(index) for index in positions]
    return NamedBatch(batch.names, RowBatch(type_, rows.length, values, times, rows.rest)), chosen


def _columns_of_first_row(batch: NamedBatch) -> list[str]:
    rows = batch.rows
    rest = None if rows.rest is None else one_array(rows.rest).slice(0, 1)
    values = [one_array(array).slice(0, 1) for array in rows.values]
    times = [
        time if isinstance(time, float) else one_array(time).slice(0, 1)
        for time in map(rows.timestamp, range(len(values)))
    ]
    pending = Pending()
    pending.add_batch(NamedBatch(one_array(batch.names).slice(0, 1), RowBatch(rows.type, 1, values, times, rest)))
    return pending.column_names()


def _kept(pending: Pending, fixed: Collection[str], unknown: str) -> list[str]:
    names = pending.column_names()
    if unknown == "add":
        return names
    if unknown == "error" and any(name not in fixed for name in names):
        raise MldbError("New column name while recording row in tabular dataset with unknownColumns=ERROR")
    return [name for name in names if name in fixed]


def stage_pending(cursor: duckdb.DuckDBPyConnection, pending: Pending, fixed: Collection[str]) -> list[WideColumn]:
    """Recorded rows; columns that are not ``fixed`` are sparse: null there means that the row lacks the cell."""
    return _stage(cursor, pending, pending.column_names(), fixed, [])


def _stage(
    cursor: duckdb.DuckDBPyConnection,
    pending: Pending,
    names: list[str],
    fixed: Collection[str],
    arrays: list[tuple[Column, pa.Array]],
) -> list[WideColumn]:
    rows = WideRows(pending)
    columns: list[WideColumn] = []
    values: list[pa.Array] = []
    for name in names:
        tasks.check()
        kind, array = rows.column(pending.columns[name])
        columns.append(WideColumn(parse_path(name), column_name(len(columns)), kind, sparse=name not in fixed))
        values.append(array)
    for column, array in arrays:
        columns.append(WideColumn(column.path, column_name(len(columns)), column.kind, column.shape))
        values.append(array)
    texts = pending.row_names().combine_chunks() if pending.row_count else pa.array([], pa.string())
    table = pa.Table.from_arrays(
        [texts, pa.array(rows.timestamps()), *values],
        names=[ROW, TIMESTAMP, *(column.name for column in columns)],
    )
    cursor.register(STAGE, table)
    return columns
