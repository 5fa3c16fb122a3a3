"""classifier.test and classifier.experiment over REST."""

from __future__ import annotations

import math
import random

import pytest

from server.errors import MldbError
from server.learning.classifier_experiment import aggregate
from server.learning.training_set import truths
from tests.learning.test_classifier_rest import make_rows


@pytest.fixture(scope="module")
def data_dir(server):
    return server.data_dir.resolve()


@pytest.fixture(scope="module")
def toy(client):
    rng = random.Random(2)
    rows = {}
    for number in range(600):
        label = rng.random() < 0.3
        feat1, feat2 = rng.gauss(5 if label else 15, 3), rng.gauss(-5 if label else 10, 10)
        rows[f"u{number}"] = {"feat1": feat1, "feat2": feat2, "label": int(label), "fruit": "ab"[label]}
    make_rows(client, "toy", rows)
    return client


def test(client, **params):
    return client.put("/v1/procedures/tester", json={"type": "classifier.test", "params": params})


test.__test__ = False


def status(answer):
    assert answer.status_code == 201, answer.text
    return answer.json()["status"]["firstRun"]["status"]


def test_scored_rows_of_a_boolean_test(client):
    rows = {"1": (1, 0, 1), "2": (1, 0, 3), "3": (2, 1, 3), "4": (3, 1, 1)}
    make_rows(client, "ds", {n: dict(zip(("score", "l", "w"), row, strict=True)) for n, row in rows.items()}, "tabular")
    found = status(test(client, testingData="SELECT score, l AS label, w AS weight FROM ds", outputDataset="out"))
    assert found["auc"] == 1
    table = client.query("SELECT * FROM out ORDER BY score DESC, rowName() DESC")
    by_name = {name: [row[at] for row in table[1:]] for at, name in enumerate(table[0])}
    assert by_name["index"] == [1, 2, 3, 3]
    assert by_name["weight"] == [1, 3, 3, 1]
    assert by_name["truePositives"] == [1, 4, 4, 4]
    assert by_name["accuracy"] == [5 / 8, 1, 0.5, 0.5]
    assert set(table[0]) - {"_rowName"} == {
        "index", "label", "score", "weight", "truePositives", "falsePositives", "trueNegatives", "falseNegatives",
        "accuracy", "precision", "recall", "truePositiveRate", "falsePositiveRate",
    }  # fmt: skip
    test(client, testingData="SELECT score, l AS label FROM ds", outputDataset="out", uniqueScoresOnly=True)
    assert client.query("SELECT count(*) FROM out")[1][1] == 3


def test_categories_whose_names_are_numbers(client):
    best = [(0, 0), (1, 1), (2, 0), (2, 2)]
    rows = {
        str(number): {"label": label} | {f"score.{n}": int(n == right) for n in range(3)}
        for number, (label, right) in enumerate(best)
    }
    make_rows(client, "cat", rows, "tabular")
    found = status(test(client, testingData="SELECT label, score FROM cat", outputDataset="out", mode="categorical"))
    assert found["labelStatistics"]["2"]["recall"] == 0.5
    assert {"predicted": 0, "actual": 2, "count": 1} in found["confusionMatrix"]
    assert client.query("SELECT maxLabel FROM out ORDER BY rowName()")[3][1] == 0


@pytest.mark.parametrize("condition", ["LIMIT 0", "OFFSET 100000", "WHERE patate = 123"])
def test_nothing_to_test(toy, condition):
    answer = test(toy, testingData=f"SELECT label AS score, label FROM toy {condition}")
    assert answer.status_code == 400
    assert "Cannot run classifier.test procedure on empty test set" in str(answer.json())


def failed(answer):
    assert answer.status_code == 400, answer.text
    return answer.json()["details"]["runError"]["error"]


def test_weights_and_scores_that_tell_nothing(client):
    rows = {"a": {"s": 1, "l": 1, "w": 1}, "b": {"s": 2, "l": 3, "w": -1}, "c": {"s": 3, "l": 0}}
    make_rows(client, "few", rows)
    query = "SELECT s AS score, l AS label, w AS weight FROM few"
    assert failed(test(client, testingData=query)) == "classifier example weights must be finite"
    query += " WHERE w IS NOT NULL"
    assert failed(test(client, testingData=query)) == "classifier example weight cannot be negative"
    query = "SELECT misspelt AS score, l AS label FROM few"
    assert "No row has a score that is a finite number" in failed(test(client, testingData=query, mode="regression"))
    query = "SELECT s AS score, null AS label FROM few"
    assert "on empty test set" in failed(test(client, testingData=query))


def test_rows_of_several_labels_are_recorded(client):
    rows = {"a": {"l.x": 1, "x": 0.5}, "b": {"l.x": 1, "l.y": 1, "x": 0.1, "y": 0.4}}
    make_rows(client, "labels", rows)
    query = "SELECT {x, y} AS score, {l.x AS x, l.y AS y} AS label FROM labels"
    found = status(test(client, testingData=query, outputDataset="out", mode="multilabel", recallOverN=[1]))
    assert found["weightedStatistics"]["recallOverTopN"] == [2 / 3]
    assert client.query('SELECT label."0", label."1", score.x, score.y FROM out ORDER BY rowName()')[1:] == [
        ["a", "x", None, 0.5, None],
        ["b", "x", "y", 0.1, 0.4],
    ]


def test_texts_that_are_all_true_are_no_labels_of_a_boolean_test(toy):
    query = "SELECT feat1 AS score, 'a' AS label FROM toy"
    assert test(toy, mode="boolean", testingData=query).status_code == 201  # one text may be all that there is
    answer = test(toy, mode="boolean", testingData=query.replace("'a'", "fruit"))
    assert answer.status_code == 400
    assert "are all true in mode 'boolean'" in answer.text


@pytest.mark.parametrize(
    ("labels", "truth"),
    [
        (["yes", "", "no"], [True, False, True]),
        (["spam", "spam"], [True, True]),
        ([1, 2], [True, True]),
        ([0.0, "ham", "spam"], [False, True, True]),
        ([], []),
    ],
)
def test_what_labels_are_true(labels, truth):
    assert truths(labels).tolist() == truth


def test_the_condition_that_is_proposed_can_be_written_as_it_is():
    with pytest.raises(MldbError, match="such as label = 'it''s' AS label"):
        truths(["no", "it's"])


def test_testing_data_is_required(client):
    assert "requires 'testingData' to be set" in str(test(client).json())


def experiment(client, data_dir, **changes):
    params = {
        "experimentName": "exp",
        "inputData": "SELECT {feat1, feat2} AS features, label FROM toy",
        "modelFileUrlPattern": f"file://{data_dir}/exp-$runid.cls",
        "algorithm": "glz",
    }
    return client.put("/v1/procedures/ex", json={"type": "classifier.experiment", "params": params | changes})


def test_folds(toy, data_dir):
    found = status(experiment(toy, data_dir, kfold=3, evalTrain=True))
    assert len(found["folds"]) == 3
    for number, fold in enumerate(found["folds"]):
        assert fold["fold"]["testingWhere"] == f"rowHash() % 3 = {number}"
        assert fold["functionName"] == f"exp_scorer_{number}"
        assert fold["modelFileUrl"] == f"file://{data_dir}/exp-exp-{number}.cls"
        assert fold["resultsTest"]["auc"] > 0.95
        assert fold["resultsTrain"]["auc"] == pytest.approx(fold["resultsTest"]["auc"], abs=0.05)
    aggregated = found["aggregatedTest"]["auc"]
    assert aggregated["min"] <= aggregated["mean"] <= aggregated["max"]
    assert set(found["avgDuration"]) == {"train", "test"}
    counts = [toy.query(f"SELECT count(*) FROM exp_results_{number}")[1][1] for number in range(3)]
    assert sum(counts) == 600
    score = toy.get_json("/v1/functions/exp_scorer_0/application", {"input": {"features": {"feat1": 5, "feat2": -5}}})
    assert score.json()["output"]["score"] > 0.5
    assert {"exp_trainer", "exp_scorer"} <= set(toy.get("/v1/procedures").json())


@pytest.mark.parametrize(
    ("fold", "text"),
    [
        ({"trainingWhere": "feat1 >"}, "feat1 >"),
        ({"trainingWhere": "true GROUP BY feat1"}, "GROUP"),
        ({"testingOrderBy": "feat1, , feat2"}, "feat1, , feat2"),
    ],
)
def test_folds_are_read_when_the_experiment_is_made(toy, data_dir, fold, text):
    answer = experiment(toy, data_dir, datasetFolds=[fold], runOnCreation=False)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith(next(iter(fold.values())))
    assert text in answer.json()["error"]


def test_aggregates_of_folds():
    folds = [{"auc": 0.5, "of": {"n": 1, "matrix": []}}, {"auc": 1.0, "of": {"n": 3, "matrix": []}}]
    assert aggregate(folds) == {
        "auc": {"min": 0.5, "max": 1.0, "mean": 0.75, "std": 0.25},
        "of": {"n": {"min": 1, "max": 3, "mean": 2, "std": 1}},
    }
    assert aggregate([{"a": 2.0}])["a"]["std"] == 0
    assert math.isnan(aggregate([{"a": math.inf}, {"a": 1.0}])["a"]["std"])


def test_limits_and_offsets_cover_all_rows(toy, data_dir):
    halves = [{"trainingLimit": 300, "testingOffset": 300}, {"testingLimit": 300, "trainingOffset": 300}]
    found = status(experiment(toy, data_dir, experimentName="halves", datasetFolds=halves, algorithm="dt"))
    names: set[str] = set()
    for fold in found["folds"]:
        rows = [row[0] for row in toy.query(f"SELECT rowName() FROM {fold['accuracyDataset']}")[1:]]
        assert len(rows) == 300
        names |= set(rows)
    assert len(names) == 600


def test_names_of_any_characters_and_no_artifacts(toy, data_dir):
    found = status(experiment(toy, data_dir, experimentName="a & b", keepArtifacts=False, outputAccuracyDataset=False))
    assert "accuracyDataset" not in found["folds"][0]
    assert "a & b_scorer_0" not in toy.get("/v1/functions").json()


def test_categorical_experiment(toy, data_dir):
    query = "SELECT {feat1, feat2} AS features, fruit AS label FROM toy"
    found = status(experiment(toy, data_dir, inputData=query, mode="categorical", algorithm="dt", recallOverN=[1]))
    results = found["folds"][0]["resultsTest"]
    assert set(results["labelStatistics"]) == {"a", "b"}
    assert results["weightedStatistics"]["accuracy"] > 0.9
    assert results["weightedStatistics"]["recallOverTopN"][0] == pytest.approx(results["weightedStatistics"]["recall"])
    assert "confusionMatrix" not in found["aggregatedTest"]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"kfold": 1}, "When using the kfold parameter, it must be >= 2."),
        ({"kfold": 2, "datasetFolds": [{}]}, "cannot be specified at the same time."),
        ({"kfold": 2, "testingDataOverride": "SELECT {feat1} AS features, label FROM toy"}, "Should not use a k-fold"),
        ({"inputData": "SELECT {feat1} AS features, label FROM toy WHERE true"}, "does not support where"),
        ({"inputData": "SELECT {feat1} AS features, label FROM toy LIMIT 1"}, "does not support limit"),
        ({"inputData": "SELECT {feat1} AS features, label FROM toy OFFSET 1"}, "does not support offset"),
        ({"inputData": "SELECT * FROM toy"}, "must return a 'features' row and a 'label'"),
        ({"modelFileUrlPattern": "file:///exp-$runid.cls"}, "Error when trying"),
    ],
)
def test_refusals(toy, data_dir, changes, text):
    answer = experiment(toy, data_dir, **changes)
    assert answer.status_code == 400
    assert text in str(answer.json())
