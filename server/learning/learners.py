"""Which learner trains a configuration."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from server.errors import MldbError
from server.learning import lightgbm_trees
from server.learning.bagging import train_bagging
from server.learning.boosting import train_boosted_stumps, train_boosting
from server.learning.committee import train_null
from server.learning.configurations import (
    Bagging,
    BoostedStumps,
    Boosting,
    DecisionTree,
    FastText,
    Glz,
    Learner,
    NaiveBayes,
    Null,
    OneVsAll,
    Perceptron,
    Stump,
)
from server.learning.decision_tree import train_stump, train_tree
from server.learning.examples import Examples, Model, Tick
from server.learning.fasttext import train_fasttext
from server.learning.glz_training import train_glz
from server.learning.matrix import Sparse
from server.learning.naive_bayes import train_naive_bayes
from server.learning.perceptron import train_perceptron


def train(
    config: Learner, examples: Examples, rng: np.random.Generator, tick: Tick, held_out: Examples | None = None
) -> Model:
    """Train whatever a configuration asks for. ``held_out``: rows for learners that validate."""
    match config:
        case DecisionTree():
            return train_tree(config, examples, rng, tick)
        case Stump():
            return train_stump(config, examples, rng, tick)
        case BoostedStumps():
            if lightgbm_trees.is_large(examples, config.max_iter, 1):
                return lightgbm_trees.train_boosted(config, examples, rng, tick, held_out)
            return train_boosted_stumps(config, examples, rng, tick, held_out)
        case Boosting():
            tree = config.weak_learner
            if isinstance(tree, DecisionTree) and lightgbm_trees.is_large(examples, config.max_iter, tree.max_depth):
                return lightgbm_trees.train_boosted(config, examples, rng, tick, held_out)
            return train_boosting(config, examples, rng, tick, train, held_out)
        case Bagging():
            tree = config.weak_learner
            if isinstance(tree, DecisionTree) and lightgbm_trees.is_large(examples, config.num_bags, tree.max_depth):
                return lightgbm_trees.train_forest(config, examples, rng, tick)
            return train_bagging(config, examples, rng, tick, train)
        case _:
            return _train_plain(config, examples, rng, tick)


def _train_plain(config: Learner, examples: Examples, rng: np.random.Generator, tick: Tick) -> Model:
    if isinstance(config, Glz | Perceptron | FastText):
        _refuse_infinite(examples, config.type)
    match config:
        case Glz():
            return train_glz(config, examples, rng, tick)
        case Perceptron():
            return train_perceptron(config, examples, rng, tick)
        case NaiveBayes():
            return train_naive_bayes(config, examples, rng, tick)
        case FastText():
            return train_fasttext(config, examples, rng, tick)
        case OneVsAll():
            return train(config.weak_learner, examples, rng, tick)
        case Null():
            return train_null(config, examples, rng, tick)
    raise MldbError(f"Classifiers of type '{config.type}' cannot be trained")


def _refuse_infinite(examples: Examples, learner: str) -> None:
    """``MldbError`` for a feature that sums cannot be taken of."""
    matrix = examples.matrix
    if isinstance(matrix, Sparse):
        features: NDArray[Any] = matrix.columns[np.isinf(matrix.values)]
    else:
        features = np.flatnonzero(np.isinf(matrix).any(axis=0))
    if len(features):
        name = examples.space.features[int(features.min())].name
        raise MldbError(
            f"Feature '{name}' holds a number that is infinite, or too large for single precision (about 3e38): a "
            f"classifier of type '{learner}' needs smaller ones"
        )
