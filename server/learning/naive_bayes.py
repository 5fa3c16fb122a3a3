"""Naive Bayes over features that are split in two where that separates the labels best (entity-types.md §6.7)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from server.errors import MldbError
from server.learning.attribution import mean_gradient, settled, softmax, softmax_gradient
from server.learning.binning import Binned, Bins
from server.learning.configurations import NaiveBayes
from server.learning.examples import Examples, Explanation, Tick, normalized
from server.learning.matrix import Floats, Matrix, pick_columns
from server.learning.model_types import model_type
from server.learning.saved import FLOATS, TRUTHS, WHOLE, checked, places
from server.learning.split_statistics import SplitStatistics
from server.learning.tree_nodes import check_codes

if TYPE_CHECKING:
    from server.learning.archive import Archive
    from server.learning.feature_space import FeatureSpace


_NEVER = -700.0  # logarithm of a prior that is 0


@model_type
@dataclass(frozen=True)
class NaiveBayesModel:
    """Per split: feature, threshold (a category's index where ``equal``), and ``logs`` [split, true/false, label]."""

    feature: NDArray[np.int32]
    threshold: Floats
    equal: NDArray[np.bool_]
    logs: NDArray[np.float64]
    priors: NDArray[np.float64]
    type = "naive_bayes"

    def _branches(self, matrix: Matrix) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Which splits [row, split] are true, and which false; neither where the feature is missing."""
        x = pick_columns(matrix, self.feature)
        true = np.where(self.equal, x == self.threshold, x < self.threshold)
        there = ~np.isnan(x)
        return true & there, ~true & there

    def scores(self, matrix: Matrix) -> Floats:
        true, false = self._branches(matrix)
        total = true @ self.logs[:, 0] + false @ self.logs[:, 1]
        chances = np.exp(total - total.max(axis=1, keepdims=True)) * self.priors
        return np.asarray(chances / chances.sum(axis=1, keepdims=True), np.float32)

    def explain(self, matrix: Floats, label: int) -> Explanation:
        """The bias is the label's prior; a feature's weight is what its evidence, for all labels, adds to that."""
        true, false = self._branches(matrix)
        moved = true @ self.logs[:, 0] + false @ self.logs[:, 1]
        with np.errstate(divide="ignore"):
            start = np.maximum(np.log(self.priors), _NEVER)
        slope = mean_gradient(start, moved, softmax_gradient(label))
        shares = np.where(true, slope @ self.logs[:, 0].T, np.where(false, slope @ self.logs[:, 1].T, 0.0))
        bias = softmax(start[None])[0, label]
        shares = settled(shares, softmax(start + moved)[:, label] - bias)
        weights, used = np.zeros(matrix.shape, np.float32), np.zeros(matrix.shape, np.bool_)
        weights[:, self.feature] = shares
        used[:, self.feature] = true | false
        return Explanation(np.full(len(matrix), bias, np.float32), weights, used)

    def describe(self, space: FeatureSpace) -> dict[str, Any]:
        features = []
        for number, (feature, threshold) in enumerate(zip(self.feature.tolist(), self.threshold, strict=True)):
            known = space.features[feature]
            value = known.categories[int(threshold)] if known.categories is not None else float(threshold)
            logs = self.logs[number].tolist()
            features.append({"feature": known.name, "value": value, "true": logs[0], "false": logs[1]})
        return {"type": "NAIVE_BAYES", "params": {"priors": self.priors.tolist(), "features": features}}

    def save(self, archive: Archive) -> dict[str, Any]:
        for name in ("feature", "threshold", "equal", "logs", "priors"):
            archive.put(name, getattr(self, name))
        return {}

    @classmethod
    def load(cls, _state: Mapping[str, Any], archive: Archive, /) -> NaiveBayesModel:
        feature = archive.get("feature", WHOLE, None)
        count, priors = len(feature), archive.get("priors", FLOATS, None)
        threshold, equal = archive.get("threshold", FLOATS, count), archive.get("equal", TRUTHS, count)
        return cls(feature, threshold, equal, archive.get("logs", FLOATS, count, 2, len(priors)), priors)

    def check(self, space: FeatureSpace, labels: int) -> None:
        places("feature", self.feature, len(space))
        checked("priors", self.priors, FLOATS, (labels,))
        check_codes(space, self.feature, self.threshold)


def train_naive_bayes(config: NaiveBayes, examples: Examples, rng: np.random.Generator, tick: Tick) -> NaiveBayesModel:
    """A split per feature that has two values at least; ``MldbError`` in regression."""
    if examples.regression:
        raise MldbError("Naive Bayes classifiers do not support regression mode")
    weights = normalized(examples.row_weights)
    statistics = SplitStatistics(examples, weights)
    epsilon = 1 / (len(examples) * examples.label_count)
    splits = []
    bins = Bins(examples.space, examples.matrix)
    for number, binned in enumerate(bins):
        if config.feature_prop >= 1 or rng.random() < config.feature_prop:
            split = _best_split(binned, statistics)
            if split is not None:
                splits.append((number, *split))
        tick((number + 1) / len(bins))
    branches = np.array([split[3] for split in splits]).reshape(len(splits), 2, examples.label_count)
    shares = branches / np.maximum(branches.sum(axis=1, keepdims=True), 1e-300)
    return NaiveBayesModel(
        np.array([split[0] for split in splits], np.int32),
        np.array([split[1] for split in splits], np.float32),
        np.array([split[2] for split in splits], np.bool_),
        np.log(np.maximum(1.0, shares / epsilon)),
        np.bincount(examples.labels, weights, examples.label_count).astype(np.float64),
    )


def _best_split(binned: Binned, statistics: SplitStatistics) -> tuple[float, bool, NDArray[Any]] | None:
    """Threshold, whether it is a category, and the weight [true/false, label] of each side."""
    positive, total = statistics.sums(binned.rows, binned.buckets.astype(np.int64), binned.count)
    whole = positive.sum(axis=0), total.sum(axis=0)
    if binned.thresholds is not None:
        positive, total = positive.cumsum(axis=0), total.cumsum(axis=0)
    others = whole[0] - positive, whole[1] - total
    z = statistics.impurity(positive, total) + statistics.impurity(*others)
    possible = (total.max(axis=1) > 0) & (others[1].max(axis=1) > 1e-12)
    if not possible.any():
        return None
    best = int(np.where(possible, z, np.inf).astype(np.float32).argmin())
    sides = np.stack([positive[best], np.maximum(others[0][best], 0)])
    sides[sides < 1e-12] = 0
    return (best, True, sides) if binned.thresholds is None else (float(binned.thresholds[best]), False, sides)
