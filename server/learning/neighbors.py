"""Exact nearest neighbours: one matrix product per block, distances then computed anew (entity-types.md §2.6)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from server.learning.matrix import Floats

Metric = Literal["euclidean", "cosine"]
_PRODUCTS_AT_ONCE = 1 << 21  # distances of a tile of vectors to a block of points, 8 MiB
_POINTS_AT_ONCE = 512
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
        wanted = min(int(counts.max(initial=0)) + _SPARE, len(self.names))
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

    def _candidates(self, points: Floats, wanted: int) -> NDArray[np.int64]:
        """Rows of about the nearest to each point [point, wanted], in no order."""
        asked = points if self.metric == "euclidean" else _units(points)
        blocks = [asked[begin : begin + _POINTS_AT_ONCE] for begin in range(0, len(asked), _POINTS_AT_ONCE)]
        return np.concatenate([self._nearest_of_block(block, wanted) for block in blocks])

    def _nearest_of_block(self, asked: Floats, wanted: int) -> NDArray[np.int64]:
        """Goes through the vectors in tiles that stay in cache, keeping of each only what is near enough so far."""
        count = len(self.names)
        near: Floats = np.full((len(asked), wanted), np.inf, np.float32)
        rows = np.zeros((len(asked), wanted), np.int64)
        step = max(wanted, _PRODUCTS_AT_ONCE // len(asked))
        for begin in range(0, count, step):
            tile = (-2 * asked) @ self._comparable[begin : begin + step].T
            tile += self._squares[begin : begin + step]
            if tile.shape[1] > wanted and not begin:
                found = np.argpartition(tile, wanted - 1, axis=1)[:, :wanted]
                near, rows = np.take_along_axis(tile, found, axis=1), found.astype(np.int64)
            else:
                near, rows = _nearer(near, rows, tile, begin)
        return rows


def _nearer(near: Floats, rows: NDArray[np.int64], tile: Floats, first: int) -> tuple[Floats, NDArray[np.int64]]:
    """The nearest so far and those of a tile, whose rows begin at ``first``, that are nearer than the furthest."""
    points, wanted = near.shape
    at, columns = np.divmod(np.flatnonzero(tile < near.max(axis=1, keepdims=True)), tile.shape[1])
    if not len(at):
        return near, rows
    point = np.concatenate([np.repeat(np.arange(points), wanted), at])
    value = np.concatenate([near.reshape(-1), tile[at, columns]])
    row = np.concatenate([rows.reshape(-1), columns + first])
    order = np.lexsort((value, point))
    # Each point keeps the first of its own.
    starts = np.concatenate([[0], np.cumsum(wanted + np.bincount(at, minlength=points))[:-1]])
    kept = order[(starts[:, None] + np.arange(wanted)).reshape(-1)]
    return value[kept].reshape(near.shape), row[kept].reshape(rows.shape)


def _units(vectors: Floats) -> Floats:
    lengths = np.sqrt((vectors * vectors).sum(axis=1, keepdims=True, dtype=np.float32))
    return np.asarray(np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0))


def as_floats(matrix: NDArray[Any]) -> Floats:
    return np.ascontiguousarray(matrix, np.float32)
