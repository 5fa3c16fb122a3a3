"""Decision trees: the numbers that MLDB's own tests look for, and the evaluator that all ensembles share."""

from __future__ import annotations

import time
from random import Random

import numpy as np
import pytest

from server.learning.configurations import DecisionTree, Stump
from server.learning.decision_tree import Grower, train_stump, train_tree
from server.learning.examples import Examples
from server.learning.training_set import balanced
from server.learning.trees import TreeEnsemble
from server.values.paths import natural_key
from tests.learning.tables import examples, rings, space
from tests.waiting import slowness


def ignore(_: float) -> None:
    pass


def grown(data: Examples, **settings: object) -> TreeEnsemble:
    config = DecisionTree.model_validate({"type": "decision_tree"} | settings)
    return train_tree(config, data, np.random.default_rng(0), ignore)


def coin_rows() -> tuple[np.ndarray, np.ndarray]:
    """5000 rows u0, u1, … of two features that mirror the label, in natural order."""
    random = Random(12345)
    for _ in range(2):
        first = {f"u{number}": random.random() < 0.5 for number in range(5000)}
        if _ == 0:
            rows = first
    names = sorted(rows, key=lambda name: natural_key((name,)))
    label = np.array([0 if rows[name] else 1 for name in names])
    return np.where(label[:, None] == [0, 1], 5, 0).astype(np.float32), label


def test_last_digits_of_scores_and_explanations():
    matrix, label = coin_rows()
    weights = balanced(label[:, None] == [0, 1], np.ones(5000), 0.5)
    tree = grown(Examples(space("feat1", "feat2"), matrix, label, 2, weights), max_depth=8, update_alg="gentle")
    row = np.array([[5, 0]], np.float32)
    assert tree.scores(row).tolist() == [[1, -1]]
    why = tree.explain(row, 0)
    assert float(why.bias[0]) == -0.001199985621497035
    assert float(why.weights.sum()) == 1.0011999607086182
    assert why.used.sum() == 1


def test_confusion_of_three_fruits():
    random = Random(123456)
    rows = []
    for _ in range(20):
        for label, spread in ((0, 0), (2, 1), (1, 2)):
            values = [random.gauss(5, 5) if spread == at else random.gauss(3, 2) for at in range(3)]
            rows.append((values, label))
    matrix = np.array([row[0] for row in rows], np.float32)
    label = np.array([row[1] for row in rows])
    weights = balanced(label[:, None] == np.arange(3), np.ones(60), 0.5)
    data = Examples(space("feat1", "feat2", "feat3"), matrix, label, 3, weights)
    predicted = grown(data, max_depth=2, update_alg="gentle").scores(matrix).argmax(axis=1)
    confusion = [[int(((label == a) & (predicted == b)).sum()) for b in range(3)] for a in range(3)]
    assert confusion == [[9, 0, 11], [0, 10, 10], [0, 0, 20]]


def test_what_is_missing_is_a_split_of_its_own():
    x = np.array([1, 3, 5, 7, 9, 2, 4, 6, 8, 10], np.float32)
    y = np.array([np.nan] * 5 + [1] * 5, np.float32)
    data = examples(np.stack([x, y], axis=1), [0] * 5 + [1] * 5, 2, ["x", "y"])
    tree = grown(data, max_depth=1)
    root = tree.describe(data.space)["params"]["tree"]["root"]
    assert root["split"] == {"feature": "y", "op": "PRESENT"}
    assert root["missing"]["pred"] == [1, 0]
    assert root["true"]["pred"] == [0, 1]
    assert root["false"]["pred"] == [0, 0]
    stump = train_stump(Stump(type="stump", update_alg="prob"), data, np.random.default_rng(0), ignore)
    assert stump.describe(data.space)["params"]["action"] == {"true": [0, 1], "false": [0, 0], "missing": [1, 0]}


def test_zero_and_missing_differ():
    matrix = np.array([[0], [0], [np.nan], [np.nan]], np.float32)
    tree = grown(examples(matrix, [1, 1, 0, 0], 2))
    assert tree.scores(matrix)[:, 1].tolist() == [1, 1, 0, 0]


def test_exclusive_or_is_learned_to_purity():
    matrix = np.array([[0, 0], [0, 1], [1, 0], [1, 1]] * 5, np.float32)
    label = [0, 1, 1, 0] * 5
    assert grown(examples(matrix, label, 2)).scores(matrix)[:, 1].tolist() == label


def test_categories_split_one_against_the_rest():
    feature_space = space(color=("blue", "green", "red"))
    matrix = np.array([[0], [1], [2], [0], [1], [2]], np.float32)
    data = Examples(feature_space, matrix, np.array([0, 1, 0, 0, 1, 0]), 2, np.full(6, 1 / 6, np.float32))
    tree = grown(data)
    split = tree.describe(feature_space)["params"]["tree"]["root"]["split"]
    assert split == {"feature": "color", "op": "EQUAL", "value": "green"}
    # A category never seen equals none of the known ones.
    assert tree.scores(np.array([[-1]], np.float32))[0].tolist() == [1, 0]


def test_regression_leaves_hold_weighted_means():
    matrix = np.array([[0], [0], [1], [1]], np.float32)
    data = examples(matrix, [1, 3, 10, 20], 1)
    tree = grown(data.weighted(np.array([0.1, 0.3, 0.3, 0.3], np.float32)))
    assert tree.scores(matrix)[:, 0].tolist() == pytest.approx([2.5, 2.5, 15, 15])


def test_explanations_add_up_to_scores():
    matrix, label = rings()
    tree = grown(examples(matrix, label, 2), max_depth=5, update_alg="gentle")
    for which in (0, 1):
        why = tree.explain(matrix, which)
        assert np.allclose(why.bias + why.weights.sum(axis=1), tree.scores(matrix)[:, which], atol=1e-6)


def test_many_values_are_put_into_buckets():
    rng = np.random.default_rng(1)
    matrix = rng.normal(size=(20000, 4)).astype(np.float32)
    label = (matrix[:, 2] > 0.3).astype(np.int64)
    tree = grown(examples(matrix, label, 2), max_depth=4)
    assert ((tree.scores(matrix)[:, 1] > 0.5) == label).mean() > 0.996


def test_thresholds_are_strict_on_neighbouring_floats():
    low = np.float32(1)
    high = np.nextafter(low, np.float32(2))
    matrix = np.array([[low], [high]] * 3, np.float32)
    assert grown(examples(matrix, [0, 1] * 3, 2)).scores(matrix)[:, 1].tolist() == [0, 1] * 3


def test_equal_input_gives_equal_trees():
    matrix, label = rings()
    data = examples(matrix, label, 2)
    one, two = (grown(data, random_feature_propn=0.5, max_depth=4) for _ in range(2))
    assert (one.nodes.threshold == two.nodes.threshold).all()
    assert (one.nodes.feature == two.nodes.feature).all()


def test_one_row_through_300_trees_takes_less_than_a_millisecond():
    matrix, label = rings(2000)
    tree = grown(examples(matrix, label, 2), max_depth=6)
    ensemble = TreeEnsemble.combine([tree] * 300, [1 / 300] * 300)
    row = matrix[:1]
    assert ensemble.scores(row) == pytest.approx(tree.scores(row), abs=1e-5)
    best = min(_timed(ensemble, row) for _ in range(200))
    assert best < 0.001


def _timed(ensemble: TreeEnsemble, row: np.ndarray) -> float:
    start = time.perf_counter()
    ensemble.scores(row)
    return time.perf_counter() - start


def wide_rows(seed: int, labels: int) -> Examples:
    """Few rows of many features: distinct values, ties, more than 255 values, missing ones, one value only, none."""
    rng = np.random.default_rng(seed)
    rows = int(rng.integers(2, 400))
    matrix = rng.normal(size=(rows, 12)).astype(np.float32)
    matrix[:, 3:6] = np.round(matrix[:, 3:6] * 8)
    matrix[rng.random(matrix.shape) < np.array([0, 0, 0.5, 0, 0.5, 0, 0.9, 0, 0.1, 0, 0, 0])] = np.nan
    matrix[:, 7] = 3
    matrix[:, 9] = np.nan
    matrix[:, 10] = np.where(matrix[:, 10] > 0, np.inf, -np.inf)
    matrix[:, 11] = rng.integers(0, 3, rows)
    feature_space = space(*(f"x{number}" for number in range(11)), color=("blue", "green", "red"))
    truth = rng.normal(size=rows).astype(np.float32) if labels == 1 else rng.integers(0, labels, rows)
    weights = rng.random((rows, labels) if labels > 2 else rows).astype(np.float32)
    weights[rng.random(rows) < 0.2] = 0
    weights[0] = 1
    return Examples(feature_space, matrix, truth, labels, weights)


@pytest.mark.parametrize("labels", [1, 2, 5])
@pytest.mark.parametrize("seed", range(8))
def test_going_through_rows_in_order_finds_the_splits_that_buckets_give(monkeypatch, seed, labels):
    data = wide_rows(seed, labels)
    by_rows = grown(data, max_depth=4, update_alg="gentle", random_feature_propn=0.8)
    monkeypatch.setattr("server.learning.ordered._ROWS_PER_BUCKET", 0)
    by_buckets = grown(data, max_depth=4, update_alg="gentle", random_feature_propn=0.8)
    for part in ("feature", "operation", "threshold", "children", "examples"):
        assert getattr(by_rows.nodes, part).tolist() == getattr(by_buckets.nodes, part).tolist(), part
    assert np.allclose(by_rows.nodes.values, by_buckets.nodes.values, atol=1e-6)
    assert np.allclose(by_rows.nodes.z, by_buckets.nodes.z, atol=1e-6)


def test_wide_rows_are_boosted_in_no_time():
    """Several thousand features of a hundred rows: buckets, most of them empty in a node, took a second a tree."""
    rng = np.random.default_rng(1)
    data = examples(rng.normal(size=(120, 2048)), rng.integers(0, 2, 120).tolist(), 2)
    grower = Grower(data)
    started = time.process_time()
    for _ in range(10):
        grower.grow(data.weights, max_depth=3, update="gentle", feature_share=1.0, rng=rng)
    assert time.process_time() - started < 1 * slowness()


@pytest.mark.parametrize("depth", [-1, 4])
def test_a_tree_tells_how_far_it_is(depth):
    rng = np.random.default_rng(1)
    data = examples(rng.normal(size=(500, 3)), rng.integers(0, 2, 500).tolist(), 2)
    told: list[float] = []
    config = DecisionTree(type="decision_tree", max_depth=depth)
    train_tree(config, data, rng, told.append)
    assert len(told) > 4
    assert told == sorted(told)
    assert 0 <= told[0] < 0.5
    assert told[-1] == 1
