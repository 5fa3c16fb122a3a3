"""Generalized linear models with too many columns for a normal matrix: sparse design, quasi-Newton steps."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from server.learning.configurations import Glz
from server.learning.design import EQUALS, PRESENCE, Columns, expand, fit_weights, targets_of
from server.learning.examples import Examples, Tick, part_of
from server.learning.glm import LINKS, Doubles
from server.learning.matrix import Floats, Matrix, Sparse, dense_chunks

_ROUNDS = 200
_INSIDE = 1e-9  # means are kept this far from 0 and 1 in logarithms


def fit_wide(config: Glz, examples: Examples, columns: Columns, tick: Tick) -> Floats:
    """Weights (a row per label) by L-BFGS; columns are scaled but not moved, so that they stay sparse."""
    design = _design(examples.matrix, columns)
    scale = _scale(design) if config.normalize else np.ones(design.shape[1])
    weights, targets = fit_weights(examples), targets_of(examples)
    rows = []
    for number, target in enumerate(targets):
        parameters = _minimize(config, design, scale, target, weights, part_of(tick, number, len(targets)))
        parameters[: len(columns)] /= scale
        rows.append(parameters)
        tick((number + 1) / len(targets))
    return np.array(rows, np.float32)


def _design(matrix: Matrix, columns: Columns) -> Any:
    """The design matrix as compressed rows."""
    from scipy import sparse

    if not isinstance(matrix, Sparse) or (columns.kind == EQUALS).any():
        parts = [sparse.csr_matrix(expand(chunk, columns)) for _, chunk in dense_chunks(matrix, 512)]
        return sparse.vstack(parts, format="csr")
    place = {kind: np.full(matrix.width, -1, np.int64) for kind in (False, True)}
    presence = columns.kind == PRESENCE
    for kind, at in place.items():
        chosen = np.flatnonzero(presence == kind)
        at[columns.feature[chosen]] = chosen
    rows = matrix.rows()
    value_at, presence_at = place[False][matrix.columns], place[True][matrix.columns]
    has_value, has_presence = value_at >= 0, presence_at >= 0
    data = np.concatenate([matrix.values[has_value].astype(np.float64), np.ones(has_presence.sum())])
    where = np.concatenate([rows[has_value], rows[has_presence]])
    column = np.concatenate([value_at[has_value], presence_at[has_presence]])
    return sparse.csr_matrix((data, (where, column)), shape=(matrix.shape[0], len(columns)))


def _scale(design: Any) -> Doubles:
    """Standard deviation of each column, 1 where it is constant."""
    mean = np.asarray(design.mean(axis=0)).ravel()
    squares = np.asarray(design.multiply(design).mean(axis=0)).ravel()
    deviation = np.sqrt(np.maximum(squares - mean * mean, 0))
    return np.where(deviation > 0, deviation, 1.0)


def _minimize(config: Glz, design: Any, scale: Doubles, target: Doubles, weights: Doubles, tick: Tick) -> Doubles:
    from scipy.optimize import minimize

    penalty = 0.0 if config.regularization == "none" else abs(config.regularization_factor)
    count, bias = len(scale), config.add_bias
    loss = _loss(config)

    def objective(parameters: Doubles) -> tuple[float, Doubles]:
        predictor = design @ (parameters[:count] / scale) + (parameters[count] if bias else 0.0)
        value, slope = loss(predictor, target, weights)
        gradient = np.empty_like(parameters)
        gradient[:count] = (design.T @ slope) / scale
        if bias:
            gradient[count] = slope.sum()
        if config.regularization == "l1":
            # A smooth stand-in for |b|; exact zeros are not to be had from quasi-Newton steps.
            smooth = np.sqrt(parameters * parameters + 1e-8)
            return value + penalty * float(smooth.sum()), gradient + penalty * parameters / smooth
        return value + penalty * float(parameters @ parameters), gradient + 2 * penalty * parameters

    rounds = itertools.count(1)
    found = minimize(
        objective, np.zeros(count + bias), jac=True, method="L-BFGS-B", options={"maxiter": _ROUNDS, "maxls": 50},
        callback=lambda _: tick(next(rounds) / _ROUNDS),
    )  # fmt: skip
    out: Doubles = found.x
    return out


def _loss(config: Glz) -> Callable[[Doubles, Doubles, Doubles], tuple[float, Doubles]]:
    """The deviance and its derivative by the linear predictor."""
    function = LINKS[config.link_function]

    def squares(predictor: Doubles, target: Doubles, weights: Doubles) -> tuple[float, Doubles]:
        rest = predictor - target
        return float(weights @ (rest * rest)), 2 * weights * rest

    def binomial(predictor: Doubles, target: Doubles, weights: Doubles) -> tuple[float, Doubles]:
        mean = np.clip(function.inverse(np.clip(predictor, -30, 30)), _INSIDE, 1 - _INSIDE)
        value = -2 * float(weights @ (target * np.log(mean) + (1 - target) * np.log(1 - mean)))
        # d mean / d predictor is 1 / slope(mean).
        return value, 2 * weights * (mean - target) / (mean * (1 - mean)) / function.slope(mean)

    return squares if config.link_function == "linear" else binomial
