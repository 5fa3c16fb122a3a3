"""Design matrices of linear models and networks: the columns that features give (entity-types.md §6.3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from server.learning.examples import Examples
from server.learning.glm import Doubles
from server.learning.matrix import Floats
from server.learning.saved import WHOLE, places, require

if TYPE_CHECKING:
    from server.learning.archive import Archive
    from server.learning.feature_space import FeatureSpace

VALUE, VALUE_IF_PRESENT, PRESENCE, EQUALS = range(4)


@dataclass(frozen=True)
class Columns:
    """The columns that features give: feature, kind (VALUE …) and, for EQUALS, the category's index."""

    feature: NDArray[np.int32]
    kind: NDArray[np.int8]
    category: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.feature)

    def save(self, archive: Archive) -> None:
        for name in ("feature", "kind", "category"):
            archive.put(name, getattr(self, name))

    @staticmethod
    def load(archive: Archive) -> Columns:
        feature = archive.get("feature", WHOLE, None)
        kind, category = (archive.get(name, WHOLE, len(feature)) for name in ("kind", "category"))
        return Columns(feature, places("kind", kind, EQUALS + 1), category)

    def check(self, space: FeatureSpace) -> None:
        """``MldbError`` unless they are columns of these features."""
        places("feature", self.feature, len(space))
        sizes = np.array([len(each.categories or ()) for each in space.features], np.int64)
        equals = self.kind == EQUALS
        known = (self.category[equals] >= 0) & (self.category[equals] < sizes[self.feature[equals]])
        require(known.all(), "the array 'category' points outside of what it belongs to")

    def take(self, chosen: NDArray[Any]) -> Columns:
        return Columns(self.feature[chosen], self.kind[chosen], self.category[chosen])


def columns_for(space: FeatureSpace) -> Columns:
    """All columns of a feature space, in feature order."""
    rows: list[tuple[int, int, int]] = []
    for number, feature in enumerate(space.features):
        if feature.categories is not None:
            rows.extend((number, EQUALS, code) for code in range(len(feature.categories)))
            continue
        rows.append((number, VALUE, 0))
        if feature.optional:
            rows.append((number, PRESENCE, 0))
    table = np.array(rows, np.int32).reshape(-1, 3)
    return Columns(table[:, 0], table[:, 1].astype(np.int8), table[:, 2])


def expand(matrix: Floats, columns: Columns) -> Doubles:
    """The design matrix (without bias) of dense rows."""
    x = matrix[:, columns.feature]
    missing = np.isnan(x)
    out = np.where(missing, 0.0, x).astype(np.float64)
    presence, equals = columns.kind == PRESENCE, columns.kind == EQUALS
    out[:, presence] = ~missing[:, presence]
    out[:, equals] = x[:, equals] == columns.category[equals]
    return out


def targets_of(examples: Examples) -> list[Doubles]:
    """What each label's linear model is to predict."""
    if examples.regression:
        return [examples.labels.astype(np.float64)]
    return [(examples.labels == label).astype(np.float64) for label in range(examples.label_count)]


def fit_weights(examples: Examples) -> Doubles:
    """Weights of the rows: in regression 1 on average, as the size of a penalty is relative to them."""
    weights = examples.row_weights.astype(np.float64)
    return weights * (len(weights) / weights.sum()) if examples.regression else weights
