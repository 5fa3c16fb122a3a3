"""Matrices as query results, so that datasets record them by their bulk path."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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

_ROWS = 8192


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
        for begin in range(0, len(self.names), _ROWS):
            if progress is not None:
                progress.check()
            part = np.ascontiguousarray(self.vectors[begin : begin + _ROWS], np.float64)
            flat = pa.FixedSizeListArray.from_arrays(pa.array(part.reshape(-1)), width)
            names = _texts(self.names[begin : begin + _ROWS])
            yield NamedBatch(names, RowBatch(self.type, len(part), [flat], [NEVER]))


@dataclass(frozen=True)
class ColumnsResult:
    """Rows of plain number columns: ``matrix`` has a row for each of ``names``, a column for each of ``columns``.

    A matrix of integers gives integers.
    """

    names: Sequence[str] | pa.Array
    columns: Sequence[str]
    matrix: NDArray[Any]

    @property
    def type(self) -> RowType:
        kind = Kind.INTEGER if self.matrix.dtype.kind == "i" else Kind.NUMBER
        return RowType(tuple(Column((name,), kind) for name in self.columns))

    def batches(self, progress: Progress | None = None) -> Iterator[NamedBatch]:
        for begin in range(0, len(self.names), _ROWS):
            if progress is not None:
                progress.check()
            part = self.matrix[begin : begin + _ROWS]
            part = part.astype(np.int64 if part.dtype.kind == "i" else np.float64)
            values = [pa.array(np.ascontiguousarray(column)) for column in part.T]
            names = _texts(self.names[begin : begin + _ROWS])
            yield NamedBatch(names, RowBatch(self.type, len(part), values, [NEVER] * len(values)))


def _texts(names: Sequence[str] | pa.Array) -> pa.Array:
    return names if isinstance(names, pa.Array) else pa.array(names, pa.string())
