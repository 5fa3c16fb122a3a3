"""Splits found by going through the values of each feature in order, where rows are few and values many.

Counting in buckets (``server.learning.binning``) looks at every bucket of a feature in every node. Where nearly each
row has a bucket of its own, a node's rows are far fewer than that.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from server.learning.binning import MAX_BUCKETS, thresholds_between
from server.learning.feature_space import FeatureSpace
from server.learning.matrix import Floats, Matrix, Sparse
from server.learning.split_statistics import SplitStatistics

PRESENCE = -1  # in place of a bucket: a split on whether the feature is there
_ROWS_PER_BUCKET = 8  # that may be gone through in the time that a bucket takes
_NONE = MAX_BUCKETS  # the bucket of entries that lack the feature
_ENTRIES_AT_ONCE = 1 << 14  # so that the intermediate arrays stay in cache


@dataclass(frozen=True)
class Ordered:
    """Features (by number, those of lower hash first) and the rows by ascending value of each.

    ``entries`` [feature, place] are rows; those that lack the feature come last, as the number of rows + their own.
    ``buckets`` are the entries' buckets.
    """

    features: NDArray[np.int64]
    entries: NDArray[np.int32]
    buckets: NDArray[np.uint8]

    def chosen(self, features: NDArray[np.bool_]) -> Ordered:
        """The features that are marked, with their entries."""
        places = np.flatnonzero(features[self.features])
        return Ordered(self.features[places], self.entries[places], self.buckets[places])

    def inside(self, entries: NDArray[np.bool_]) -> Ordered:
        """The marked entries, of which each feature has as many."""
        places, shape = np.flatnonzero(entries), (len(self.features), -1)
        rows, buckets = np.take(self.entries, places), np.take(self.buckets, places)
        return Ordered(self.features, rows.reshape(shape), buckets.reshape(shape))

    def pieces(self) -> Iterator[Ordered]:
        """A part of the features at a time."""
        step = max(1, _ENTRIES_AT_ONCE // max(self.entries.shape[1], 1))
        for begin in range(0, len(self.features), step):
            part = slice(begin, begin + step)
            yield Ordered(self.features[part], self.entries[part], self.buckets[part])


def ordered_features(space: FeatureSpace, matrix: Matrix, hashes: NDArray[np.uint64]) -> Ordered:
    """The numeric features that have so many buckets that going through the rows takes less time."""
    rows = matrix.shape[0]
    numeric = np.flatnonzero([feature.categories is None for feature in space.features])
    if isinstance(matrix, Sparse) or rows > MAX_BUCKETS * _ROWS_PER_BUCKET or not len(numeric):
        return Ordered(np.zeros(0, np.int64), np.zeros((0, rows), np.int32), np.zeros((0, rows), np.uint8))
    features = numeric[np.argsort(hashes[numeric], kind="stable")]
    columns = matrix.T[features]
    order = np.argsort(columns, axis=1, kind="stable")
    values = np.take_along_axis(columns, order, axis=1)
    buckets = np.zeros(values.shape, np.int32)
    np.cumsum(values[:, 1:] > values[:, :-1], axis=1, out=buckets[:, 1:])
    many = np.flatnonzero((buckets.max(axis=1, initial=0) + 1) * _ROWS_PER_BUCKET > rows)
    order, values, buckets = order[many], values[many], buckets[many]
    for place in np.flatnonzero(buckets.max(axis=1, initial=0) >= MAX_BUCKETS):
        there = values[place][~np.isnan(values[place])]
        buckets[place, : len(there)] = np.searchsorted(thresholds_between(there), there, side="right")
    missing = np.isnan(values)
    entries = np.where(missing, order + rows, order).astype(np.int32)
    return Ordered(features[many], entries, np.where(missing, _NONE, buckets).astype(np.uint8))


Candidate = tuple[float, int, int]  # Z, feature, and the highest bucket of the true branch (-1: split on presence)


class Sweep:
    """One tree's way through ordered features: which entries are in each of its open nodes."""

    def __init__(self, ordered: Ordered, statistics: SplitStatistics) -> None:
        self._nodes = [ordered] if len(ordered.features) else []
        pairs = statistics.pairs
        self._statistics = statistics
        self._present = np.concatenate([pairs, np.zeros_like(pairs)], axis=1)  # by the entry, its weights if present
        self._missing = np.concatenate([np.zeros_like(pairs), pairs], axis=1)

    def follow(self, slot: NDArray[np.int32], count: int) -> None:
        """The next level: ``slot`` is each row's number among ``count`` open nodes, -1 for none."""
        if not self._nodes:
            return
        twice = np.concatenate([slot, slot])
        following: dict[int, Ordered] = {}
        for node in self._nodes:
            to = np.take(twice, node.entries)
            for number in np.unique(to[0]):
                if number >= 0:
                    following[number] = node.inside(to == number)
        self._nodes = [following[number] for number in range(count)]

    def candidates(self) -> Iterator[tuple[int, Candidate]]:
        """The numbers of open nodes, and the best split of each piece of the features."""
        for number, node in enumerate(self._nodes):
            for piece in node.pieces():
                yield number, self._best_of(piece)

    def _best_of(self, piece: Ordered) -> Candidate:
        shape = (len(piece.features), piece.entries.shape[1] - 1)
        z, rest, by_presence = np.zeros(shape), np.zeros(shape[0]), np.zeros(shape[0])
        lacking = bool((piece.buckets[:, -1] == _NONE).any())
        for present, missing in zip(self._present, self._missing, strict=True):
            weights = np.take(present, piece.entries)
            below = np.cumsum(weights, axis=1)
            above = np.cumsum(weights[:, ::-1], axis=1)[:, ::-1]
            z += self._statistics.impurity_of(below[:, :-1])
            z += self._statistics.impurity_of(above[:, 1:])
            if lacking:
                rest += self._statistics.impurity_of(np.take(missing, piece.entries).sum(axis=1))
                by_presence += self._statistics.impurity_of(below[:, -1])
        if lacking:
            z += rest[:, None]
        lowest, bucket = _lowest(piece, z)
        if lacking:
            some = (piece.buckets[:, -1] == _NONE) & (piece.buckets[:, 0] != _NONE)
            by_presence = np.where(some, by_presence + rest, np.inf).astype(np.float32)
            bucket = np.where(by_presence < lowest, PRESENCE, bucket)
            lowest = np.minimum(lowest, by_presence)
        place = int(lowest.argmin())
        return float(lowest[place]), int(piece.features[place]), int(bucket[place])


def _lowest(piece: Ordered, z: NDArray[np.float64]) -> tuple[Floats, NDArray[np.int64]]:
    """Lowest Z [feature, place] of each feature, and the bucket after which it is cut there."""
    upper = piece.buckets[:, 1:]
    single = z.astype(np.float32)
    np.copyto(single, np.inf, where=(piece.buckets[:, :-1] == upper) | (upper == _NONE))
    cut = single.argmin(axis=1)
    features = np.arange(len(cut))
    return single[features, cut], piece.buckets[features, cut].astype(np.int64)
