"""Bagging: the mean of models trained on random draws of the rows (entity-types.md §6.3)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from server.errors import MldbError
from server.learning.committee import combine
from server.learning.configurations import Bagging, FastText, Learner
from server.learning.examples import Examples, Model, Tick

TrainBag = Callable[[Learner, Examples, np.random.Generator, Tick, Examples | None], Model]


def train_bagging(
    config: Bagging, examples: Examples, rng: np.random.Generator, tick: Tick, train_bag: TrainBag
) -> Model:
    """Each bag draws as many rows as there are, with replacement, among a random part of them.

    The part is ``1 - validation_split`` of the rows; a learner that validates does so on the others.
    """
    if isinstance(config.weak_learner, FastText):
        raise MldbError("FastText classifiers cannot be bagged")
    models = []
    for bag in range(config.num_bags):
        inside, outside = _draw(config, examples, rng)

        def bag_tick(share: float, done: int = bag) -> None:
            tick((done + share) / config.num_bags)

        models.append(train_bag(config.weak_learner, inside, rng, bag_tick, outside))
    return combine(models, [1 / len(models)] * len(models))


def _draw(config: Bagging, examples: Examples, rng: np.random.Generator) -> tuple[Examples, Examples | None]:
    count = len(examples)
    times = np.bincount(rng.integers(0, count, count), minlength=count).astype(np.float32)
    aside = np.zeros(count, np.bool_)
    aside[rng.permutation(count)[: round(count * config.validation_split)]] = True
    rows = np.flatnonzero(~aside & (times > 0))
    # A set so small that the draw leaves nothing of it is used as it is.
    if not len(rows) or not examples.row_weights[rows].any():
        return examples, None
    outside = np.flatnonzero(aside)
    weights = examples.weights[rows] * (times[rows] if examples.weights.ndim == 1 else times[rows, None])
    if not len(outside) or not examples.row_weights[outside].any():
        return examples.take(rows, weights), None
    return examples.take(rows, weights), examples.take(outside)
