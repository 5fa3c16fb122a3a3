"""Feature matrices: float32 numbers, a row per example, a column per feature; what is missing is not zero.

A matrix is dense (an array with NaN where a value is missing) or sparse (only what is present is listed). Values
of categorical features are indexes into the feature's categories, -1 for a category never seen in training.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
_CHUNK_CELLS = 1 << 24  # 64 MiB of float32 while a sparse matrix is worked through row by row


@dataclass(frozen=True)
class Sparse:
    """Compressed rows: entries ``starts[i]`` to ``starts[i + 1]`` of ``columns`` and ``values`` are row i."""

    starts: NDArray[np.int64]
    columns: NDArray[np.int32]
    values: Floats
    width: int

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.starts) - 1, self.width

    def rows(self) -> NDArray[np.int64]:
        """The row of each entry."""
        return np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts))

    def take(self, rows: NDArray[Any]) -> Sparse:
        """These rows, in this order."""
        lengths = np.diff(self.starts)[rows]
        starts = np.concatenate([[0], np.cumsum(lengths)])
        entries = np.repeat(self.starts[:-1][rows] - starts[:-1], lengths) + np.arange(starts[-1])
        return Sparse(starts, self.columns[entries], self.values[entries], self.width)

    def dense(self, begin: int, end: int) -> Floats:
        """Rows ``begin`` to ``end`` as a dense matrix."""
        out = np.full((end - begin, self.width), np.nan, np.float32)
        entries = slice(self.starts[begin], self.starts[end])
        rows = np.repeat(np.arange(end - begin), np.diff(self.starts[begin : end + 1]))
        out[rows, self.columns[entries]] = self.values[entries]
        return out

    def pick(self, features: NDArray[Any]) -> Floats:
        """Some columns of all rows as a dense matrix."""
        place = np.full(self.width, -1, np.int64)
        place[features] = np.arange(len(features))
        chosen = place[self.columns]
        entries = np.flatnonzero(chosen >= 0)
        out = np.full((self.shape[0], len(features)), np.nan, np.float32)
        out[self.rows()[entries], chosen[entries]] = self.values[entries]
        return out


Matrix = Floats | Sparse


def take_rows(matrix: Matrix, rows: NDArray[Any]) -> Matrix:
    return matrix.take(rows) if isinstance(matrix, Sparse) else matrix[rows]


def pick_columns(matrix: Matrix, features: NDArray[Any]) -> Floats:
    """Some features of all rows, dense."""
    return matrix.pick(features) if isinstance(matrix, Sparse) else matrix[:, features]


def dense_chunks(matrix: Matrix, rows: int = 8192) -> Iterator[tuple[int, Floats]]:
    """The matrix as dense pieces of a bounded size, each with the number of its first row."""
    count, width = matrix.shape
    rows = max(1, min(rows, _CHUNK_CELLS // max(width, 1)))
    for begin in range(0, count, rows):
        end = min(begin + rows, count)
        yield begin, matrix.dense(begin, end) if isinstance(matrix, Sparse) else matrix[begin:end]


def present_entries(matrix: Matrix, feature: int) -> tuple[NDArray[np.int64], Floats]:
    """Rows that have a feature, ascending, and its values there (dense matrices)."""
    assert not isinstance(matrix, Sparse)
    column = matrix[:, feature]
    rows = np.flatnonzero(~np.isnan(column))
    return rows, column[rows]


def sparse_columns(matrix: Sparse) -> list[tuple[NDArray[np.int64], Floats]]:
    """For each feature the rows that have it, ascending, and its values there."""
    order = np.argsort(matrix.columns, kind="stable")
    bounds = np.searchsorted(matrix.columns[order], np.arange(matrix.width + 1))
    rows, values = matrix.rows()[order], matrix.values[order]
    return [(rows[a:b], values[a:b]) for a, b in pairwise(bounds)]
