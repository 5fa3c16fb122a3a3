"""The statistics of classifier.test: MLDB's asserted numbers and the odd cases."""

from __future__ import annotations

import math

import numpy as np
import pytest

from server.errors import MldbError
from server.learning.metrics import (
    LabelledScores,
    Thresholds,
    boolean_statistics,
    categorical_statistics,
    multilabel_statistics,
    regression_statistics,
)
from server.learning.training_set import label_atom


def scan(scores, labels, weights=None):
    given = np.ones(len(scores)) if weights is None else np.array(weights, np.float64)
    return Thresholds.scan(np.array(scores, np.float64), np.array(labels, np.bool_), given)


def test_thresholds_of_four_rows():
    found = scan([3, 2, 1, 1], [1, 1, 0, 0])
    assert (found.group + 1).tolist() == [1, 2, 3, 3]
    columns = {name: values[found.group].tolist() for name, values in found.columns().items()}
    assert columns["truePositives"] == [1, 2, 2, 2]
    assert columns["falseNegatives"] == [1, 0, 0, 0]
    assert columns["trueNegatives"] == [2, 2, 0, 0]
    assert columns["falsePositiveRate"] == [0, 0, 1, 1]
    assert columns["accuracy"] == [0.75, 1, 0.5, 0.5]
    assert columns["precision"] == [1, 1, 0.5, 0.5]


def test_thresholds_with_weights():
    columns = scan([3, 2, 1, 1], [1, 1, 0, 0], [1, 3, 3, 1]).columns()
    assert columns["truePositives"].tolist() == [1, 4, 4]
    assert columns["accuracy"].tolist() == [5 / 8, 1, 0.5]
    assert columns["recall"].tolist() == [0.25, 1, 1]


def test_boolean_statistics():
    found = boolean_statistics(scan([4, 3, 2, 1], [1, 0, 1, 0]))
    assert found["auc"] == 0.75
    best = found["bestF1Score"]
    assert best["threshold"] == 2
    assert best["counts"] == {"truePositives": 2, "falsePositives": 1, "trueNegatives": 1, "falseNegatives": 0}
    assert best["population"] == {"included": 3, "excluded": 1}
    assert best["pr"]["f1Score"] == pytest.approx(0.8)
    assert best["gain"] == pytest.approx(1 / 0.75)
    assert set(found["bestMcc"]) == {"population", "pr", "mcc", "gain", "counts", "threshold"}


def test_auc_agrees_with_scikit_learn():
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(0)
    scores, labels, weights = rng.integers(0, 10, 300), rng.integers(0, 2, 300), rng.random(300)
    ours = boolean_statistics(scan(scores, labels, weights))["auc"]
    assert ours == pytest.approx(roc_auc_score(labels, scores, sample_weight=weights))


def test_one_class_gives_no_nan():
    for labels in ([1, 1], [0, 0]):
        found = boolean_statistics(scan([1, 2], labels))
        assert found["auc"] == 0
        assert not math.isnan(found["bestMcc"]["mcc"])


def test_nan_scores_are_refused():
    with pytest.raises(MldbError, match="Classifier returned a NaN score"):
        scan([math.nan], [1])


def test_regression_digits():
    score, label = np.array([1.0, 1, 2, 3]), np.array([10.0, 10, 20, 40])
    found = regression_statistics(score, label, np.ones(4))
    total = (10 - 20) ** 2 * 2 + (20 - 20) ** 2 + (40 - 20) ** 2
    assert found["mse"] == (81 * 2 + 18**2 + 37**2) / 4
    assert found["r2"] == 1 - (81 * 2 + 18**2 + 37**2) / total
    errors = sorted([0.9, 0.9, 0.9, 37 / 40])
    assert found["quantileErrors"] == {"0.25": errors[0], "0.5": errors[1], "0.75": errors[2], "0.9": errors[2]}


@pytest.mark.parametrize(
    ("scores", "target", "r2"),
    [([2.5, 0, 2, 8], [3, -0.5, 2, 7], 0.948), ([25, -5, 22, 5], [3, -0.5, 2, 7], -30.1177), ([1, 1], [1, 1], 1)],
)
def test_r2(scores, target, r2):
    found = regression_statistics(np.array(scores, float), np.array(target, float), np.ones(len(scores)))
    assert found["r2"] == pytest.approx(r2, abs=1e-2)


def test_constant_labels_and_scores_that_are_not_finite():
    found = regression_statistics(np.array([1.0, 3, np.nan]), np.array([2.0, 2, 2]), np.ones(3))
    assert found["r2"] == 0
    assert found["mse"] == 1


def categorical(weights=(1, 1, 1, 1), **options):
    scores = LabelledScores(("0", "1", "2"), np.array([[1, 0, 0], [0, 1, 0], [1, 0, 0], [0, 0, 1]], float))
    return categorical_statistics(scores, ["0", "1", "2", "2"], np.array(weights, float), label_atom, **options)


def test_categorical_statistics():
    found = categorical()
    expected = {"f1Score": 2 / 3, "recall": 1, "support": 1, "precision": 0.5, "accuracy": 0.75}
    assert found["labelStatistics"]["0"] == expected
    assert found["labelStatistics"]["2"] == {
        "f1Score": 2 * 0.5 / 1.5, "recall": 0.5, "support": 2, "precision": 1, "accuracy": 0.75,
    }  # fmt: skip
    assert found["weightedStatistics"] == {
        "f1Score": (2 / 3 + 1 + 2 / 3 * 2) / 4, "recall": 0.75, "support": 4,
        "precision": (0.5 + 1 + 2) / 4, "accuracy": (0.75 + 1 + 0.75 * 2) / 4,
    }  # fmt: skip
    assert found["confusionMatrix"] == [
        {"predicted": 0, "actual": 0, "count": 1},
        {"predicted": 1, "actual": 1, "count": 1},
        {"predicted": 0, "actual": 2, "count": 1},
        {"predicted": 2, "actual": 2, "count": 1},
    ]
    assert "recallOverN" not in found


def test_categorical_weights():
    found = categorical((1, 3, 3, 1))
    assert found["labelStatistics"]["2"] == {
        "f1Score": 2 / 5, "recall": 0.25, "support": 4, "precision": 1, "accuracy": 5 / 8,
    }  # fmt: skip
    assert found["weightedStatistics"]["f1Score"] == (2 / 5 + 3 + 2 / 5 * 4) / 8


def test_ties_count_as_shares_at_the_edge():
    scores = LabelledScores(('"a"', '"b"', '"c"'), np.array([[1, 1, 0], [1, 1, 0]], float))
    found = categorical_statistics(scores, ['"a"', '"b"'], np.ones(2), label_atom, recall_over=[1, 2])
    assert found["weightedStatistics"]["recallOverTopN"] == [0.5, 1]
    assert set(found["labelStatistics"]) == {"a", "b"}


def test_predictions_of_labels_that_do_not_exist():
    scores = LabelledScores(('"0"',), np.ones((2, 1)))
    with pytest.raises(MldbError, match="Weighted precision is 0 and 1 labels were predicted but not in true labels!"):
        categorical_statistics(scores, ["0", "0"], np.ones(2), label_atom)


def test_multilabel_digits():
    names = ('"label0"', '"label1"', '"label2"')
    rows, actual = [], []
    for labels in ((0,), (1,), (2,), (0, 1), (0, 2), (1, 2)):
        rows.append([1.0 if at in labels else 0.0 for at in range(3)])
        actual.append([names[at] for at in labels])
    found = multilabel_statistics(LabelledScores(names, np.array(rows)), actual, np.ones(6), label_atom, [1, 2])
    assert found["weightedStatistics"] == {"coverageError": pytest.approx(4 / 3), "recallOverTopN": [2 / 3, 1]}
    assert found["labelStatistics"]["label0"] == {"recallOverTopN": [2 / 3, 1]}
    assert found["recallOverN"] == [1, 2]
