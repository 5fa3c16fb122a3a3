"""Large tree ensembles grown by LightGBM, turned into our own trees.

Its trees have two ways out of a node; our third, for what is missing, goes where LightGBM sends missing values.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from server.learning.boosting import split_rows
from server.learning.configurations import Bagging, BoostedStumps, Boosting, DecisionTree, UpdateAlgorithm
from server.learning.examples import Examples, Tick, part_of
from server.learning.lightgbm_library import lightgbm
from server.learning.matrix import Floats, Sparse
from server.learning.processors import processors
from server.learning.tree_nodes import AMONG, LESS, Nodes, concatenate, leafless
from server.learning.trees import TreeEnsemble

# Values x trees above which our own trees, which are exact in MLDB's way, would take minutes.
_LARGE = 10_000_000
# Numbers in the nodes of an ensemble: LightGBM grows a tree for each label where ours score all of them, and each node
# holds a number per label, so that a thousand labels would be a million times what two are.
_MOST_VALUES = 1 << 24
# Large forests gain little beyond so many leaves, and leaves of fewer rows copy chance: categories of many levels more
# than numbers (docs/benchmarks.md).
_MAX_LEAVES = 1024
_LEAF_ROWS = {True: 5, False: 20}  # by whether it is regression
_LEARNING_RATE = 0.3
_CATEGORICAL, _DEFAULT_LEFT, _MISSING, _MISSING_IS_NAN = 1, 2, 12, 8  # bits of LightGBM's decision_type
_AFTER_EVALUATION = 30  # place among LightGBM's callbacks
_PART_DRAWN = 0.632  # share of different rows in a draw of as many with replacement


def is_large(examples: Examples, trees: int, depth: int) -> bool:
    """Whether an ensemble of so many trees should be grown by LightGBM. Sparse rows and many labels stay with our own
    trees."""
    matrix, labels = examples.matrix, examples.label_count
    if isinstance(matrix, Sparse) or matrix.size * trees <= _LARGE:
        return False
    return labels <= 2 or trees * labels * 2 * _leaves(depth) * labels <= _MOST_VALUES


def train_forest(config: Bagging, examples: Examples, rng: np.random.Generator, tick: Tick) -> TreeEnsemble:
    """Bagged decision trees: a forest per label on 0/1 targets, whose leaves hold shares of the label."""
    tree: DecisionTree = config.weak_learner
    params = forest_params(config, examples.regression, rng)
    two = examples.label_count == 2
    targets = [examples.labels] if examples.regression else [
        (examples.labels == label).astype(np.float32) for label in ([1] if two else range(examples.label_count))
    ]  # fmt: skip
    forests = []
    for number, target in enumerate(targets):
        booster = _train(params, _dataset(examples, target), config.num_bags, part_of(tick, number, len(targets)))
        forests.append(trees_of(booster))
    spread = [
        _spread(nodes, label, examples, tree.update_alg) for label, parts in enumerate(forests) for nodes in parts
    ]
    weights = np.full(len(spread), 1 / config.num_bags, np.float32)
    return _ensemble(spread, weights, examples.label_count)


def forest_params(config: Bagging, regression: bool, rng: np.random.Generator) -> dict[str, Any]:
    """What LightGBM is asked for bagged trees: their mean on targets of 0 and 1 is a probability."""
    tree: DecisionTree = config.weak_learner
    return _tree_params(tree.max_depth, tree.random_feature_propn, rng) | {
        "boosting": "rf", "objective": "regression", "bagging_freq": 1,
        "bagging_fraction": (1 - config.validation_split) * _PART_DRAWN,
        "min_data_in_leaf": _LEAF_ROWS[regression],
    }  # fmt: skip


def _spread(nodes: Nodes, label: int, examples: Examples, update: UpdateAlgorithm) -> Nodes:
    """Values for all labels from a forest of one: shares p become what the update algorithm puts into leaves."""
    count = examples.label_count
    share = nodes.values[:, 0].astype(np.float64)
    if examples.regression:
        return nodes
    if count == 2:
        both = np.stack([1 - share, share], axis=1)
        return replace(nodes, values=_leaf_outputs(both, update, len(examples)))
    values = np.zeros((len(nodes), count), np.float32)
    values[:, label] = _leaf_outputs(share, update, len(examples))
    return replace(nodes, values=values)


def _leaf_outputs(share: NDArray[Any], update: UpdateAlgorithm, examples: int) -> Floats:
    share = share.clip(0, 1)
    if update == "prob":
        return share.astype(np.float32)
    if update == "gentle":
        return (2 * share - 1).astype(np.float32)
    return (0.5 * np.log((share + 1 / examples) / (1 - share + 1 / examples))).astype(np.float32)


def train_boosted(
    config: Boosting | BoostedStumps,
    examples: Examples,
    rng: np.random.Generator,
    tick: Tick,
    held_out: Examples | None,
) -> TreeEnsemble:
    """Gradient boosted trees; the rounds kept are chosen on the rows held out."""
    tree = config.weak_learner if isinstance(config, Boosting) else None
    depth = tree.max_depth if tree else 1
    share = tree.random_feature_propn if tree else config.feature_prop if isinstance(config, BoostedStumps) else 1.0
    training = examples
    if held_out is None:
        training, held_out = split_rows(examples, config.validate_split, rng)
    count = examples.label_count
    objective = {1: "regression", 2: "binary"}.get(count, "multiclass")
    params = _tree_params(depth, share, rng) | {"objective": objective, "learning_rate": _LEARNING_RATE}
    if count > 2:
        params["num_class"] = count
    data = _dataset(training, training.labels)
    history: dict[str, Any] = {}
    booster = _train(params, data, config.max_iter, tick, held_out, history, _stop(config, history))
    rounds = max(_best_round(history, config.max_iter), min(config.min_iter, config.max_iter))
    per_round = count if count > 2 else 1
    parts = trees_of(booster)[: rounds * per_round]
    spread = [_raw(nodes, number % per_round, count) for number, nodes in enumerate(parts)]
    return _ensemble(spread, np.ones(len(spread), np.float32), count)


def _raw(nodes: Nodes, label: int, count: int) -> Nodes:
    """Raw scores per label. Half the log of the odds for two labels, as AdaBoost's sums are."""
    if count == 1:
        return nodes
    if count == 2:
        half = nodes.values[:, 0] / 2
        return replace(nodes, values=np.stack([-half, half], axis=1))
    values = np.zeros((len(nodes), count), np.float32)
    values[:, label] = nodes.values[:, 0]
    return replace(nodes, values=values)


def _stop(config: Boosting | BoostedStumps, history: dict[str, Any]) -> Callable[[Any], None] | None:
    """What ends training when the loss on the rows held out has not fallen for ``short_circuit_window`` rounds."""
    if not config.short_circuit_window:
        return None

    def stop(env: Any) -> None:
        done = env.iteration + 1
        best = _best_round(history, done)
        if done >= config.min_iter and done - best >= config.short_circuit_window:
            raise lightgbm().callback.EarlyStopException(best - 1, [])

    stop.order = _AFTER_EVALUATION  # type: ignore[attr-defined]
    return stop


def _best_round(history: dict[str, Any], rounds: int) -> int:
    losses = next((values for part in history.values() for values in part.values()), None)
    return int(np.argmin(losses)) + 1 if losses else rounds


def _leaves(depth: int) -> int:
    """The most leaves that a tree may have; ``depth`` is the ``max_depth`` of decision trees."""
    return min(_MAX_LEAVES, 2 ** min(depth, 10)) if depth > 0 else _MAX_LEAVES


def _tree_params(depth: int, feature_share: float, rng: np.random.Generator) -> dict[str, Any]:
    return {
        "max_depth": depth,
        "num_leaves": _leaves(depth),
        "feature_fraction": max(feature_share, 1e-6),
        "min_data_in_leaf": 1,
        "min_sum_hessian_in_leaf": 1e-9,
        "seed": int(rng.integers(1 << 31)),
        "deterministic": True,
        "force_col_wise": True,
        "num_threads": processors(),
        "verbosity": -1,
    }


def _dataset(examples: Examples, target: NDArray[Any]) -> Any:
    categorical = [number for number, f in enumerate(examples.space.features) if f.categories is not None]
    return lightgbm().Dataset(
        examples.matrix, target, weight=_row_weights(examples), categorical_feature=categorical, free_raw_data=False,
        params={"verbosity": -1},
    )  # fmt: skip


def _row_weights(examples: Examples) -> Floats | None:
    """Weights with a mean of 1, as LightGBM's limits on leaves are absolute; None for equal ones, which is faster."""
    weights = examples.row_weights * np.float32(len(examples))
    return None if weights.min() == weights.max() else weights


def _train(
    params: dict[str, Any],
    data: Any,
    rounds: int,
    tick: Tick,
    held_out: Examples | None = None,
    history: dict[str, Any] | None = None,
    stop: Callable[[Any], None] | None = None,
) -> Any:
    def report(env: Any) -> None:
        tick((env.iteration + 1) / rounds)

    callbacks: list[Callable[[Any], None]] = [report]
    sets = []
    if held_out is not None and history is not None:
        sets = [data.create_valid(held_out.matrix, held_out.labels, weight=_row_weights(held_out))]
        callbacks += [lightgbm().record_evaluation(history), *([stop] if stop else [])]
    # Else the booster is written as text and read again, for a process that could go on to train others.
    return lightgbm().train(params, data, rounds, valid_sets=sets, callbacks=callbacks, keep_training_booster=True)


def _ensemble(trees: list[Nodes], weights: Floats, labels: int) -> TreeEnsemble:
    nodes, starts = concatenate(trees)
    return TreeEnsemble(nodes, np.array(starts, np.int32), weights, np.zeros(labels, np.float32), "committee")


def trees_of(booster: Any) -> list[Nodes]:
    """The trees of a booster, as nodes with one value each; the root of each is node 0.

    Read from the text of the model, whose arrays are many times faster to take in than nested JSON.
    """
    text, end, _ = booster.model_to_string(num_iteration=-1).partition("\nend of trees")
    assert end, "a model of LightGBM has an end"
    return [_nodes_of(block) for block in text.split("\nTree=")[1:]]


def _nodes_of(block: str) -> Nodes:
    """One tree: inner nodes first, in LightGBM's order, then the leaves, which it numbers -1, -2, …"""
    arrays = dict(line.partition("=")[::2] for line in block.splitlines() if "=" in line)

    def read(name: str, type_: type[np.float64 | np.int64]) -> NDArray[Any]:
        # What is whole is read ten times faster as such.
        return np.fromstring(arrays[name], type_, sep=" ") if arrays.get(name) else np.zeros(0, type_)

    leaves = int(arrays["num_leaves"])
    inner = leaves - 1
    nodes = leafless(inner + leaves, 1)
    nodes.values[inner:, 0] = read("leaf_value", np.float64)
    if not inner:
        return nodes
    nodes.values[:inner, 0] = read("internal_value", np.float64)
    nodes.examples[:] = np.concatenate([read("internal_count", np.int64), read("leaf_count", np.int64)])
    nodes.feature[:inner] = read("split_feature", np.int64)
    nodes.z[:inner] = read("split_gain", np.float64)
    ways = np.stack([read("left_child", np.int64), read("right_child", np.int64)], axis=1)
    ways = np.where(ways < 0, inner + ~ways, ways)
    threshold, kind = read("threshold", np.float64), read("decision_type", np.int64)
    among = (kind & _CATEGORICAL) > 0
    nodes.operation[:inner] = np.where(among, AMONG, LESS)
    nodes.threshold[:inner] = np.where(among, 0, _strict(threshold))
    # Where nothing was missing in training, LightGBM takes what is missing for 0.
    left = np.where((kind & _MISSING) == _MISSING_IS_NAN, (kind & _DEFAULT_LEFT) > 0, threshold >= 0) & ~among
    nodes.children[:inner] = np.column_stack([ways, np.where(left, ways[:, 0], ways[:, 1])])
    if not among.any():
        return nodes
    bounds = read("cat_boundaries", np.int64)
    number = threshold[among].astype(np.int64)
    at = np.flatnonzero(among)
    nodes.first_word[at] = bounds[number]
    nodes.word_count[at] = bounds[number + 1] - bounds[number]
    return replace(nodes, words=read("cat_threshold", np.int64).astype(np.uint32))


def _strict(threshold: NDArray[np.float64]) -> Floats:
    """The t for which x < t says the same of single-precision numbers as x <= threshold."""
    with np.errstate(over="ignore"):
        single = threshold.astype(np.float32)
    above = np.nextafter(single, np.float32(np.inf))
    return np.asarray(np.where(single.astype(np.float64) > threshold, single, above), np.float32)
