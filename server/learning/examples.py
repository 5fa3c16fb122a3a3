"""What a learner is given, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from server.learning.matrix import Floats, Matrix, take_rows

if TYPE_CHECKING:
    from server.learning.archive import Archive
    from server.learning.feature_space import FeatureSpace

Tick = Callable[[float], None]  # called with the share done, 0 to 1


def part_of(tick: Tick, number: int, count: int) -> Tick:
    """What the ``number``-th of ``count`` parts, equally long, tells the whole's progress by."""
    return lambda share: tick((number + share) / count)


@dataclass(frozen=True)
class Examples:
    """Training rows. ``labels`` are label numbers (int64), or the numbers to predict (float32) in regression.

    ``label_count`` is 1 in regression. ``weights`` add up to 1: one per row, or (in boosting) one per row and label.
    """

    space: FeatureSpace
    matrix: Matrix
    labels: NDArray[Any]
    label_count: int
    weights: Floats

    @property
    def regression(self) -> bool:
        return self.label_count == 1

    @property
    def row_weights(self) -> Floats:
        return self.weights if self.weights.ndim == 1 else np.asarray(self.weights.sum(axis=1, dtype=np.float32))

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: NDArray[Any], weights: Floats | None = None) -> Examples:
        """Some rows, with their weights or with these (brought to sum 1)."""
        chosen = self.weights[rows] if weights is None else weights
        return replace(self, matrix=take_rows(self.matrix, rows), labels=self.labels[rows], weights=normalized(chosen))

    def weighted(self, weights: Floats) -> Examples:
        return replace(self, weights=weights)


def normalized(weights: NDArray[Any]) -> Floats:
    """Weights divided by their sum; single precision, summed in row order (the last digits of scores depend on it)."""
    single = weights.astype(np.float32)
    if single.ndim > 1:
        return np.asarray(single / single.sum(dtype=np.float64), np.float32)
    total = np.cumsum(single, dtype=np.float32)[-1] if len(single) else np.float32(1)
    return np.asarray(single / total) if total > 0 else single


@dataclass(frozen=True)
class Explanation:
    """Why each row scored as it did for one label: ``bias`` + the row's ``weights`` = score.

    ``weights`` has a column per feature; ``used`` marks those that took part.
    """

    bias: Floats
    weights: Floats
    used: NDArray[np.bool_]


class Model(Protocol):
    """A trained model. ``type`` names it in model files."""

    type: str

    def scores(self, matrix: Matrix) -> Floats:
        """A row per example, a column per label (one in regression)."""

    def explain(self, matrix: Floats, label: int) -> Explanation:
        """``MldbError`` when this kind of model cannot be explained."""

    def describe(self, space: FeatureSpace) -> dict[str, Any]:
        """The model in JSON, for people and for ``details``."""

    def save(self, archive: Archive) -> dict[str, Any]:
        """Put the arrays into the archive; the rest, with references to them, as JSON."""

    @classmethod
    def load(cls, state: Mapping[str, Any], archive: Archive, /) -> Model:
        """The model that ``save`` wrote; ``MldbError`` where a part is missing or not of its type and shape."""

    def check(self, space: FeatureSpace, labels: int) -> None:
        """``MldbError`` unless it is a model of these features that has so many scores."""
