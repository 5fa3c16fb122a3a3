"""Singular value decomposition of rows of mixed columns (entity-types.md §3.17). Nothing here knows the server.

Columns become *virtual* ones: a column of differing numbers one that holds the number, any other a column of 0 and 1
for each of its values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from server.errors import MldbError
from server.learning.archive import Archive
from server.learning.examples import Tick
from server.learning.feature_space import FeatureSpace
from server.learning.matrix import Floats, Matrix, Sparse
from server.learning.saved import FLOATS, member
from server.values.atoms import collapse, number_text
from server.values.paths import quote_element

Doubles = NDArray[np.float64]
_MAX_DENSE = 2000  # virtual columns up to which the correlations are decomposed as a whole
_SINGLE = 1e-10  # share of the largest eigenvalue below which single precision might not tell others from its rounding
_FLAT = 1e-12  # share of the largest eigenvalue below which nothing is left
_SEED = 1
_SPARE = 20  # further directions, which make those that are wanted exact sooner
_ROUNDS = 5
_FEW_ENTRIES = 1 << 16  # for which scipy need not be loaded


@dataclass(frozen=True)
class VirtualColumns:
    """The virtual columns of a feature space.

    ``first[f]`` is the first one of feature f. ``numbers[f]`` is the one number of a feature that never varied, NaN
    for others. ``mean`` and ``scale`` standardize each virtual column.
    """

    space: FeatureSpace
    first: NDArray[np.int64]
    numbers: Doubles
    mean: Doubles
    scale: Doubles

    @property
    def count(self) -> int:
        return len(self.mean)

    def names(self) -> list[str]:
        """Row names of the columns' output, as texts of paths."""
        found: list[str] = []
        for feature, number in zip(self.space.features, self.numbers.tolist(), strict=True):
            if feature.categories is not None:
                texts = (text.replace("\0", "\N{REPLACEMENT CHARACTER}") for text in feature.categories)
                ends = (f"stringEquals.{quote_element(text)}" if text else "stringEmpty" for text in texts)
                found += [f"{feature.name}.{end}" for end in ends]
            elif number != number:
                found.append(f"{feature.name}.numericValue")
            else:
                found.append(f"{feature.name}.numberEquals.{quote_element(number_text(collapse(number)))}")
        return found

    def entries(
        self, matrix: Matrix, accept_unknown: bool = True
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], Doubles]:
        """Row, virtual column and (standardized) value of what is present; ``MldbError`` for values never seen."""
        rows, features, values = _present(matrix)
        value = values.astype(np.float64)
        category = np.array([feature.categories is not None for feature in self.space.features], np.bool_)
        constant = self.numbers[features] if len(features) else np.zeros(0)
        is_text = category[features] if len(features) else np.zeros(0, np.bool_)
        is_constant = ~is_text & ~np.isnan(constant)
        unknown = (is_text & (value < 0)) | (is_constant & (value != constant.astype(np.float32)))
        if unknown.any() and not accept_unknown:
            raise self._unseen(int(features[unknown][0]), float(value[unknown][0]))
        virtual = self.first[features] + np.where(is_text, value, 0).astype(np.int64)
        value = np.where(is_text | is_constant, 1.0, value)
        keep = ~unknown
        virtual, value = virtual[keep], value[keep]
        return rows[keep], virtual, (value - self.mean[virtual]) / self.scale[virtual]

    def _unseen(self, feature: int, value: float) -> MldbError:
        name = self.space.features[feature].name
        shown = f"'{number_text(collapse(value))}' " if value >= 0 else ""
        return MldbError(
            f"Column '{name}' was passed a value {shown}that was never seen in training when passed to SVD"
        )


def _present(matrix: Matrix) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
    if isinstance(matrix, Sparse):
        return matrix.rows(), matrix.columns.astype(np.int64), matrix.values
    rows, features = np.nonzero(~np.isnan(matrix))
    return rows, features, matrix[rows, features]


def virtual_columns(space: FeatureSpace, matrix: Matrix) -> VirtualColumns:
    """The virtual columns of training rows; numbers that every row has are standardized."""
    _, features, values = _present(matrix)
    if np.isinf(values).any():
        name = space.features[int(features[np.isinf(values)].min())].name
        raise MldbError(f"Column '{name}' holds an infinite number: SVD needs finite ones")
    count = len(space)
    value = values.astype(np.float64)
    present = np.bincount(features, minlength=count)
    some = np.zeros(count)
    some[features] = value
    category = np.array([feature.categories is not None for feature in space.features], np.bool_)
    differing = ~category & (np.bincount(features, value != some[features], count) > 0)
    whole = differing & (present == matrix.shape[0])
    mean = np.where(whole, np.bincount(features, value, count) / np.maximum(present, 1), 0.0)
    squares = np.bincount(features, (value - mean[features]) ** 2, count) / np.maximum(present, 1)
    scale = np.where(whole, np.sqrt(squares), 1.0)
    sizes = _sizes(space)
    numbers = np.where(differing | category, np.nan, some)
    return VirtualColumns(space, _starts(sizes), numbers, np.repeat(mean, sizes), np.repeat(scale, sizes))


def _sizes(space: FeatureSpace) -> NDArray[np.int64]:
    """How many virtual columns each feature becomes."""
    return np.array([1 if each.categories is None else len(each.categories) for each in space.features], np.int64)


def _starts(sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(sizes)])[:-1].astype(np.int64)


@dataclass(frozen=True)
class SvdModel:
    """``vectors`` has a row per virtual column; ``singular`` are the singular values, largest first."""

    columns: VirtualColumns
    vectors: Floats
    singular: Doubles

    @property
    def size(self) -> int:
        return len(self.singular)

    @cached_property
    def _scaled(self) -> Doubles:
        return np.asarray(self.vectors / self.singular)

    def embed(self, matrix: Matrix, accept_unknown: bool = True) -> Floats:
        """Coordinates of rows."""
        rows, virtual, values = self.columns.entries(matrix, accept_unknown)
        out = np.zeros((matrix.shape[0], self.size))
        if len(rows) > _FEW_ENTRIES:
            from scipy import sparse

            out += sparse.csr_matrix((values, (rows, virtual)), (matrix.shape[0], self.columns.count)) @ self._scaled
        else:
            np.add.at(out, rows, values[:, None] * self._scaled[virtual])
        return out.astype(np.float32)

    def save(self, archive: Archive) -> dict[str, Any]:
        columns = self.columns
        for name in ("numbers", "mean", "scale"):
            archive.put(name, getattr(columns, name))
        archive.put("vectors", self.vectors)
        archive.put("singular", self.singular)
        return {"space": columns.space.to_json()}

    @staticmethod
    def load(state: Mapping[str, Any], archive: Archive, limit: int = -1) -> SvdModel:
        """``limit``: use so many singular values only; -1 all."""
        space = FeatureSpace.from_json(member(state, "space", dict[str, Any]))
        sizes = _sizes(space)
        numbers = archive.get("numbers", FLOATS, len(space))
        mean, scale = (archive.get(name, FLOATS, int(sizes.sum())) for name in ("mean", "scale"))
        singular = archive.get("singular", FLOATS, None)
        vectors = archive.get("vectors", FLOATS, len(mean), len(singular))
        size = len(singular) if limit < 0 else min(limit, len(singular))
        return SvdModel(VirtualColumns(space, _starts(sizes), numbers, mean, scale), vectors[:, :size], singular[:size])


def decompose(space: FeatureSpace, matrix: Matrix, wanted: int, tick: Tick) -> SvdModel:
    """At most ``wanted`` singular values and vectors; none of a single virtual column, which has no structure."""
    columns = virtual_columns(space, matrix)
    tick(0.2)
    if columns.count < 2 or wanted < 1:
        return SvdModel(columns, np.zeros((columns.count, 0), np.float32), np.zeros(0))
    from scipy import sparse

    rows, virtual, values = columns.entries(matrix)
    design = sparse.csr_matrix((values, (rows, virtual)), shape=(matrix.shape[0], columns.count))
    tick(0.4)
    eigen, vectors = _eigenvectors(
        design, min(wanted, columns.count, matrix.shape[0]), lambda share: tick(0.4 + share * 0.6)
    )
    kept = eigen > _FLAT * max(float(eigen.max(initial=0)), 0.0)
    tick(1.0)
    return SvdModel(columns, vectors[:, kept].astype(np.float32), np.sqrt(eigen[kept]))


def _eigenvectors(design: Any, wanted: int, tick: Tick) -> tuple[Doubles, Doubles]:
    """The largest eigenvalues of the correlations and their vectors, whose largest component is positive."""
    if design.shape[1] <= _MAX_DENSE or wanted >= min(design.shape) - 1:
        values, vectors = np.linalg.eigh((design.T @ design).toarray())
    else:
        values, vectors = _by_subspace(design, wanted, tick)
    order = np.argsort(-values)[:wanted]
    values, vectors = values[order], vectors[:, order]
    largest = vectors[np.abs(vectors).argmax(axis=0), np.arange(len(values))]
    return np.maximum(values, 0), vectors * np.where(largest < 0, -1.0, 1.0)


def _by_subspace(design: Any, wanted: int, tick: Tick) -> tuple[Doubles, Doubles]:
    """Eigenvalues and vectors of the correlations by subspace iteration from a random start (Halko, SIAM Review 2011).

    Only the shorter side is kept orthogonal between rounds: of a million columns nothing is factorized. The rounds are
    in single precision, which is twice as fast, unless the eigenvalues wanted turn out to be of too different sizes.
    """
    wide = design.shape[1] > design.shape[0]
    short = design if wide else design.T.tocsr()
    size = min(wanted + max(_SPARE, wanted // 4), short.shape[0])
    for precision in (np.float32, np.float64):
        basis = _subspace(short, size, precision, tick)
        projected = short.T @ basis
        values, mixing = np.linalg.eigh(projected.T @ projected)
        if values[-wanted] > _SINGLE * values[-1]:
            break
    if not wide:
        return values, basis @ mixing
    kept = values > _FLAT * max(float(values[-1]), 0.0)
    return values[kept], projected @ (mixing[:, kept] / np.sqrt(values[kept]))


def _subspace(short: Any, size: int, precision: type[np.floating[Any]], tick: Tick) -> Doubles:
    """An orthogonal basis of the directions in which a matrix is largest, by rounds in a precision."""
    from scipy import linalg
    from threadpoolctl import threadpool_limits

    def orthogonal(vectors: NDArray[Any]) -> NDArray[Any]:
        # scipy's is five times faster than NumPy's, which copies.
        return np.asarray(linalg.qr(vectors, mode="economic", check_finite=False)[0])

    largest = float(np.abs(short.data).max(initial=0)) or 1.0
    short = (short / largest).astype(precision)
    long = short.T.tocsr()
    basis = np.random.default_rng(_SEED).normal(size=(short.shape[0], size)).astype(precision)
    # Factorizing so few columns on several threads is waiting for each other, on a busy machine for seconds.
    with threadpool_limits(1):
        for number in range(_ROUNDS):
            basis = orthogonal(short @ (long @ basis))
            tick((number + 1) / _ROUNDS)
        return orthogonal(basis.astype(np.float64))
