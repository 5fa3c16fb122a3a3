"""Scores made probabilities by a one-variable generalized linear model (entity-types.md §3.15)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from server.learning.configurations import Link
from server.learning.examples import Tick
from server.learning.glm import LINKS, Doubles, irls
from server.learning.matrix import Floats
from server.learning.saved import member, require

_RIDGE = 1e-10


@dataclass(frozen=True)
class Calibration:
    """``probability = inverse link of slope * score + intercept``: single-precision parameters and result."""

    link: Link
    slope: float
    intercept: float

    def apply(self, scores: NDArray[Any]) -> Floats:
        predictor = self.slope * scores.astype(np.float32).astype(np.float64) + self.intercept
        return LINKS[self.link].inverse(predictor).astype(np.float32)

    def to_json(self) -> dict[str, Any]:
        return {"style": "glz", "link": self.link.upper(), "params": [self.slope, self.intercept]}

    @staticmethod
    def from_json(state: Mapping[str, Any]) -> Calibration:
        """``MldbError`` for what ``to_json`` does not give, in which MLDB agrees."""
        link = member(state, "link", str).lower()
        require(link in LINKS, f"it has the unknown link '{link}'")
        slope, intercept = map(_single, member(state, "params", tuple[float, float]))
        require(np.isfinite(slope) and np.isfinite(intercept), "its parameters are no numbers")
        return Calibration(cast(Link, link), slope, intercept)


def calibrate(
    scores: NDArray[Any],
    labels: NDArray[Any],
    weights: NDArray[Any],
    link: Link,
    tick: Tick = lambda _: None,
) -> Calibration:
    """Fit a calibration to scores, true/false labels and weights."""
    target, weights = labels.astype(np.float64), weights.astype(np.float64)
    single = scores.astype(np.float64)
    design = np.stack([single, np.ones(len(single))], axis=1)
    slope, intercept = irls(design, target, weights, link, _ridge_on_square, tick)
    share, weighted = float(target.mean()), float(weights @ target / weights.sum())
    if 0 < share < 1 and 0 < weighted < 1:
        intercept -= np.log((1 - weighted) / weighted * share / (1 - share))
    return Calibration(link, _single(slope), _single(intercept))


def _single(number: Any) -> float:
    return float(np.float32(number))


def _ridge_on_square(normal: Doubles, right: Doubles) -> Doubles:
    """MLDB puts the ridge on the square of the normal matrix."""
    square: Doubles = normal @ normal + _RIDGE * np.eye(len(normal))
    return np.asarray(np.linalg.solve(square, normal @ right), np.float64)
