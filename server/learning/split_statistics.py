"""Sums of weights over rows of examples, and what decision trees make of them (entity-types.md §6.7)."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from server.learning.configurations import UpdateAlgorithm
from server.learning.examples import Examples
from server.learning.matrix import Floats

_NOISE = 1e-12  # what is left of a difference of equal sums of weights


def snapped(difference: NDArray[Any], whole: NDArray[Any]) -> NDArray[Any]:
    """A difference of sums of weights, with the noise of rounding taken for the nought it stands for."""
    return np.where(np.abs(difference) <= _NOISE * np.abs(whole), 0.0, difference)


class SplitStatistics:
    """Sums of weights, and what follows from them: P and the totals per label, or (in regression) w*y and w."""

    def __init__(self, examples: Examples, weights: Floats) -> None:
        self.regression = examples.regression
        self.labels = examples.label_count
        if self.regression:
            self.weights = weights.astype(np.float64)
            self.scaled = self.weights * examples.labels
            self.numbers = examples.labels
        else:
            self.label = examples.labels.astype(np.int64)
            alike = weights.ndim == 1 or bool((weights == weights[:, :1]).all())
            self.weights = (weights if weights.ndim == 1 else weights[:, 0] if alike else weights).astype(np.float64)

    def sums(self, rows: NDArray[Any], keys: NDArray[np.int64], count: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Per key: positive weights [count, labels] and totals [count, labels or 1]."""
        if self.regression:
            pair = (np.bincount(keys, values[rows], count)[:, None] for values in (self.scaled, self.weights))
            return next(pair), next(pair)
        label = self.label[rows]
        flat = keys * self.labels + label
        if self.weights.ndim == 1:
            positive = np.bincount(flat, self.weights[rows], count * self.labels).reshape(count, self.labels)
            return positive, positive.sum(axis=1, keepdims=True)
        positive = np.bincount(flat, self.weights[rows, label], count * self.labels).reshape(count, self.labels)
        totals = [np.bincount(keys, self.weights[rows, each], count) for each in range(self.labels)]
        return positive, np.stack(totals, axis=1)

    def per_node(self, slot: NDArray[Any], count: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """Positive weights, totals and the number of rows of each node."""
        rows = np.flatnonzero(slot >= 0)
        keys = slot[rows].astype(np.int64)
        return *self.sums(rows, keys, count), np.bincount(keys, minlength=count)

    @cached_property
    def pairs(self) -> NDArray[np.complex128]:
        """Per label and row two weights in one number, so that both are added up in one pass.

        The real part is P's (in regression w*y), the imaginary part N's (w). Of two labels whose weights mirror each
        other there is one.
        """
        if self.regression:
            return np.asarray(self.scaled + 1j * self.weights)[None]
        alike = self.weights.ndim == 1
        labels = np.arange(1 if alike and self.labels == 2 else 0, self.labels)
        weights = self.weights[None] if alike else self.weights.T[labels]
        return np.where(self.label == labels[:, None], weights, 1j * weights)

    def impurity_of(self, pairs: NDArray[np.complex128]) -> NDArray[np.float64]:
        """What branches add to Z by one label, from their sums of ``pairs``."""
        if self.regression:
            with np.errstate(divide="ignore", invalid="ignore"):
                return -np.where(pairs.imag > 0, pairs.real**2 / pairs.imag, 0.0)
        z = np.multiply(pairs.real.astype(np.float32), pairs.imag.astype(np.float32), dtype=np.float64)
        np.sqrt(z, out=z)
        z *= 2 * self.labels / len(self.pairs)
        return z

    def impurity(self, positive: NDArray[Any], total: NDArray[Any]) -> NDArray[Any]:
        """What a branch adds to Z."""
        if self.regression:
            with np.errstate(divide="ignore", invalid="ignore"):
                return -np.where(total > 0, positive * positive / total, 0.0)[..., 0]
        right = positive.astype(np.float32).astype(np.float64)
        wrong = snapped(total - positive, total).astype(np.float32)
        z: NDArray[Any] = 2 * np.sqrt(np.maximum(right * wrong, 0)).sum(axis=-1)
        return z

    def mixed(self, positive: NDArray[Any], slot: NDArray[Any], count: int) -> NDArray[np.bool_]:
        """Nodes whose examples still differ in what is to be predicted."""
        if not self.regression:
            return np.asarray((positive > 0).sum(axis=1) > 1)
        low, high = np.full(count, np.inf), np.full(count, -np.inf)
        rows = np.flatnonzero(slot >= 0)
        np.minimum.at(low, slot[rows], self.numbers[rows])
        np.maximum.at(high, slot[rows], self.numbers[rows])
        return high > low

    def outputs(
        self, positive: NDArray[Any], total: NDArray[Any], examples: NDArray[Any], update: UpdateAlgorithm
    ) -> Floats:
        """The scores of nodes: weighted mean, P/(P+N), (P-N)/(P+N) or half the log of the odds; 0 where empty."""
        if self.regression:
            return _divide(positive, total)
        right = positive.astype(np.float32)
        wrong = snapped(total - positive, total).astype(np.float32)
        if update == "prob":
            return _divide(right, right + wrong)
        if update == "gentle":
            return _divide(right - wrong, right + wrong)
        epsilon = (1 / max(len(self.label), 1)) + np.zeros_like(right)
        half_log = 0.5 * np.log((right + epsilon) / (wrong + epsilon))
        return np.where(examples[:, None] > 0, half_log, 0).astype(np.float32)


def _divide(above: NDArray[Any], below: NDArray[Any]) -> Floats:
    out = np.zeros(np.broadcast_shapes(above.shape, below.shape), np.float64)
    np.divide(above, below, out=out, where=below > 0)
    return out.astype(np.float32)
