"""k-means and Gaussian mixtures, numbering clusters as MLDB does (entity-types.md §3.18)."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from server.learning.examples import Tick
from server.learning.matrix import Floats

Metric = Literal["cosine", "euclidean"]
Doubles = NDArray[np.float64]
_CANDIDATES = 100  # points of which the next start is the furthest
_SMALLEST = 1e-4  # singular values of a covariance below are dropped
_ROWS = 4096
_ROUNDS_AT_ONCE = 20  # between two reports of progress
_LARGE = 100_000_000  # points x dimensions x clusters from which the import of scikit-learn pays
_SINGLE = 1e-5  # relative rounding of sums in single precision, generously


@dataclass(frozen=True)
class Clusters:
    """``assigned`` is the cluster of each point; ``covariances`` (mixtures) are [cluster, d, d]."""

    centroids: Floats
    assigned: NDArray[np.int64]
    covariances: Doubles | None = None


def start_points(points: Floats, count: int, seed: int, distance: Callable[[Floats, Floats], Doubles]) -> list[int]:
    """Centres far from each other: of some drawn points the one that is furthest from all centres so far."""
    twister = np.random.RandomState(seed)

    def draw() -> int:
        return int(twister.randint(0, 2**32, dtype=np.uint64)) % len(points)

    chosen = [draw()]
    while len(chosen) < count:
        drawn = [draw() for _ in range(max(1, min(_CANDIDATES, len(points) // 2)))]
        # Only the points drawn are looked at, so the others' distances are never taken.
        nearest = np.min([distance(points[drawn], points[center]) for center in chosen], axis=0)
        chosen.append(drawn[int(np.argmax(nearest))])
    return chosen


def metric_distances(points: Floats, center: Floats, metric: Metric) -> Doubles:
    """Distances to one centre. Cosine: -cos, -1 between two zero vectors, 2 between a zero and another."""
    if metric == "euclidean":
        return np.asarray(((points - center).astype(np.float64) ** 2).sum(axis=1))
    lengths = np.sqrt((points.astype(np.float64) ** 2).sum(axis=1))
    length = float(np.sqrt((center.astype(np.float64) ** 2).sum()))
    product = lengths * length
    cosine = np.divide(
        (points * center).sum(axis=1, dtype=np.float64), product, out=np.zeros(len(points)), where=product > 0
    )
    both = (lengths == 0) & (length == 0)
    return np.where(product > 0, -cosine, np.where(both, -1.0, 2.0))


def nearest_centroids(points: Floats, centroids: Floats, metric: Metric) -> NDArray[np.int64]:
    """The nearest centroid of each point, the first of equally near ones."""
    space = _Space.of(points, metric)
    return _TwoNearest.of(space, centroids, np.arange(len(points))).nearest


@dataclass(frozen=True)
class _Space:
    """Points such that Euclidean distances order as those of the metric do: for cosine distances unit vectors.

    ``lengths`` are those of ``comparable``; all zeros have no direction, so their distances are always taken plainly.
    """

    points: Floats
    metric: Metric
    comparable: Floats
    squares: Floats
    plain: NDArray[np.bool_]

    @staticmethod
    def of(points: Floats, metric: Metric) -> _Space:
        comparable = points if metric == "euclidean" else _unit(points).astype(np.float32)
        squares = np.einsum("ij,ij->i", comparable, comparable)
        return _Space(points, metric, comparable, squares, (squares == 0) & (metric == "cosine"))

    def comparable_centers(self, centers: Floats) -> Floats:
        return centers if self.metric == "euclidean" else _unit(centers).astype(np.float32)


@dataclass(frozen=True)
class _TwoNearest:
    """The nearest centre of some points, how far it is, and how far any other is at least."""

    nearest: NDArray[np.int64]
    distance: Floats
    other: Floats

    @staticmethod
    def of(space: _Space, centers: Floats, rows: NDArray[np.int64]) -> _TwoNearest:
        found = _TwoNearest(
            np.empty(len(rows), np.int64), np.empty(len(rows), np.float32), np.empty(len(rows), np.float32)
        )
        compared = space.comparable_centers(centers)
        squares = np.einsum("ij,ij->i", compared, compared)
        # A centre of zeros has no direction: further than any other, by cosine.
        squares[(squares == 0) & (space.metric == "cosine")] = np.inf
        for begin in range(0, len(rows), _ROWS):
            found._put(space, centers, compared, squares, rows[begin : begin + _ROWS], slice(begin, begin + _ROWS))
        return found

    def _put(
        self,
        space: _Space,
        centers: Floats,
        compared: Floats,
        squares: Floats,
        rows: NDArray[np.int64],
        to: slice,
    ) -> None:
        """Distances by a matrix product, which is fast, and anew where rounding might decide between centres."""
        block, own = space.comparable[rows], space.squares[rows]
        products = (-2 * block) @ compared.T
        products += squares
        nearest = products.argmin(axis=1)
        best = products[np.arange(len(rows)), nearest]
        products[np.arange(len(rows)), nearest] = np.inf
        second = products.min(axis=1)
        close = space.plain[rows] | ~(second - best > _rounding(own, squares))
        if close.any():
            every = [metric_distances(space.points[rows[close]], center, space.metric) for center in centers]
            nearest[close] = np.argmin(every, axis=0)
            second[close] = best[close]
        self.nearest[to] = nearest
        self.distance[to] = np.sqrt(np.maximum(best + own, 0))
        self.other[to] = np.sqrt(np.maximum(second + own, 0))


def _rounding(squares: Floats, centers: Floats) -> Floats:
    """By how much squared distances of a matrix product may be wrong, generously."""
    largest = centers[np.isfinite(centers)].max(initial=0)
    return np.asarray(_SINGLE * (squares + largest + 2 * np.sqrt(squares * largest)), np.float32)


def kmeans(points: Floats, count: int, metric: Metric, rounds: int, tick: Tick) -> Clusters:
    """Lloyd's algorithm; an empty cluster keeps its centre.

    A point whose nearest centre cannot have changed, since no centre has moved far enough (Hamerly, SDM 2010), is not
    compared with the centres again.
    """
    starts = start_points(points, count, 1, lambda some, center: metric_distances(some, center, metric))
    centroids = points[starts].astype(np.float32)
    if metric == "euclidean" and points.size * count > _LARGE and count <= len(points):
        centroids = _library_centroids(points, centroids, rounds, tick)
        return Clusters(centroids, nearest_centroids(points, centroids, metric))
    space = _Space.of(points, metric)
    found = _TwoNearest.of(space, centroids, np.arange(len(points)))
    sums = _sums(space.comparable, found.nearest, count)
    counts = np.bincount(found.nearest, minlength=count)
    for number in range(rounds):
        means = np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], centroids).astype(np.float32)
        doubtful = _doubtful(space, found, centroids, means)
        centroids = means
        tick((number + 1) / rounds)
        again = _TwoNearest.of(space, centroids, doubtful)
        changed = np.flatnonzero(again.nearest != found.nearest[doubtful])
        moved, to = doubtful[changed], again.nearest[changed]
        if not len(moved):
            break
        came = space.comparable[moved]
        sums += _sums(came, to, count) - _sums(came, found.nearest[moved], count)
        counts += np.bincount(to, minlength=count) - np.bincount(found.nearest[moved], minlength=count)
        for mine, theirs in (
            (found.nearest, again.nearest),
            (found.distance, again.distance),
            (found.other, again.other),
        ):
            mine[doubtful] = theirs
    # Stored centroids are what later look-ups compare with, so the assignment must be theirs.
    return Clusters(centroids, nearest_centroids(points, centroids, metric))


def _library_centroids(points: Floats, centroids: Floats, rounds: int, tick: Tick) -> Floats:
    """Lloyd's algorithm by scikit-learn, which is the fastest from some size on and knows Euclidean distances only.

    It moves a cluster that became empty to the point that is furthest from its centre.
    """
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    for begin in range(0, rounds, _ROUNDS_AT_ONCE):
        some = min(_ROUNDS_AT_ONCE, rounds - begin)
        with warnings.catch_warnings():
            # Fewer different points than clusters are no mistake here.
            warnings.simplefilter("ignore", ConvergenceWarning)
            found = KMeans(len(centroids), init=centroids, n_init=1, max_iter=some, tol=0).fit(points)
        centroids = np.asarray(found.cluster_centers_, np.float32)
        tick((begin + some) / rounds)
        if found.n_iter_ < some:
            break
    return centroids


def _doubtful(space: _Space, found: _TwoNearest, before: Floats, after: Floats) -> NDArray[np.int64]:
    """The points whose nearest centre may be another one since centres moved; brings the bounds up to date."""
    old, new = space.comparable_centers(before), space.comparable_centers(after)
    moves = np.sqrt(((new - old).astype(np.float64) ** 2).sum(axis=1)).astype(np.float32) * (1 + _SINGLE)
    np.add(found.distance, moves[found.nearest], out=found.distance)
    np.subtract(found.other, moves.max(initial=0), out=found.other)
    slack = _SINGLE * np.sqrt(space.squares) + np.float32(_SINGLE)
    doubtful = np.flatnonzero(space.plain | (found.distance + slack >= found.other))
    difference = space.comparable[doubtful] - new[found.nearest[doubtful]]
    exact = np.sqrt(np.einsum("ij,ij->i", difference, difference))
    found.distance[doubtful] = exact
    return np.asarray(doubtful[space.plain[doubtful] | (exact + slack[doubtful] >= found.other[doubtful])])


def _unit(points: Floats) -> Doubles:
    double = points.astype(np.float64)
    lengths = np.sqrt((double**2).sum(axis=1, keepdims=True))
    return np.asarray(np.divide(double, lengths, out=np.zeros_like(double), where=lengths > 0))


def _sums(points: Floats, clusters: NDArray[np.int64], count: int) -> Doubles:
    """The sum of the points of each cluster."""
    columns = [np.bincount(clusters, points[:, axis], count) for axis in range(points.shape[1])]
    return np.stack(columns, axis=1) if columns else np.zeros((count, 0))


@dataclass(frozen=True)
class Gaussian:
    """One component: its density, up to singular values that were dropped."""

    mean: Doubles
    inverse: Doubles
    scale: float

    @staticmethod
    def of(mean: Doubles, covariance: Doubles) -> Gaussian:
        left, values, right = np.linalg.svd(covariance)
        kept = values >= _SMALLEST
        inverse = (right[kept].T / values[kept]) @ left[:, kept].T
        determinant = float(np.prod(values[kept]))
        return Gaussian(mean, inverse, 1 / ((2 * np.pi) ** (len(mean) / 2) * np.sqrt(determinant)))

    def density(self, points: Doubles) -> Doubles:
        offset = points - self.mean
        return np.asarray(self.scale * np.exp(-0.5 * np.einsum("ij,jk,ik->i", offset, self.inverse, offset)))


def densities(points: NDArray[Any], means: Doubles, covariances: Doubles) -> Doubles:
    """Density of each component at each point [point, component]."""
    double = points.astype(np.float64)
    parts = [Gaussian.of(mean, cov).density(double) for mean, cov in zip(means, covariances, strict=True)]
    return np.stack(parts, axis=1)


def gaussian_mixture(points: Floats, count: int, rounds: int, tick: Tick) -> Clusters:
    """Expectation-maximization without mixing weights, always ``rounds`` rounds."""
    starts = start_points(points, count, 0, lambda some, center: metric_distances(some, center, "euclidean"))
    double = points.astype(np.float64)
    means = double[starts]
    covariances = np.tile(np.eye(points.shape[1]), (count, 1, 1))
    for number in range(rounds):
        density = densities(double, means, covariances)
        total = density.sum(axis=1, keepdims=True)
        shares = np.divide(density, total, out=np.zeros_like(density), where=total > 0)
        for cluster in range(count):
            share = shares[:, cluster]
            weight = share.sum()
            if weight > 0:
                means[cluster] = share @ double / weight
                offset = double - means[cluster]
                covariances[cluster] = (offset * share[:, None]).T @ offset / weight
        tick((number + 1) / rounds)
    return Clusters(means.astype(np.float32), most_likely(points, means, covariances), covariances)


def most_likely(points: NDArray[Any], means: Doubles, covariances: Doubles) -> NDArray[np.int64]:
    """The component of largest density; 0 where none has any."""
    return np.asarray(densities(points, means, covariances).argmax(axis=1))
