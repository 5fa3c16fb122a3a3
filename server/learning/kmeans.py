"""k-means, numbering clusters as MLDB does (entity-types.md §3.18).

The plain rounds of Lloyd, of which only what can change is computed: a point whose nearest centre cannot have changed,
since no centre has moved far enough, is not compared with the centres again (Hamerly, SDM 2010). Many points start from
the centres that rounds over a part of them have found, which then move little.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from server.learning.clustering import Clusters, Doubles, Draw, Metric, metric_distances, start_points
from server.learning.examples import Tick
from server.learning.matrix import Floats
from server.learning.processors import processors

_SINGLE = 1e-5  # relative rounding of sums in single precision, generously
_PRODUCTS = 1 << 17  # distances that are looked at together, so that they stay in cache
_PART = 16  # one point in so many finds the centres that the rounds over all begin with
_LEAST_PART = 8192  # points, and points for each cluster, of which such a part consists at least
_LEAST_OF_CLUSTER = 50
_PART_OF_WORK = 0.3  # as progress tells it
_ROWS = 8192  # added up together

Places = NDArray[np.int64]
Run = Callable[[Callable[[int], None], Iterable[int]], Iterator[None]]


def kmeans(points: Floats, draw: Draw, count: int, metric: Metric, rounds: int, tick: Tick) -> Clusters:
    """At most ``rounds`` rounds over the points, and as many over a part of many points before; an empty cluster keeps
    its centre. Equal input gives equal clusters."""
    from threadpoolctl import threadpool_limits

    size = len(points) // _PART
    partly = size >= max(_LEAST_PART, _LEAST_OF_CLUSTER * count)
    drawn = draw(size if partly else len(points))
    starts = start_points(points, drawn, count, 1, lambda some, center: metric_distances(some, center, metric))
    centroids = points[starts].astype(np.float32)
    # Each thread multiplies blocks of its own: threads within products of this size wait for each other.
    with threadpool_limits(1), ThreadPoolExecutor(processors()) as pool:
        if not partly:
            return _rounds(_Space.of(points, metric), centroids, rounds, pool.map, tick)
        part, whole = _Space.of(points[np.sort(drawn)], metric), _Space.of(points, metric)
        centroids = _rounds(part, centroids, rounds, pool.map, lambda share: tick(share * _PART_OF_WORK)).centroids
        rest = 1 - _PART_OF_WORK
        return _rounds(whole, centroids, rounds, pool.map, lambda share: tick(_PART_OF_WORK + share * rest))


def nearest_centroids(points: Floats, centroids: Floats, metric: Metric) -> Places:
    """The nearest centroid of each point, the first of equally near ones."""
    return _Nearest.of(_Space.of(points, metric), centroids, map).center


@dataclass(frozen=True)
class _Space:
    """Points such that Euclidean distances order as those of the metric do: for cosine distances unit vectors.

    ``squares`` are the squared lengths of ``comparable``. All zeros have no direction (``plain``): their distances are
    always taken plainly. ``slack`` is by how much rounding may make distances wrong.
    """

    points: Floats
    metric: Metric
    comparable: Floats
    squares: Floats
    plain: NDArray[np.bool_] | None
    slack: Floats

    @staticmethod
    def of(points: Floats, metric: Metric) -> _Space:
        comparable = points if metric == "euclidean" else _unit(points).astype(np.float32)
        squares = np.einsum("ij,ij->i", comparable, comparable)
        plain = squares == 0 if metric == "cosine" else None
        slack = np.float32(_SINGLE) * (np.sqrt(squares) + 1)
        return _Space(points, metric, comparable, squares, plain, slack)

    def comparable_centers(self, centers: Floats) -> Floats:
        return centers if self.metric == "euclidean" else _unit(centers).astype(np.float32)


@dataclass(frozen=True)
class _Compared:
    """Centres, ready to be multiplied with points: ``doubled`` is [dimension, centre], -2 times each."""

    space: _Space
    centers: Floats
    doubled: Floats
    squares: Floats

    @staticmethod
    def of(space: _Space, centers: Floats) -> _Compared:
        compared = space.comparable_centers(centers)
        squares = np.einsum("ij,ij->i", compared, compared)
        if space.metric == "cosine":
            squares[squares == 0] = np.inf  # a centre of zeros has no direction: further than any other
        return _Compared(space, centers, np.ascontiguousarray((-2 * compared).T), squares)

    def rounding(self, squares: Floats) -> Floats:
        """How wrong squared distances may be, generously, of points with these squared lengths."""
        largest = self.squares[np.isfinite(self.squares)].max(initial=0)
        return np.asarray(_SINGLE * (squares + largest + 2 * np.sqrt(squares * largest)), np.float32)


@dataclass(frozen=True)
class _Nearest:
    """The nearest centre of some points, how far it is, and how far any other is at least."""

    center: Places
    distance: Floats
    other: Floats

    @staticmethod
    def of(space: _Space, centers: Floats, run: Run, rows: Places | None = None) -> _Nearest:
        """``rows``: of these points only; ``run`` maps blocks of them."""
        count = len(space.points) if rows is None else len(rows)
        found = _Nearest(np.empty(count, np.int64), np.empty(count, np.float32), np.empty(count, np.float32))
        compared = _Compared.of(space, centers)
        size = max(_PRODUCTS // max(len(centers), 1), 1)

        def put(begin: int) -> None:
            block = slice(begin, min(begin + size, count))
            found._put(compared, block if rows is None else rows[block], block)

        begins = range(0, count, size)
        deque((run if len(begins) > 1 else map)(put, begins), 0)
        return found

    def _put(self, compared: _Compared, rows: Places | slice, to: slice) -> None:
        """Distances by a matrix product, which is fast, and anew where rounding might decide between centres."""
        space = compared.space
        own = space.squares[rows]
        products = space.comparable[rows] @ compared.doubled
        products += compared.squares
        center = products.argmin(axis=1)
        at = np.arange(len(center))
        best = products[at, center]
        products[at, center] = np.inf
        second = products.min(axis=1)
        close = ~(second - best > compared.rounding(own))
        if space.plain is not None:
            close |= space.plain[rows]
        if close.any():
            points = space.points[rows][close] if isinstance(rows, slice) else space.points[rows[close]]
            every = [metric_distances(points, each, space.metric) for each in compared.centers]
            center[close] = np.argmin(every, axis=0)
            second[close] = best[close]
        self.center[to] = center
        self.distance[to] = np.sqrt(np.maximum(best + own, 0))
        self.other[to] = np.sqrt(np.maximum(second + own, 0))

    def put(self, rows: Places, others: _Nearest) -> None:
        """Take over what was found of some points."""
        self.center[rows] = others.center
        self.distance[rows] = others.distance
        self.other[rows] = others.other


def _rounds(space: _Space, centroids: Floats, rounds: int, run: Run, tick: Tick) -> Clusters:
    count = len(centroids)
    found = _Nearest.of(space, centroids, run)
    sums = _sums(space.comparable, found.center, count)
    sizes = np.bincount(found.center, minlength=count)
    for number in range(rounds):
        means = np.where(sizes[:, None] > 0, sums / np.maximum(sizes, 1)[:, None], centroids).astype(np.float32)
        doubtful = _doubtful(space, found, centroids, means)
        centroids = means
        tick((number + 1) / rounds)
        again = _Nearest.of(space, centroids, run, doubtful)
        before = found.center[doubtful]
        changed = np.flatnonzero(again.center != before)
        if not len(changed):
            break
        came, to, of = space.comparable[doubtful[changed]], again.center[changed], before[changed]
        sums += _sums(came, to, count) - _sums(came, of, count)
        sizes += np.bincount(to, minlength=count) - np.bincount(of, minlength=count)
        found.put(doubtful, again)
    return Clusters(centroids, found.center)


def _doubtful(space: _Space, found: _Nearest, before: Floats, after: Floats) -> Places:
    """The points whose nearest centre may be another one since centres moved; brings the bounds up to date."""
    old, new = space.comparable_centers(before), space.comparable_centers(after)
    moves = np.sqrt(((new - old).astype(np.float64) ** 2).sum(axis=1)).astype(np.float32) * np.float32(1 + _SINGLE)
    np.add(found.distance, moves[found.center], out=found.distance)
    np.subtract(found.other, moves.max(initial=0), out=found.other)
    doubtful = found.distance + space.slack >= found.other
    return np.flatnonzero(doubtful if space.plain is None else doubtful | space.plain)


def _unit(points: Floats) -> Doubles:
    double = points.astype(np.float64)
    lengths = np.sqrt((double**2).sum(axis=1, keepdims=True))
    return np.asarray(np.divide(double, lengths, out=np.zeros_like(double), where=lengths > 0))


def _sums(points: Floats, clusters: Places, count: int) -> Doubles:
    """The sum of the points of each cluster, in double precision."""
    from scipy import sparse

    total = np.zeros((count, points.shape[1]))
    for begin in range(0, len(points), _ROWS):
        block = points[begin : begin + _ROWS]
        members = clusters[begin : begin + _ROWS]
        ones, ends = np.ones(len(block)), np.arange(len(block) + 1)
        total += sparse.csc_array((ones, members, ends), shape=(count, len(block))) @ block
    return total
