"""Generalized linear models of one output: links, and iteratively reweighted least squares (entity-types.md §3.15)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from server.learning.configurations import Link
from server.learning.examples import Tick

Doubles = NDArray[np.float64]
# The weighted least squares step: from X'FX, X'Fz to the parameters.
Solve = Callable[[Doubles, Doubles], Doubles]

MAX_ROUNDS = 20
_DEVIANCE_STEP = 5e-5  # rounds end when the deviance changes by less
_EDGE = 1e-4  # means are kept this far from 0 and 1 where they divide
_FURTHEST = 10.0  # linear predictors beyond are taken for this while fitting


@dataclass(frozen=True)
class LinkFunction:
    """``forward`` maps a mean to the linear predictor, ``inverse`` back, ``slope`` is the derivative of ``forward``."""

    forward: Callable[[Doubles], Doubles]
    inverse: Callable[[Doubles], Doubles]
    slope: Callable[[Doubles], Doubles]


def _inside(mean: Doubles) -> Doubles:
    return np.clip(mean, _EDGE, 1 - _EDGE)


def _logistic(predictor: Doubles) -> Doubles:
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-predictor))


def _normal_cdf(x: Doubles) -> Doubles:
    from scipy.special import ndtr

    out: Doubles = ndtr(x)
    return out


def _normal_quantile(p: Doubles) -> Doubles:
    from scipy.special import ndtri

    out: Doubles = ndtri(p)
    return out


def _probit_slope(mean: Doubles) -> Doubles:
    return np.asarray(np.sqrt(2 * np.pi) * np.exp(_normal_quantile(_inside(mean)) ** 2 / 2))


def _exp(x: Doubles) -> Doubles:
    with np.errstate(over="ignore"):
        return np.exp(x)


LINKS: dict[Link, LinkFunction] = {
    "logit": LinkFunction(lambda m: np.log(m / (1 - m)), _logistic, lambda m: 1 / (_inside(m) * (1 - _inside(m)))),
    "probit": LinkFunction(_normal_quantile, _normal_cdf, _probit_slope),
    "comp_log_log": LinkFunction(
        lambda m: np.log(-np.log(1 - m)),
        lambda x: 1 - np.exp(-_exp(x)),
        lambda m: -1 / ((1 - _inside(m)) * np.log(1 - _inside(m))),
    ),
    "linear": LinkFunction(lambda m: m, lambda x: x, np.ones_like),
    "log": LinkFunction(np.log, _exp, lambda m: 1 / np.maximum(m, _EDGE)),
}


def irls(design: Any, target: Doubles, weights: Doubles, link: Link, solve: Solve, tick: Tick) -> Doubles:
    """Parameters of a binomial model with a link, fitted by reweighted least squares.

    ``design`` has a column per parameter. When the loop stops is part of MLDB's behaviour, as on data that a line
    separates the parameters grow with every round.
    """
    function = LINKS[link]
    mean = (target + 0.5) / 2
    predictor = function.forward(mean)
    deviance, before = float(np.sqrt((target * target).sum())), 0.0
    parameters = np.zeros(design.shape[1])
    rounds = 0
    while abs(deviance - before) > _DEVIANCE_STEP and rounds < MAX_ROUNDS:
        slope = function.slope(mean)
        variance = _inside(mean) * (1 - _inside(mean))
        factor = weights / (slope * slope * variance)
        working = predictor + (target - mean) * slope
        scaled = design * factor[:, None]
        parameters = solve(design.T @ scaled, scaled.T @ working)
        predictor = design @ parameters
        mean = function.inverse(np.clip(predictor, -_FURTHEST, _FURTHEST))
        before, deviance = deviance, _deviance(target, mean, weights)
        rounds += 1
        tick(rounds / MAX_ROUNDS)
    return parameters


def _deviance(target: Doubles, mean: Doubles, weights: Doubles) -> float:
    with np.errstate(divide="ignore", invalid="ignore"):
        hits = np.where(target > 0, target * np.log(target / mean), 0.0)
        misses = np.where(target < 1, (1 - target) * np.log((1 - target) / (1 - mean)), 0.0)
    return float(2 * (weights * (hits + misses)).sum())
