"""Weighted sums of models, and the constant model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from server.learning.examples import Examples, Explanation, Model, Tick
from server.learning.matrix import Floats, Matrix
from server.learning.model_types import load_model, model_type, save_model
from server.learning.saved import FLOATS, checked, member, require
from server.learning.trees import TreeEnsemble

if TYPE_CHECKING:
    from server.learning.archive import Archive
    from server.learning.configurations import Null
    from server.learning.feature_space import FeatureSpace


@model_type
@dataclass(frozen=True)
class Committee:
    """The weighted sum of models of any type."""

    members: Sequence[Model]
    weights: Floats
    type = "committee"

    def scores(self, matrix: Matrix) -> Floats:
        total = sum(
            member.scores(matrix).astype(np.float64) * weight
            for member, weight in zip(self.members, self.weights.tolist(), strict=True)
        )
        return np.asarray(total, np.float32)

    def explain(self, matrix: Floats, label: int) -> Explanation:
        parts = [member.explain(matrix, label) for member in self.members]
        pairs = list(zip(parts, self.weights, strict=True))
        return Explanation(
            np.sum([part.bias * weight for part, weight in pairs], axis=0, dtype=np.float32),
            np.sum([part.weights * weight for part, weight in pairs], axis=0, dtype=np.float32),
            np.any([part.used for part in parts], axis=0),
        )

    def describe(self, space: FeatureSpace) -> dict[str, Any]:
        members = [member.describe(space) for member in self.members]
        return {"type": "COMMITTEE", "params": {"weights": self.weights.tolist(), "classifiers": members}}

    def save(self, archive: Archive) -> dict[str, Any]:
        archive.put("weights", self.weights)
        return {
            "members": [save_model(member, archive.child(str(number))) for number, member in enumerate(self.members)]
        }

    @classmethod
    def load(cls, state: Mapping[str, Any], archive: Archive) -> Committee:
        saved = member(state, "members", list[dict[str, Any]])
        members = [load_model(each, archive.child(str(n))) for n, each in enumerate(saved)]
        require(members, "a committee has no members")
        return cls(members, archive.get("weights", FLOATS, len(members)))

    def check(self, space: FeatureSpace, labels: int) -> None:
        for each in self.members:
            each.check(space, labels)


def combine(members: Sequence[Model], weights: Sequence[float]) -> Model:
    """A committee; of trees only, one flat ensemble."""
    trees = [member for member in members if isinstance(member, TreeEnsemble)]
    if len(trees) == len(members):
        return TreeEnsemble.combine(trees, weights)
    return Committee(members, np.asarray(weights, np.float32))


@model_type
@dataclass(frozen=True)
class Constant:
    """The same scores for every row."""

    output: Floats
    type = "null"

    def scores(self, matrix: Matrix) -> Floats:
        return np.tile(self.output, (matrix.shape[0], 1))

    def explain(self, matrix: Floats, label: int) -> Explanation:
        return Explanation(
            np.full(len(matrix), self.output[label], np.float32),
            np.zeros(matrix.shape, np.float32),
            np.zeros(matrix.shape, np.bool_),
        )

    def describe(self, space: FeatureSpace) -> dict[str, Any]:
        return {"type": "NULL", "params": {"output": self.output.tolist()}}

    def save(self, archive: Archive) -> dict[str, Any]:
        archive.put("output", self.output)
        return {}

    @classmethod
    def load(cls, _state: Mapping[str, Any], archive: Archive, /) -> Constant:
        return cls(archive.get("output", FLOATS, None))

    def check(self, space: FeatureSpace, labels: int) -> None:
        checked("output", self.output, FLOATS, (labels,))


def train_null(config: Null, examples: Examples, rng: np.random.Generator, tick: Tick) -> Constant:
    """The weighted share of each label, or the weighted mean."""
    tick(1.0)
    weights = examples.row_weights.astype(np.float64)
    if examples.regression:
        return Constant(np.array([weights @ examples.labels / weights.sum()], np.float32))
    shares = np.bincount(examples.labels, weights, examples.label_count) / weights.sum()
    return Constant(shares.astype(np.float32))
