"""Gaussian mixtures, and what they share with k-means: clusters numbered as MLDB does (entity-types.md §3.18)."""

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
Draw = Callable[[int], NDArray[np.int64]]  # so many of the points, at random; all of them in their order
_CANDIDATES = 100  # points of which the next start is the furthest
_ROWS = 4096  # whose offsets from a mean are held at once
_SMALLEST = 1e-4  # singular values of a covariance below are dropped


@dataclass(frozen=True)
class Clusters:
    """``assigned`` is the cluster of each point; ``covariances`` (mixtures) are [cluster, d, d]."""

    centroids: Floats
    assigned: NDArray[np.int64]
    covariances: Doubles | None = None


def start_points(
    points: Floats, drawn: NDArray[np.int64], count: int, seed: int, distance: Callable[[Floats, Floats], Doubles]
) -> list[int]:
    """Centres far from each other: of some of the points ``drawn`` the one furthest from all centres so far."""
    twister = np.random.RandomState(seed)

    def draw() -> int:
        return int(drawn[int(twister.randint(0, 2**32, dtype=np.uint64)) % len(drawn)])

    chosen = [draw()]
    while len(chosen) < count:
        some = [draw() for _ in range(max(1, min(_CANDIDATES, len(drawn) // 2)))]
        # Only the points drawn are looked at, so the others' distances are never taken.
        nearest = np.min([distance(points[some], points[center]) for center in chosen], axis=0)
        chosen.append(some[int(np.argmax(nearest))])
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
        return np.asarray(self.scale * np.exp(-0.5 * np.einsum("ij,ij->i", offset @ self.inverse, offset)))


def densities(points: NDArray[Any], means: Doubles, covariances: Doubles) -> Doubles:
    """Density of each component at each point [point, component]."""
    components = [Gaussian.of(mean, covariance) for mean, covariance in zip(means, covariances, strict=True)]
    found = np.empty((len(points), len(components)))
    for begin in range(0, len(points), _ROWS):
        double = points[begin : begin + _ROWS].astype(np.float64)
        for number, component in enumerate(components):
            found[begin : begin + _ROWS, number] = component.density(double)
    return found


def gaussian_mixture(points: Floats, draw: Draw, count: int, rounds: int, tick: Tick) -> Clusters:
    """Expectation-maximization without mixing weights, always ``rounds`` rounds. ``draw`` gives all in their order."""
    starts = start_points(
        points, draw(len(points)), count, 0, lambda some, center: metric_distances(some, center, "euclidean")
    )
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
