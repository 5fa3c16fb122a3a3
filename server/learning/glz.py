"""Generalized linear classifiers: a linear model per label, through a link (entity-types.md §6.3).

A numeric feature gives its value (0 when missing) and, when some row lacks it, a column that says whether it is
there; a categorical feature gives a column per category.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from server.errors import MldbError
from server.learning.attribution import through_link
from server.learning.columns import single
from server.learning.configurations import Glz, Link
from server.learning.design import (
    EQUALS,
    PRESENCE,
    VALUE,
    VALUE_IF_PRESENT,
    Columns,
    columns_for,
    expand,
    fit_weights,
    targets_of,
)
from server.learning.examples import Examples, Explanation, Tick, part_of
from server.learning.glm import LINKS, Doubles, Solve, irls
from server.learning.glz_wide import fit_wide
from server.learning.matrix import Floats, Matrix, Sparse, dense_chunks
from server.learning.model_types import model_type
from server.learning.saved import FLOATS, checked, member, require

if TYPE_CHECKING:
    from server.learning.archive import Archive
    from server.learning.feature_space import FeatureSpace

_EXTRACTS = ("VALUE", "VALUE", "PRESENCE", "VALUE_EQUALS")
_MAX_DENSE = 4096  # columns up to which the normal matrix is formed
_SMALL = 1e9  # multiplications in a round up to which threads wait for each other longer than they work
_DEPENDENT = 1e-9  # share of a column's length that must be its own


@model_type
@dataclass(frozen=True)
class GlzModel:
    """``weights`` has a row per label: one number per column, then the bias when there is one."""

    columns: Columns
    weights: Floats
    add_bias: bool
    link: Link
    decode: bool
    width: int
    type = "glz"

    @cached_property
    def _by_feature(self) -> tuple[Doubles, Doubles, dict[int, Doubles]]:
        """Weights [feature, label] of values and of presence, and per categorical feature [category, label]."""
        labels = len(self.weights)
        values, presence = np.zeros((self.width, labels)), np.zeros((self.width, labels))
        weights = self.weights.astype(np.float64)[:, : len(self.columns)].T
        plain = np.isin(self.columns.kind, (VALUE, VALUE_IF_PRESENT))
        np.add.at(values, self.columns.feature[plain], weights[plain])
        there = self.columns.kind == PRESENCE
        np.add.at(presence, self.columns.feature[there], weights[there])
        tables: dict[int, Doubles] = {}
        equals = np.flatnonzero(self.columns.kind == EQUALS)
        for feature in np.unique(self.columns.feature[equals]).tolist():
            mine = equals[self.columns.feature[equals] == feature]
            table = np.zeros((int(self.columns.category[mine].max()) + 1, labels))
            table[self.columns.category[mine]] = weights[mine]
            tables[feature] = table
        return values, presence, tables

    @property
    def _bias(self) -> Doubles:
        return self.weights[:, -1].astype(np.float64) if self.add_bias else np.zeros(len(self.weights))

    def scores(self, matrix: Matrix) -> Floats:
        if isinstance(matrix, Sparse) and not self._by_feature[2]:
            predictor = self._sparse_predictor(matrix)
        else:
            predictor = np.concatenate(
                [self._predictor(chunk) for _, chunk in dense_chunks(matrix)] or [np.zeros((0, len(self.weights)))]
            )
        predictor += self._bias
        return single(LINKS[self.link].inverse(predictor) if self.decode else predictor)

    def _predictor(self, matrix: Floats) -> Doubles:
        values, presence, tables = self._by_feature
        missing = np.isnan(matrix)
        out = np.where(missing, 0, matrix).astype(np.float64) @ values
        if presence.any():
            out += ~missing @ presence
        for feature, table in tables.items():
            out += _look_up(table, matrix[:, feature])
        return out

    def _sparse_predictor(self, matrix: Sparse) -> Doubles:
        values, presence, _ = self._by_feature
        rows = matrix.rows()
        return np.stack(
            [
                np.bincount(
                    rows,
                    matrix.values * values[matrix.columns, label] + presence[matrix.columns, label],
                    matrix.shape[0],
                )
                for label in range(len(self.weights))
            ],
            axis=1,
        )

    def explain(self, matrix: Floats, label: int) -> Explanation:
        """Weight times value; where scores are decoded, each one's share of what the link makes of the sum."""
        values, presence, tables = self._by_feature
        missing = np.isnan(matrix)
        weights = np.where(missing, 0, matrix * values[:, label] + presence[:, label])
        for feature, table in tables.items():
            weights[:, feature] = _look_up(table[:, label : label + 1], matrix[:, feature])[:, 0]
        used = np.zeros(matrix.shape, np.bool_)
        used[:, np.unique(self.columns.feature)] = True
        bias = np.full(len(matrix), self._bias[label], np.float32)
        explained = Explanation(bias, weights.astype(np.float32), used & ~missing)
        return through_link(explained, self.link) if self.decode else explained

    def describe(self, space: FeatureSpace) -> dict[str, Any]:
        features = []
        for feature, kind, category in zip(self.columns.feature, self.columns.kind, self.columns.category, strict=True):
            entry = {"feature": space.features[feature].name, "extract": _EXTRACTS[kind]}
            categories = space.features[feature].categories
            if kind == EQUALS and categories is not None:
                entry["category"] = categories[category]
            features.append(entry)
        params = {
            "addBias": self.add_bias, "features": features,
            "link": self.link.upper(), "weights": self.weights.tolist(),
        }  # fmt: skip
        return {"type": "GLZ", "params": params}

    def save(self, archive: Archive) -> dict[str, Any]:
        self.columns.save(archive)
        archive.put("weights", self.weights)
        return {"addBias": self.add_bias, "link": self.link, "decode": self.decode, "width": self.width}

    @classmethod
    def load(cls, state: Mapping[str, Any], archive: Archive) -> GlzModel:
        columns, add_bias = Columns.load(archive), member(state, "addBias", bool)
        weights = archive.get("weights", FLOATS, None, len(columns) + add_bias)
        link, decode = member(state, "link", Link), member(state, "decode", bool)
        return cls(columns, weights, add_bias, link, decode, member(state, "width", int))

    def check(self, space: FeatureSpace, labels: int) -> None:
        self.columns.check(space)
        checked("weights", self.weights, FLOATS, (labels, None))
        require(self.width == len(space), "its width is not that of its features")


def _look_up(table: Doubles, codes: Floats) -> Doubles:
    """Rows of a table by category; zeros for what is missing or unknown."""
    known = (codes >= 0) & (codes < len(table))
    at = np.where(known, codes, 0).astype(np.int64)
    return np.where(known[:, None], table[at], 0.0)


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
