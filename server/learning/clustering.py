"""k-means and Gaussian mixtures, numbering clusters as MLDB does (entity-types.md §3.18)."""

from __future__ import annotations

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
    nearest = distance(points, points[chosen[0]])
    while len(chosen) < count:
        drawn = [draw() for _ in range(max(1, min(_CANDIDATES, len(points) // 2)))]
        best = drawn[int(np.argmax(nearest[drawn]))]
        chosen.append(best)
        nearest = np.minimum(nearest, distance(points, points[best]))
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
    out = np.empty(len(points), np.int64)
    for begin in range(0, len(points), _ROWS):
        block = points[begin : begin + _ROWS]
        every = np.stack([metric_distances(block, center, metric) for center in centroids], axis=1)
        out[begin : begin + _ROWS] = every.argmin(axis=1)
    return out


def kmeans(points: Floats, count: int, metric: Metric, rounds: int, tick: Tick) -> Clusters:
    """Lloyd's algorithm; an empty cluster keeps its centre."""
    starts = start_points(points, count, 1, lambda some, center: metric_distances(some, center, metric))
    centroids = points[starts].astype(np.float32)
    assigned = np.full(len(points), -1, np.int64)
    averaged = _unit(points) if metric == "cosine" else points.astype(np.float64)
    for number in range(rounds):
        now = nearest_centroids(points, centroids, metric)
        if (now == assigned).all():
            break
        assigned = now
        centroids = _means(averaged, assigned, centroids)
        tick((number + 1) / rounds)
    # Stored centroids are what later look-ups compare with, so the assignment must be theirs.
    return Clusters(centroids, nearest_centroids(points, centroids, metric))


def _unit(points: Floats) -> Doubles:
    double = points.astype(np.float64)
    lengths = np.sqrt((double**2).sum(axis=1, keepdims=True))
    return np.asarray(np.divide(double, lengths, out=np.zeros_like(double), where=lengths > 0))


def _means(points: Doubles, assigned: NDArray[np.int64], before: Floats) -> Floats:
    counts = np.bincount(assigned, minlength=len(before))
    sums = np.zeros(before.shape, np.float64)
    np.add.at(sums, assigned, points)
    means = sums / np.maximum(counts, 1)[:, None]
    return np.where(counts[:, None] > 0, means, before).astype(np.float32)


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
