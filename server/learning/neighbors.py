"""Exact nearest neighbours: one matrix product per block, distances then computed anew (entity-types.md §2.6)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from server.learning.matrix import Floats

Metric = Literal["euclidean", "cosine"]
_PRODUCTS_AT_ONCE = 1 << 24  # distances of a block of vectors to a block of points, 64 MiB
_SPARE = 16  # further candidates, as the fast distances are not exact


def distances(points: Floats, point: Floats, metric: Metric) -> Floats:
    """Distances of points to one point, in single precision; exactly 0 for equal ones."""
    if metric == "euclidean":
        difference = points - point
        return np.asarray(np.sqrt((difference * difference).sum(axis=1, dtype=np.float32)))
    lengths = np.sqrt((points * points).sum(axis=1, dtype=np.float32))
    length = np.sqrt((point * point).sum(dtype=np.float32))
    product = lengths * length
    # Summed row by row, so that a distance has the same digits whatever else is looked at.
    inner = (points * point).sum(axis=1, dtype=np.float32)
    cosine = np.divide(inner, product, out=np.zeros(len(points), np.float32), where=product > 0)
    out = np.maximum(np.float32(1) - cosine, np.float32(0))
    return np.where((points == point).all(axis=1), np.float32(0), out).astype(np.float32)


@dataclass(frozen=True)
class NeighborIndex:
    """Named vectors; ``columns`` name their coordinates."""

    names: list[str]
    columns: list[str]
    vectors: Floats
    metric: Metric

    @cached_property
    def row_of(self) -> dict[str, int]:
        return {name: row for row, name in enumerate(self.names)}

    @cached_property
    def _squares(self) -> Floats:
        return np.asarray((self._comparable * self._comparable).sum(axis=1, dtype=np.float32))

    @cached_property
    def _comparable(self) -> Floats:
        """What the fast distances are taken of: cosine distances order as Euclidean ones of unit vectors do."""
        return self.vectors if self.metric == "euclidean" else _units(self.vectors)

    def nearest(self, points: Floats, counts: NDArray[np.int64]) -> list[tuple[NDArray[np.int64], Floats]]:
        """Rows and distances of the ``counts[i]`` nearest to each point, nearest first."""
        wanted = int(min(counts.max(initial=0) + _SPARE, len(self.names)))
        if wanted <= 0:
            return [(np.zeros(0, np.int64), np.zeros(0, np.float32)) for _ in range(len(points))]
        candidates = self._candidates(points, wanted)
        return [
            self._exact(point, rows, int(count)) for point, rows, count in zip(points, candidates, counts, strict=True)
        ]

    def _exact(self, point: Floats, rows: NDArray[np.int64], count: int) -> tuple[NDArray[np.int64], Floats]:
        rows = np.sort(rows)
        exact = distances(self.vectors[rows], point, self.metric)
        order = np.argsort(exact, kind="stable")[: max(count, 0)]
        return rows[order], exact[order]

    def _candidates(self, points: Floats, wanted: int) -> list[NDArray[np.int64]]:
        asked = points if self.metric == "euclidean" else _units(points)
        step = max(1, _PRODUCTS_AT_ONCE // max(len(self.names), 1))
        found: list[NDArray[np.int64]] = []
        for begin in range(0, len(asked), step):
            block = self._squares - 2 * (asked[begin : begin + step] @ self._comparable.T)
            if wanted < block.shape[1]:
                block = np.argpartition(block, wanted - 1, axis=1)[:, :wanted]
            else:
                block = np.tile(np.arange(wanted), (len(block), 1))
            found += list(block)
        return found


def _units(vectors: Floats) -> Floats:
    lengths = np.sqrt((vectors * vectors).sum(axis=1, keepdims=True, dtype=np.float32))
    return np.asarray(np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0))


def as_floats(matrix: NDArray[Any]) -> Floats:
    return np.ascontiguousarray(matrix, np.float32)
