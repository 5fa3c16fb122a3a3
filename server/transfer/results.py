"""Query results row by row in plain Python, and tables made here as query results."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import islice

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from server.declarations import NamedBatch, Progress, QueryResult
from server.values import compute as pc
from server.values.atoms import NEVER, Atom
from server.values.batches import Column, RowBatch, RowType, iterate_paths
from server.values.cells import Cell, Row, atoms_of, cells_of, type_codes
from server.values.kinds import TAGS, Kind
from server.values.paths import Path

_PLAIN = frozenset({Kind.BOOLEAN, Kind.INTEGER, Kind.UNSIGNED, Kind.NUMBER, Kind.STRING, Kind.BLOB})  # in lists too
_ROWS_AT_ONCE = 4096  # made Python objects before a cancel is looked for


class Counted:
    """A query result that counts its rows as they go by."""

    def __init__(self, inner: QueryResult) -> None:
        self._inner = inner
        self.count = 0

    @property
    def type(self) -> RowType:
        return self._inner.type

    def batches(self, progress: Progress | None = None) -> Iterator[NamedBatch]:
        self.count = 0
        for batch in self._inner.batches(progress):
            self.count += batch.rows.length
            yield batch


def column_atoms(rows: RowBatch, name: str) -> list[Atom]:
    """The atom of a column in each row, None where it is missing."""
    for number, column in enumerate(rows.type.columns):
        if column.path == (name,) and column.shape is None:
            return atoms_of(rows.values[number], column.kind)
    if rows.rest is None:
        return [None] * rows.length
    return [next((cell.value for cell in row if cell.path == (name,)), None) for row in cells_of(rows.rest)]


def named_rows(result: QueryResult, progress: Progress | None = None) -> Iterator[tuple[str, Row]]:
    """Name and cells of each row: known columns in their order, then the rest. Absent cells are left out."""
    for batch in result.batches(progress):
        for begin in range(0, batch.rows.length, _ROWS_AT_ONCE):
            if progress is not None:
                progress.check()
            part = sliced(batch, begin, _ROWS_AT_ONCE)
            yield from zip(part.names.to_pylist(), rows_of(part.rows), strict=True)


def rows_of(batch: RowBatch) -> list[Row]:
    """The cells of each row of a batch; embeddings are spelled out."""
    rows: list[Row] = [[] for _ in range(batch.length)]
    for index, column in enumerate(batch.type.columns):
        times = seconds(batch.timestamp(index), batch.length)
        if column.shape is None:
            _add_atoms(rows, column, atoms_of(batch.values[index], column.kind), times)
        else:
            _add_embedding(rows, column, batch.values[index], times)
    if batch.rest is not None:
        for row, cells in zip(rows, cells_of(batch.rest), strict=True):
            row.extend(cells)
    return rows


def _add_atoms(rows: list[Row], column: Column, atoms: Sequence[Atom], times: Sequence[float | None]) -> None:
    for row, atom, time in zip(rows, atoms, times, strict=True):
        if atom is not None or not (column.sparse or time is None):  # what a row lacks has no time
            row.append(Cell(column.path, atom, NEVER if time is None else time))


def _add_embedding(rows: list[Row], column: Column, values: pa.Array, times: Sequence[float]) -> None:
    paths = cache(lambda count: element_paths(column, count))
    for row, elements, time in zip(rows, _lists_of(values, column.kind), times, strict=True):
        row.extend(Cell(path, atom, time) for path, atom in zip(paths(len(elements)), elements, strict=False))


def _lists_of(values: pa.Array, kind: Kind) -> Iterator[Sequence[Atom]]:
    """The elements of embeddings, of a null one none."""
    if kind in _PLAIN:
        return (elements or () for elements in values.to_pylist())
    atoms = iter(atoms_of(values.flatten(), kind))
    return (list(islice(atoms, size or 0)) for size in values.value_lengths().to_pylist())


def element_paths(column: Column, count: int) -> list[Path]:
    """Paths of the elements of an embedding of ``count`` numbers."""
    shape = column.shape or ()
    others = math.prod(size for size in shape if size >= 0) or 1  # a dimension that varies takes what these leave
    known = tuple(size if size >= 0 else count // others for size in shape)
    return list(iterate_paths(replace(column, shape=known)))


def seconds(times: pa.Array | float, length: int) -> Sequence[float]:
    """Timestamps of a column, one for each row."""
    if isinstance(times, float | int):
        return [float(times)] * length
    found: list[float] = times.to_pylist()
    return found


def is_null(array: pa.Array) -> npt.NDArray[np.bool_]:
    """Which values are null, in arrays of unions too."""
    if not pa.types.is_union(array.type):
        return np.asarray(array.is_null())
    nulls = np.zeros(len(array), dtype=bool)
    codes = type_codes(array)
    for code in range(len(TAGS)):
        nulls |= (codes == code) & np.asarray(array.field(code).is_null())
    return nulls


def without_values(batch: RowBatch) -> npt.NDArray[np.bool_]:
    """Which rows hold no value: nulls are none."""
    empty = np.ones(batch.length, dtype=bool)
    for values in batch.values:
        empty &= is_null(values)
    if batch.rest is not None:
        filled = np.asarray(pc.list_parent_indices(batch.rest))[~is_null(batch.rest.flatten().field("v"))]
        empty[filled] = False
    return empty


def sliced(batch: NamedBatch, begin: int, length: int) -> NamedBatch:
    """Some rows of a batch, at most ``length``."""
    rows = batch.rows
    if begin == 0 and rows.length <= length:
        return batch
    times = [time if isinstance(time, float | int) else time.slice(begin, length) for time in rows.timestamps]
    values = [value.slice(begin, length) for value in rows.values]
    rest = None if rows.rest is None else rows.rest.slice(begin, length)
    names = batch.names.slice(begin, length)
    return NamedBatch(names, RowBatch(rows.type, len(names), values, times, rest))


def chosen(batch: NamedBatch, keep: npt.NDArray[np.bool_]) -> NamedBatch:
    """The rows of a batch for which ``keep`` is true."""
    mask = pa.array(keep)
    rows = batch.rows
    times = [time if isinstance(time, float | int) else time.filter(mask) for time in rows.timestamps]
    rest = None if rows.rest is None else rows.rest.filter(mask)
    values = [value.filter(mask) for value in rows.values]
    return NamedBatch(batch.names.filter(mask), RowBatch(rows.type, int(keep.sum()), values, times, rest))


@dataclass(frozen=True)
class TableResult:
    """Batches at hand as a query result."""

    type: RowType
    rows: Sequence[NamedBatch]

    def batches(self, progress: Progress | None = None) -> Iterator[NamedBatch]:
        for batch in self.rows:
            if progress is not None:
                progress.check()
            yield batch
