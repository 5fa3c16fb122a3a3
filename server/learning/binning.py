"""Values of features as small bucket numbers, so that splits are found by counting (entity-types.md §6.7).

A numeric feature of up to 255 distinct values has a bucket for each, with thresholds half way between neighbours;
one of more has 255 buckets of about equal count. A categorical feature has a bucket per category.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from server.learning.feature_space import FeatureSpace
from server.learning.matrix import Floats, Matrix, Sparse, present_entries, sparse_columns

MAX_BUCKETS = 255
_BLOCK_CELLS = 2048  # buckets of the features that are counted together


@dataclass(frozen=True)
class Binned:
    """One feature: the rows that have it, the bucket of each, and how many buckets there are.

    ``thresholds[b]`` splits the buckets up to b from those above; None for categories.
    """

    rows: NDArray[np.int32]
    buckets: NDArray[np.int32]
    count: int
    thresholds: Floats | None


@dataclass(frozen=True)
class Block:
    """Features of like bucket counts, to be counted in one go; ``width`` buckets each, some of them empty.

    ``rows`` and ``cells`` list the present values: the row, and feature number in the block x width + bucket.
    """

    features: NDArray[np.int64]
    width: int
    categorical: bool
    rows: NDArray[np.int32]
    cells: NDArray[np.int32]


class Bins:
    """The features of a matrix in buckets, each when it is first asked for."""

    def __init__(self, space: FeatureSpace, matrix: Matrix) -> None:
        self._features = space.features
        self._matrix = matrix
        self._made: dict[int, Binned] = {}

    def __len__(self) -> int:
        return len(self._features)

    def __iter__(self) -> Iterator[Binned]:
        return (self[feature] for feature in range(len(self)))

    def __getitem__(self, feature: int) -> Binned:
        if feature not in self._made:
            bin_ = _bin_numbers if self._features[feature].categories is None else _bin_categories
            self._made[feature] = bin_(*self._column(feature))
        return self._made[feature]

    def _column(self, feature: int) -> tuple[NDArray[np.int64], Floats]:
        return present_entries(self._matrix, feature) if self._sparse is None else self._sparse[feature]

    @cached_property
    def _sparse(self) -> list[tuple[NDArray[np.int64], Floats]] | None:
        return sparse_columns(self._matrix) if isinstance(self._matrix, Sparse) else None


def _bin_numbers(rows: NDArray[np.int64], values: Floats) -> Binned:
    thresholds = thresholds_between(values)
    buckets = np.searchsorted(thresholds, values, side="right")
    return Binned(rows.astype(np.int32), buckets.astype(np.int32), len(thresholds) + 1, thresholds)


def thresholds_between(values: Floats) -> Floats:
    """What splits a column's values into buckets."""
    distinct, counts = np.unique(values, return_counts=True)
    if len(distinct) > MAX_BUCKETS:
        share = np.cumsum(counts) * (MAX_BUCKETS / len(values))
        below = np.flatnonzero(np.diff(np.floor(share)) > 0)[: MAX_BUCKETS - 1]
    else:
        below = np.arange(max(len(distinct) - 1, 0))
    return halfway(distinct[below], distinct[below + 1]) if len(below) else np.zeros(0, np.float32)


def halfway(lower: Floats, upper: Floats) -> Floats:
    """Thresholds t between neighbouring values, with lower < t <= upper in single precision."""
    with np.errstate(invalid="ignore"):  # nothing is halfway between the infinities
        middle = ((lower.astype(np.float64) + upper) / 2).astype(np.float32)
    return np.where(middle > lower, middle, upper)


def _bin_categories(rows: NDArray[np.int64], values: Floats) -> Binned:
    known = values >= 0
    buckets = values[known].astype(np.int32)
    return Binned(rows[known].astype(np.int32), buckets, int(buckets.max(initial=0)) + 1, None)


def blocks_of(bins: Bins, chosen: NDArray[np.int64], hashes: NDArray[np.uint64]) -> list[Block]:
    """The chosen features in blocks; within a block those of lower hash come first."""
    groups: dict[tuple[bool, int], list[int]] = {}
    for feature in chosen[np.argsort(hashes[chosen], kind="stable")].tolist():
        item = bins[feature]
        if len(item.rows):
            width = 1 << (item.count - 1).bit_length()
            groups.setdefault((item.thresholds is None, width), []).append(feature)
    blocks = []
    for (categorical, width), features in groups.items():
        size = max(1, _BLOCK_CELLS // width)
        for begin in range(0, len(features), size):
            blocks.append(_block(bins, features[begin : begin + size], width, categorical))
    return blocks


def _block(bins: Bins, features: list[int], width: int, categorical: bool) -> Block:
    return Block(
        features=np.asarray(features),
        width=width,
        categorical=categorical,
        rows=np.concatenate([bins[feature].rows for feature in features]),
        cells=np.concatenate([bins[f].buckets + np.int32(place * width) for place, f in enumerate(features)]),
    )
