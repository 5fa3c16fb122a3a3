"""Shares of a score in the inputs that it was computed from, where the score is no plain sum of them.

All are Aumann-Shapley shares: the way from a start (no evidence, an average row) to the row is gone in a straight line,
and each input gets what the score gains by its own movement. They add up to the score less that of the start.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.polynomial.legendre import leggauss

from server.learning.columns import single
from server.learning.configurations import Link
from server.learning.examples import Explanation
from server.learning.glm import LINKS, Doubles

_PANELS = 16  # equal parts of the way, each with as many points as the rule below has
_POINTS, _WEIGHTS = leggauss(8)
_SAME = 1e-6  # predictors that differ by less: the slope between them is that at one of them

Gradient = Callable[[Doubles], Doubles]  # of points on the way, a row each


def through_link(explained: Explanation, link: Link) -> Explanation:
    """A sum explained, as its inverse link: along a line every input gains in proportion to its part of the sum."""
    inverse = LINKS[link].inverse
    bias, weights = explained.bias.astype(np.float64), explained.weights.astype(np.float64)
    moved = weights.sum(axis=1)
    start, end = inverse(bias), inverse(bias + moved)
    with np.errstate(invalid="ignore", over="ignore"):
        near = (inverse(bias + _SAME) - start) / _SAME
        slope = np.where(np.abs(moved) < _SAME, near, (end - start) / np.where(moved == 0, 1, moved))
        shares = weights * slope[:, None]
    return Explanation(single(start), single(shares), explained.used)


def mean_gradient(start: Doubles, moved: Doubles, gradient: Gradient) -> Doubles:
    """The mean of a gradient on the lines from ``start`` [d] (or a row per line) by ``moved`` [row, d]."""
    total = np.zeros_like(moved)
    for panel in range(_PANELS):
        for point, weight in zip(_POINTS, _WEIGHTS, strict=True):
            share = (panel + (point + 1) / 2) / _PANELS
            total += gradient(start + share * moved) * (weight / 2 / _PANELS)
    return total


def settled(shares: Doubles, gain: Doubles) -> Doubles:
    """Shares that add up to the gain: what numerical integration left open goes to each by its size."""
    size = np.abs(shares)
    whole = size.sum(axis=1)
    open_ = gain - shares.sum(axis=1)
    factor = np.divide(open_, whole, out=np.zeros_like(whole), where=whole > 0)
    return np.asarray(shares + size * factor[:, None])


def softmax(predictor: Doubles) -> Doubles:
    chances = np.exp(predictor - predictor.max(axis=1, keepdims=True))
    return np.asarray(chances / chances.sum(axis=1, keepdims=True))


def softmax_gradient(label: int) -> Gradient:
    """How the probability of a label changes with the predictor of each label."""

    def gradient(predictor: Doubles) -> Doubles:
        chances = softmax(predictor)
        own = chances[:, [label]]
        out = -own * chances
        out[:, label] += own[:, 0]
        return out

    return gradient


def log_softmax_gradient(label: int) -> Gradient:
    """How the logarithm of the probability of a label changes with the predictor of each label."""

    def gradient(predictor: Doubles) -> Doubles:
        out = -softmax(predictor)
        out[:, label] += 1
        return out

    return gradient
