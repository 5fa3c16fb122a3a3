"""Blocks of JSON lines into datasets: as a table that grows column by column, and as the rows of a query result."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

import duckdb
import numpy as np
import pyarrow as pa

from server.declarations import NamedBatch, Progress
from server.errors import MldbError
from server.storage.layouts import Wide
from server.storage.readers import interrupted_by
from server.storage.wide import write_wide
from server.transfer.csvblocks import Block
from server.transfer.inputs import ahead
from server.transfer.jsoncolumns import JsonColumn
from server.transfer.jsonlines import JsonBlock, JsonLines
from server.transfer.jsontypes import atom_of, typed
from server.transfer.staging import Staging
from server.values.atoms import NEVER
from server.values.batches import ANY_ROW, Column, RowBatch, RowType
from server.values.cells import Cell, cells_array
from server.values.kinds import Kind
from server.values.paths import Path, format_path, refuse_nul

Unknown = Literal["error", "ignore", "add"]
_RARE = 64  # a column that fewer rows have than one in so many is handed on cell by cell


def load(
    blocks: Iterable[JsonBlock],
    cursor: duckdb.DuckDBPyConnection,
    table: str,
    timestamp: float,
    unknown: Unknown,
    progress: Progress,
) -> Wide:
    """Make a wide table of lines. What becomes of columns that the first line lacks ``unknown`` says (§2.3)."""
    with interrupted_by(progress, cursor.interrupt):
        growing = _GrowingTable(Staging(cursor, table, (), timestamp), timestamp, unknown)
        for block in ahead(blocks):
            growing.append(block)
            progress.update(growing.rows)
        wide = growing.finish()
        write_wide(cursor, wide)
    return wide


class _GrowingTable:
    """Takes the columns of its rows as they come; null where a row lacks one."""

    def __init__(self, staging: Staging, timestamp: float, unknown: Unknown) -> None:
        self._staging = staging
        self._timestamp = timestamp
        self._unknown = unknown
        self._indexes: dict[Path, int] = {}

    @property
    def rows(self) -> int:
        return self._staging.rows

    def finish(self) -> Wide:
        return self._staging.finish()

    def append(self, block: JsonBlock) -> None:
        count = len(block.lines)
        if not count:
            return
        columns = self._known(block.columns)
        filled = np.zeros(count, bool)
        values: dict[Path, tuple[Kind, pa.Array]] = {}
        for column in columns:
            filled[column.rows] = True
            values[column.path] = typed(_filled(column, count))
        self._add(columns, values)
        absent = Kind.NULL, pa.nulls(count)
        aligned = [values.get(path, absent) for path in self._indexes]
        times = pa.array(np.where(filled, self._timestamp, NEVER))
        self._staging.append(Block(block.lines, aligned, times))

    def _known(self, columns: Sequence[JsonColumn]) -> Sequence[JsonColumn]:
        if self._unknown == "add":
            return columns
        first = [column for column in columns if column.rows[0] == 0] if not self.rows else []
        known = {*self._indexes, *(column.path for column in first)}
        kept = [column for column in columns if column.path in known]
        if self._unknown == "error" and len(kept) < len(columns):
            raise MldbError("New column name while recording row in tabular dataset with unknownColumns=ERROR")
        return kept

    def _add(self, columns: Sequence[JsonColumn], values: dict[Path, tuple[Kind, pa.Array]]) -> None:
        """New columns; one that the very first row lacks is sparse."""
        new = [column for column in columns if column.path not in self._indexes]
        for column in new:
            refuse_nul("column", format_path(column.path))
            self._indexes[column.path] = len(self._indexes)
        self._staging.add([(column.path, values[column.path][0], bool(self.rows or column.rows[0])) for column in new])


class LinesResult:
    """Lines as a query result. Every batch has the columns that its own rows have: none is known beforehand."""

    type = ANY_ROW

    def __init__(self, lines: JsonLines, timestamp: float) -> None:
        self._lines = lines
        self._timestamp = timestamp
        self.rows = 0

    def batches(self, progress: Progress | None = None) -> Iterator[NamedBatch]:
        for block in ahead(self._lines.blocks()):
            yield named_batch(block, self._timestamp)
            self.rows += len(block.lines)
            if progress is not None:
                progress.update(self.rows)


def named_batch(block: JsonBlock, timestamp: float) -> NamedBatch:
    """Rows of a block. Nulls, and the values of columns that few rows have, are cells of the open rest."""
    count = len(block.lines)
    columns, values = [], []
    rest: dict[int, list[Cell]] = {}
    for column in block.columns:
        common = len(column.rows) * _RARE >= count
        if common:
            kind, array = typed(_filled(column, count))
            columns.append(Column(column.path, kind, sparse=True))
            values.append(array)
        if not common or None in column.values:
            for row, value in zip(column.rows, column.values, strict=True):
                if value is None or not common:
                    rest.setdefault(row, []).append(Cell(column.path, atom_of(value), timestamp))
    cells = cells_array([rest.get(row, ()) for row in range(count)]) if rest else None
    times = [timestamp] * len(columns)
    names = pa.array(block.lines).cast(pa.string())
    return NamedBatch(names, RowBatch(RowType(tuple(columns), open=True), count, values, times, cells))


def _filled(column: JsonColumn, count: int) -> list[Any]:
    """The values of all of ``count`` rows, None where a row lacks the column."""
    if len(column.rows) == count:
        return column.values
    values = [None] * count
    for row, value in zip(column.rows, column.values, strict=True):
        values[row] = value
    return values
