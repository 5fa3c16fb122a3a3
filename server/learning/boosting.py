"""AdaBoost.MH over any learner, and boosted stumps (entity-types.md §6.3). Regression: each round fits what is left.

Every example has a weight for each label. A round multiplies the weight by exp(-p) where the label is the right one
and by exp(p) where it is not, p being the round's score; the result is the plain sum of the rounds kept.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from server.errors import MldbError
from server.learning.committee import combine
from server.learning.configurations import BoostedStumps, Boosting, DecisionTree, Learner
from server.learning.decision_tree import Grower
from server.learning.examples import Examples, Model, Tick
from server.learning.matrix import Floats
from server.learning.trees import TreeEnsemble

TrainAny = Callable[[Learner, Examples, np.random.Generator, Tick], Model]
# Rows x labels, 0 for any number: 250 million take some 8 GB while a round is under way. The setting boosting-weights.
MOST_WEIGHTS = 250_000_000
_LARGEST_STEP = 30.0  # exp of more than that would drown every other weight


@dataclass
class _Validation:
    """The rows that choose the best round; the training rows themselves when none were set aside."""

    examples: Examples
    sums: NDArray[Any]
    best: float = -np.inf
    kept: int = 0

    @staticmethod
    def over(examples: Examples) -> _Validation:
        return _Validation(examples, np.zeros((len(examples), examples.label_count)))

    def add(self, model: Model, round_: int) -> None:
        self.sums += model.scores(self.examples.matrix)
        quality = self._quality()
        if quality > self.best:
            self.best, self.kept = quality, round_

    def _quality(self) -> float:
        weights = self.examples.row_weights.astype(np.float64)
        if self.examples.regression:
            return -float(weights @ (self.sums[:, 0] - self.examples.labels) ** 2)
        # A tie with the right label counts as half a success, as a coin would decide it.
        right = self.sums[np.arange(len(weights)), self.examples.labels]
        others = self.sums.copy()
        others[np.arange(len(weights)), self.examples.labels] = -np.inf
        highest = others.max(axis=1)
        return float(weights @ ((right > highest) + 0.5 * (right == highest)))


@dataclass
class _Booster:
    """Training under way: the examples, their weights per label, and the rounds so far."""

    config: Boosting | BoostedStumps
    examples: Examples
    round: Callable[[Examples], tuple[Model, Floats]]  # train one model: it, and its scores of the training rows
    models: list[Model] = field(default_factory=list)

    def __post_init__(self) -> None:
        weights = self.examples.row_weights
        if not self.examples.regression:
            weights = np.tile(weights[:, None] / self.examples.label_count, (1, self.examples.label_count))
        self.current = self.examples.weighted(weights.astype(np.float32))

    def run(self, validation: _Validation, tick: Tick) -> Model:
        config = self.config
        for number in range(1, config.max_iter + 1):
            model, scores = self.round(self.current)
            self.models.append(model)
            self._reweight(scores)
            validation.add(model, number)
            tick(number / config.max_iter)
            stalled = config.short_circuit_window and number - validation.kept >= config.short_circuit_window
            if number >= config.min_iter and (stalled or self._exhausted(scores)):
                break
        kept = max(validation.kept, min(config.min_iter, len(self.models)), 1)
        return combine(self.models[:kept], [1.0] * kept)

    def _reweight(self, scores: Floats) -> None:
        if self.examples.regression:
            self.current = replace(self.current, labels=self.current.labels - scores[:, 0])
            return
        signs = np.ones(scores.shape)
        signs[np.arange(len(scores)), self.examples.labels] = -1
        with np.errstate(under="ignore"):
            step = np.clip(signs * scores, -_LARGEST_STEP, _LARGEST_STEP)
            factor = 1 / (1 + np.exp(-step)) if self.config.cost_function == "logistic" else np.exp(step)
            weights = self.current.weights * factor
        self.current = self.current.weighted((weights / weights.sum()).astype(np.float32))

    def _exhausted(self, scores: Floats) -> bool:
        """Nothing is left to learn: a round that says nothing will be followed by its like."""
        return not bool(scores.any())


def _round_of_trees(config: DecisionTree, examples: Examples, rng: np.random.Generator) -> Callable[..., Any]:
    """Trees: the rows are put into buckets once, and their scores read off the leaves they grew in."""
    grower = Grower(examples)

    def train(current: Examples) -> tuple[TreeEnsemble, Floats]:
        grower.examples = current
        tree, leaf = grower.grow(
            current.weights,
            max_depth=config.max_depth,
            update=config.update_alg,
            feature_share=config.random_feature_propn,
            rng=rng,
        )
        if (leaf >= 0).all():
            return tree, tree.nodes.values[leaf]
        return tree, tree.scores(current.matrix)

    return train


def _round_of_any(learner: Learner, train_any: TrainAny, rng: np.random.Generator) -> Callable[..., Any]:
    def train(current: Examples) -> tuple[Model, Floats]:
        model = train_any(learner, current, rng, lambda _: None)
        return model, model.scores(current.matrix)

    return train


def train_boosting(
    config: Boosting,
    examples: Examples,
    rng: np.random.Generator,
    tick: Tick,
    train_any: TrainAny,
    held_out: Examples | None,
) -> Model:
    """Boost the weak learner. ``held_out``: rows that choose the best round (else ``validate_split`` of them do)."""
    learner = config.weak_learner
    return _boost(
        config,
        examples,
        rng,
        tick,
        lambda training: (
            _round_of_trees(learner, training, rng)
            if isinstance(learner, DecisionTree)
            else _round_of_any(learner, train_any, rng)
        ),
        held_out,
    )


def train_boosted_stumps(
    config: BoostedStumps,
    examples: Examples,
    rng: np.random.Generator,
    tick: Tick,
    held_out: Examples | None,
) -> Model:
    """Boost trees of one split."""
    stump = DecisionTree(
        type="decision_tree", max_depth=1, update_alg=config.update_alg, random_feature_propn=config.feature_prop
    )
    return _boost(config, examples, rng, tick, lambda training: _round_of_trees(stump, training, rng), held_out)


def _boost(
    config: Boosting | BoostedStumps,
    examples: Examples,
    rng: np.random.Generator,
    tick: Tick,
    rounds: Callable[[Examples], Callable[..., Any]],
    held_out: Examples | None,
) -> Model:
    if 0 < MOST_WEIGHTS < len(examples) * examples.label_count:
        raise MldbError(
            f"Boosting has a weight for each row and label: {len(examples)} rows x {examples.label_count} labels are "
            f"more than the {MOST_WEIGHTS} that the setting boosting-weights allows. Train on fewer rows, or without "
            "boosting: bags of trees ('bdt'), one tree ('dt'), 'glz', 'naive_bayes'"
        )
    training = examples
    if held_out is None:
        training, held_out = split_rows(examples, config.validate_split, rng)
    validation = _Validation.over(training if held_out is None else held_out)
    return _Booster(config, training, rounds(training)).run(validation, tick)


def split_rows(examples: Examples, share: float, rng: np.random.Generator) -> tuple[Examples, Examples | None]:
    """Set a random share of the rows aside; None when that is no row, or would take a label away."""
    count = round(len(examples) * share)
    order = rng.permutation(len(examples))
    aside, rest = np.sort(order[:count]), np.sort(order[count:])
    if not len(aside) or not len(rest) or _loses_label(examples, rest):
        return examples, None
    if not examples.row_weights[aside].any():
        return examples, None
    return examples.take(rest), examples.take(aside)


def _loses_label(examples: Examples, rest: NDArray[Any]) -> bool:
    if examples.regression:
        return False
    here = np.bincount(examples.labels, examples.row_weights, examples.label_count) > 0
    left = np.bincount(examples.labels[rest], examples.row_weights[rest], examples.label_count) > 0
    return bool((here & ~left).any())
