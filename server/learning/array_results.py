"""Matrices as query results, so that datasets record them by their bulk path."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from server.declarations import NamedBatch, Progress
from server.values.atoms import NEVER
from server.values.batches import Column, RowBatch, RowType
from server.values.kinds import Kind
from server.values.paths import Path

_CELLS = 1 << 20  # of a batch


@dataclass(frozen=True)
class VectorResult:
    """Rows of one vector column: ``names`` are the texts of row paths, ``vectors`` has a row for each."""

    names: Sequence[str] | pa.Array
    column: Path
    vectors: NDArray[Any]

    @property
    def type(self) -> RowType:
        return RowType((Column(self.column, Kind.NUMBER, (self.vectors.shape[1],)),))

    def batches(self, progress: Progress | None = None) -> Iterator[NamedBatch]:
        width = self.vectors.shape[1]
        for part in _parts(len(self.names), width, progress):
            vectors = np.ascontiguousarray(self.vectors[part], np.float64)
            flat = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), width)
            names = _texts(self.names[part])
            yield NamedBatch(names, RowBatch(self.type, len(vectors), [flat], [NEVER]))


@dataclass(frozen=True)
class ColumnsResult:
    """Rows of plain columns: ``columns`` has an array as long as ``names`` for each path.

    Integers give integers, other numbers numbers, and texts texts; what is null in an Arrow array, the row lacks.
    """

    names: Sequence[str] | pa.Array
    columns: Mapping[Path, NDArray[Any] | pa.Array]

    @property
    def type(self) -> RowType:
        return RowType(tuple(_described(path, array) for path, array in self.columns.items()))

    def batches(self, progress: Progress | None = None) -> Iterator[NamedBatch]:
        type_ = self.type
        for part in _parts(len(self.names), len(self.columns), progress):
            values = [_converted(array[part]) for array in self.columns.values()]
            names = _texts(self.names[part])
            yield NamedBatch(names, RowBatch(type_, len(names), values, [NEVER] * len(values)))


def _parts(rows: int, width: int, progress: Progress | None) -> Iterator[slice]:
    """Rows of a batch at a time."""
    size = max(_CELLS // max(width, 1), 1)
    for begin in range(0, rows, size):
        if progress is not None:
            progress.check()
        yield slice(begin, begin + size)


def _described(path: Path, array: NDArray[Any] | pa.Array) -> Column:
    if isinstance(array, np.ndarray):
        return Column(path, Kind.INTEGER if array.dtype.kind == "i" else Kind.NUMBER)
    if pa.types.is_union(array.type):
        return Column(path, Kind.ANY)
    return Column(path, _KINDS[array.type], sparse=array.null_count > 0)


_KINDS = {pa.int64(): Kind.INTEGER, pa.float64(): Kind.NUMBER, pa.string(): Kind.STRING}


def _converted(values: NDArray[Any] | pa.Array) -> pa.Array:
    if not isinstance(values, np.ndarray):
        return values
    return pa.array(np.ascontiguousarray(values, np.int64 if values.dtype.kind == "i" else np.float64))


def _texts(names: Sequence[str] | pa.Array) -> pa.Array:
    return names if isinstance(names, pa.Array) else pa.array(names, pa.string())
