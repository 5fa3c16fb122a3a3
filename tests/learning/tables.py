"""Small tables that the tests of learning share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from server.declarations import NamedBatch
from server.learning.examples import Examples, normalized
from server.learning.feature_space import Feature, FeatureSpace
from server.values.arrow_types import ARROW_TYPES
from server.values.atoms import Atom
from server.values.batches import Cell, Column, RowBatch, RowType
from server.values.cells import any_array, cells_array
from server.values.cityhash import hash_path
from server.values.kinds import Kind
from server.values.paths import parse_path


def space(*names: str, optional: bool = True, **categories: tuple[str, ...]) -> FeatureSpace:
    """Numeric features, and categorical ones by keyword."""
    numeric = [Feature(name, None, optional, hash_path(parse_path(name))) for name in names]
    texts = [Feature(name, listed, optional, hash_path((name,))) for name, listed in categories.items()]
    return FeatureSpace(tuple(numeric + texts))


def examples(matrix: object, labels: Sequence[float], count: int, names: Sequence[str] = ()) -> Examples:
    """Equally weighted rows; ``count`` labels, 1 for regression."""
    dense = np.asarray(matrix, np.float32)
    listed = names or [f"x{number}" for number in range(dense.shape[1])]
    numbers = np.asarray(labels, np.float32 if count == 1 else np.int64)
    return Examples(space(*listed), dense, numbers, count, normalized(np.ones(len(numbers))))


def rings(rows: int = 400, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Two features whose distance from the middle decides: no line separates the labels."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 2)).astype(np.float32)
    return x, ((x**2).sum(axis=1) > 1.4).astype(np.int64)


def batch(names: Sequence[str], columns: dict[str, Sequence[Atom]], rest: Sequence[Sequence[Cell]] = ()) -> NamedBatch:
    """Rows of a query: columns of one kind each (mixed ones as ANY), and open cells."""
    kinds = {name: kind_of(values) for name, values in columns.items()}
    arrays = [
        any_array(values) if kinds[name] is Kind.ANY else pa.array(values, ARROW_TYPES[kinds[name]])
        for name, values in columns.items()
    ]
    listed = tuple(Column(parse_path(name), kinds[name]) for name in columns)
    cells = cells_array(rest) if rest else None
    return NamedBatch(pa.array(names), RowBatch(RowType(listed, bool(rest)), len(names), arrays, (), cells))


def kind_of(values: Sequence[Atom]) -> Kind:
    found = {type(value) for value in values if value is not None}
    if found <= {int}:
        return Kind.INTEGER
    if found <= {int, float}:
        return Kind.NUMBER
    return Kind.STRING if found == {str} else Kind.ANY


def auc(scores: np.ndarray, labels: np.ndarray) -> float:
    """Share of the pairs that are in the right order; ties count half."""
    positive, negative = scores[labels == 1], scores[labels == 0]
    difference = positive[:, None] - negative[None, :]
    return float(((difference > 0) + 0.5 * (difference == 0)).mean())
