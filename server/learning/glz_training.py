"""Training of generalized linear classifiers: a fit of all columns, scaled and penalized as the configuration says.

Up to some thousands of columns the normal matrix is formed; ``glz_wide`` fits more.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from server.errors import MldbError
from server.learning.configurations import Glz, Link
from server.learning.design import Columns, columns_for, expand, fit_weights, targets_of
from server.learning.examples import Examples, Tick, part_of
from server.learning.glm import Doubles, Solve, irls
from server.learning.glz import GlzModel
from server.learning.glz_wide import fit_wide
from server.learning.matrix import Floats, dense_chunks

_MAX_DENSE = 4096  # columns up to which the normal matrix is formed
_SMALL = 1e9  # multiplications in a round up to which threads wait for each other longer than they work
_DEPENDENT = 1e-9  # share of a column's length that must be its own


def train_glz(config: Glz, examples: Examples, rng: np.random.Generator, tick: Tick) -> GlzModel:
    """Fit a linear model for each label (one, in regression); ``MldbError`` for numbers that the link cannot give."""
    if examples.regression:
        _check_numbers(config.link_function, examples.labels)
    columns = columns_for(examples.space)
    if config.feature_proportion < 1:
        drawn = np.flatnonzero(rng.random(len(columns)) < config.feature_proportion)
        columns = columns.take(drawn if len(drawn) else np.arange(min(1, len(columns))))
    if len(columns) > _MAX_DENSE:
        weights = fit_wide(config, examples, columns, tick)
    else:
        with _threads(len(examples), len(columns)):
            weights = _fit(config, examples, columns, tick)
    return GlzModel(columns, weights, config.add_bias, config.link_function, config.decode, len(examples.space))


def _check_numbers(link: Link, numbers: Floats) -> None:
    low, high = float(numbers.min()), float(numbers.max())
    if link != "linear" and (low < 0 or (link != "log" and high > 1)):
        possible = "from 0 up" if link == "log" else "from 0 to 1"
        raise MldbError(
            f"A glz with the link function '{link}' predicts numbers {possible}, but the labels go from {low:g} to "
            f'{high:g}: set "link_function" to "linear" (algorithm \'glz_linear\')'
        )


def _fit(config: Glz, examples: Examples, columns: Columns, tick: Tick) -> Floats:
    design = np.concatenate([expand(chunk, columns) for _, chunk in dense_chunks(examples.matrix)])
    scaling = Scaling.of(design, config)
    design = scaling.apply(design)
    if config.add_bias:
        design = np.concatenate([design, np.ones((len(design), 1))], axis=1)
    kept = _independent(design, config.add_bias) if config.condition else np.arange(design.shape[1])
    design, weights = design[:, kept], fit_weights(examples)
    design, basis = _row_space(config, design)
    rows = []
    targets = targets_of(examples)
    for number, target in enumerate(targets):
        full = np.zeros(len(columns) + config.add_bias)
        fitted = _fit_label(config, design, target, weights, part_of(tick, number, len(targets)))
        full[kept] = fitted if basis is None else basis @ fitted
        rows.append(scaling.undo(full, config.add_bias))
        tick((number + 1) / len(targets))
    return np.array(rows, np.float32)


def _threads(rows: int, columns: int) -> AbstractContextManager[Any]:
    """Small products run on one thread: OpenBLAS spins while it waits, on a busy machine for twenty times the work."""
    from threadpoolctl import threadpool_limits

    limit = 1 if rows * columns * min(rows, columns) <= _SMALL else None
    limits: AbstractContextManager[Any] = threadpool_limits(limit, user_api="blas")
    return limits


def _row_space(config: Glz, design: Doubles) -> tuple[Doubles, Doubles | None]:
    """Fewer examples than columns (2048 features of a picture): the least solution, and the least squared penalty, lie
    in the space of the examples. There the same model costs a small matrix instead of a large one; ``basis @ fitted``
    leads back."""
    rows, columns = design.shape
    if rows >= columns or config.regularization == "l1" or config.regularization_factor < 0:
        return design, None
    basis, triangle = np.linalg.qr(design.T)
    return np.ascontiguousarray(triangle.T), basis


def _fit_label(config: Glz, design: Doubles, target: Doubles, weights: Doubles, tick: Tick) -> Doubles:
    solve = _solver(config)
    if config.link_function == "linear":
        scaled = design * weights[:, None]
        return solve(design.T @ scaled, scaled.T @ target)
    return irls(design, target, weights, config.link_function, solve, tick)


@dataclass(frozen=True)
class Scaling:
    """Columns moved to mean 0 and scaled to standard deviation 1."""

    mean: Doubles
    deviation: Doubles

    @staticmethod
    def of(design: Doubles, config: Glz) -> Scaling:
        if not config.normalize:
            return Scaling(np.zeros(design.shape[1]), np.ones(design.shape[1]))
        # Without a bias to take it up the mean must stay.
        mean = design.mean(axis=0) if config.add_bias else np.zeros(design.shape[1])
        deviation = design.std(axis=0)
        return Scaling(mean, np.where(deviation > 0, deviation, 1.0))

    def apply(self, design: Doubles) -> Doubles:
        return (design - self.mean) / self.deviation

    def undo(self, parameters: Doubles, bias: bool) -> Doubles:
        """Parameters for the columns as they were."""
        out = parameters.copy()
        count = len(self.mean)
        out[:count] /= self.deviation
        if bias:
            out[count] -= out[:count] @ self.mean
        return out


def _solver(config: Glz) -> Solve:
    factor = config.regularization_factor
    if config.regularization == "none":
        return _least_squares
    if config.regularization == "l2":
        return lambda normal, right: _ridge(normal, right, factor)
    return lambda normal, right: _lasso(normal, right, factor, config)


def _least_squares(normal: Doubles, right: Doubles) -> Doubles:
    """The shortest solution of the normal equations: columns may depend on one another."""
    return np.asarray(np.linalg.lstsq(normal, right, rcond=1e-12)[0], np.float64)


def _automatic(normal: Doubles) -> float:
    return 1e-5 * float(np.trace(normal)) / max(len(normal), 1)


def _ridge(normal: Doubles, right: Doubles, factor: float) -> Doubles:
    factor = _automatic(normal) if factor < 0 else factor
    try:
        return np.asarray(np.linalg.solve(normal + factor * np.eye(len(normal)), right), np.float64)
    except np.linalg.LinAlgError:
        return _least_squares(normal, right)


def _lasso(normal: Doubles, right: Doubles, factor: float, config: Glz) -> Doubles:
    """Coordinate descent for the least of |y - Xb|^2 + factor * |b|_1."""
    limit = (_automatic(normal) if factor < 0 else factor) / 2
    parameters = np.zeros(len(right))
    gradient = right.copy()  # X'(y - Xb), kept up to date
    diagonal = np.diag(normal)
    for _ in range(config.max_regularization_iteration):
        largest = 0.0
        for at in np.flatnonzero(diagonal > 0).tolist():
            before = parameters[at]
            pull = gradient[at] + diagonal[at] * before
            after = np.sign(pull) * np.maximum(np.abs(pull) - limit, 0.0) / diagonal[at]
            if after != before:
                gradient -= normal[:, at] * (after - before)
                parameters[at] = after
                largest = max(largest, abs(after - before))
        # The spec's epsilon is a tolerance on fitted values; parameters must be nearer by far for them to agree.
        if largest <= config.regularization_epsilon * 1e-3:
            break
    return parameters


def _independent(design: Doubles, bias: bool) -> NDArray[np.int64]:
    """Columns that do not depend linearly on later ones (the bias, the last, always stays)."""
    count = design.shape[1]
    basis: list[Doubles] = []
    kept = []
    for at in reversed(range(count)):
        rest = design[:, at].copy()
        length = float(np.linalg.norm(rest))
        for direction in basis:
            rest -= direction * (direction @ rest)
        own = float(np.linalg.norm(rest))
        if (bias and at == count - 1) or own > _DEPENDENT * max(length, 1e-300):
            kept.append(at)
            basis.append(rest / own)
    return np.array(kept[::-1], np.int64)
