"""SQL over rows that come in batches: how a query reads a batch, and SQL as a function on batches."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa

from server.errors import MldbError, Vanished
from server.sql import tasks
from server.sql.bound import Atom, Embedding, Leaf, Rest, Row
from server.sql.composed import Composition
from server.sql.engine_errors import engine_errors, reading
from server.sql.plan import Plan, read_rows, to_rows
from server.sql.prepared import Prepared
from server.storage.database import Database
from server.values.batches import RowBatch, RowType
from server.values.paths import Path

_OUTDATED = "a dataset that the function reads got other columns, or values of other types: ask again"
SMALL_BATCH = 256  # rows: beyond, planning costs less than rows that pass through Python


@dataclass(frozen=True)
class BoundExpression:
    """SQL applied to batches of rows; a ``BoundFunction`` that gives timestamps.

    Small batches (function application over REST) go through statements that are planned once, or through the
    functions that the expression is composed of.
    """

    database: Database
    plan: Plan
    table: str
    given: RowType
    composition: Composition | None = None
    timestamps: bool = True

    @property
    def output(self) -> RowType:
        return self.plan.type

    @cached_property
    def _prepared(self) -> Prepared:
        return Prepared(self.database, self.plan.sql, self.table)

    def apply(self, batch: RowBatch) -> RowBatch:
        """``Vanished`` when a dataset that it reads has got other columns, or values of other types."""
        try:
            applied = self._apply(batch)
        except MldbError:
            if self.plan.current:
                raise
            raise Vanished(_OUTDATED) from None
        if not self.plan.current:
            raise Vanished(_OUTDATED)
        return applied

    def _apply(self, batch: RowBatch) -> RowBatch:
        task = tasks.current()
        if self.composition is not None and 0 < batch.length <= SMALL_BATCH:
            return self.composition.apply(batch, task)
        if self.plan.plain and batch.length <= SMALL_BATCH:
            with engine_errors(task):
                rows = self._prepared.run(table_of(batch), task)
            tasks.check()  # functions that saw the cancel gave NULL
            return read_rows(rows, self.plan)
        with reading(self.database, self.plan.sql, task) as reader:
            reader.cursor.register(self.table, table_of(batch))
            table = reader.cursor.sql(self.plan.sql).to_arrow_table().combine_chunks()
            reader.cursor.unregister(self.table)
        tasks.check()
        batches = table.to_batches()
        if not batches:
            count = len(self.plan.type.columns)
            return RowBatch(self.plan.type, 0, [pa.array([], field.type) for field in table.schema][:count])
        return to_rows(batches[0], self.plan)


def row_of(type_: RowType, reference: Callable[[str], str]) -> Row:
    """Rows of a shape as a bound row: column i is read as ``reference("c<i>")``."""
    columns: dict[Path, Leaf] = {}
    for index, column in enumerate(type_.columns):
        sql = reference(f"c{index}")
        ts = functools.partial(reference, f"t{index}")
        if column.shape is None:
            columns[column.path] = Atom(sql, column.kind, ts, sparse=column.sparse)
        else:
            shape = None if -1 in column.shape else column.shape
            columns[column.path] = Embedding(sql, column.kind, shape, ts, column.names)
    return Row(columns, (Rest((), reference("rest"), disjoint=True),) if type_.open else ())


def table_of(batch: RowBatch) -> pa.Table:
    """A batch as the Arrow table that ``row_of`` reads."""
    names: list[str] = ["one"]
    arrays: list[Any] = [pa.nulls(batch.length, pa.int8())]
    for index, value in enumerate(batch.values):
        names += [f"c{index}", f"t{index}"]
        arrays += [value, batch.times(index)]
    if batch.rest is not None:
        names.append("rest")
        arrays.append(batch.rest)
    return pa.Table.from_arrays(arrays, names)
