"""Support vector machines: our application against scikit-learn's, and the types over REST."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import svm

from server.errors import MldbError
from server.learning.archive import unpack
from server.learning.svm import KIND, Settings, SvmModel, train_svm

RNG = np.random.default_rng(0)
POINTS = RNG.normal(size=(200, 4))
CLASSES = RNG.integers(0, 4, 200)
VALUES = POINTS[:, 0] * 2 + POINTS[:, 1] ** 2
COLUMNS = list("abcd")


@pytest.mark.parametrize("kernel", ["linear", "poly", "rbf", "sigmoid"])
@pytest.mark.parametrize("classes", [2, 4])
def test_labels_are_those_of_the_library(kernel, classes):
    labels = (CLASSES % classes) * 10.0 + 0.5
    model = train_svm(COLUMNS, POINTS, labels, "classification", Settings(kernel=kernel, coef0=0.5))
    reference = svm.SVC(kernel=kernel, gamma=0.25, coef0=0.5).fit(POINTS, CLASSES % classes)
    assert (
        SvmModel.of(unpack(KIND, model.to_bytes({}))).apply(POINTS).tolist()
        == (reference.predict(POINTS) * 10.0 + 0.5).tolist()
    )


@pytest.mark.parametrize(
    ("type_", "reference"),
    [
        ("regression", svm.SVR(gamma=0.25)),
        ("nu-regression", svm.NuSVR(gamma=0.25)),
        ("one class", svm.OneClassSVM(gamma=0.25)),
    ],
)
def test_values_are_those_of_the_library(type_, reference):
    model = train_svm(COLUMNS, POINTS, VALUES, type_, Settings())
    assert model.apply(POINTS) == pytest.approx(reference.fit(POINTS, VALUES).predict(POINTS))


@pytest.mark.parametrize("labels", [CLASSES % 2, CLASSES], ids=["one duel", "six duels"])
def test_it_tells_its_iterations_and_prints_nothing(labels, capfd):
    told = []
    settings = Settings(kernel="rbf", C=1000.0, gamma=5.0, eps=1e-9)
    train_svm(COLUMNS, POINTS, labels.astype(np.float64), "classification", settings, told.append)
    reference = svm.SVC(C=1000.0, gamma=5.0, tol=1e-9).fit(POINTS, labels)
    assert told == sorted(told)
    # A dot is 200 iterations here, fewer where a duel has fewer rows; the last ones have none.
    assert 0 < told[-1] <= 2 * reference.n_iter_.sum()
    assert capfd.readouterr().out == ""


def test_one_label_is_refused():
    with pytest.raises(MldbError, match="at least two labels"):
        train_svm(COLUMNS, POINTS, np.ones(200), "classification", Settings())


def test_training_and_application_over_rest(client, server):
    client.put("/v1/datasets/corners", json={"type": "sparse.mutable"})
    rows = [
        [str(number), [["x", x, 0], ["y", -x, 0], ["label", 39 if x > 0 else 72, 0]]]
        for number, x in enumerate((0.2, 0.6, 0.9, -0.2, -0.45, -0.56))
    ]
    client.post("/v1/datasets/corners/multirows", json=rows)
    client.post("/v1/datasets/corners/commit")
    params = {
        "trainingData": {"from": {"id": "corners"}},
        "configuration": {"kernel": 1, "probability": 0},
        "modelFileUrl": f"file://{server.data_dir.resolve()}/corners.svm",
        "functionName": "corner",
    }
    answer = client.put("/v1/procedures/svm", json={"type": "svm.train", "params": params})
    assert answer.status_code == 201, answer.text
    for x, label in ((1, 39), (-1, 72)):
        given = {"input": {"embedding": {"x": x, "y": -x}}}
        assert client.get_json("/v1/functions/corner/application", given).json() == {"output": {"output": label}}
    refused = client.get_json("/v1/functions/corner/application", {"input": {"embedding": {"x": 1}}})
    assert (refused.status_code, "'y'" in refused.json()["error"]) == (400, True)
    for vector in ([1], [1, 2, 3], [[1, 2], [3, 4]]):
        refused = client.get_json("/v1/functions/corner/application", {"input": {"embedding": vector}})
        assert "elements where 2 were expected: x, y" in refused.json()["error"]
    for query in ("SELECT x, null AS y, label FROM corners", "SELECT null AS y FROM corners"):
        empty = client.put("/v1/procedures/svm", json={"type": "svm.train", "params": params | {"trainingData": query}})
        assert (empty.status_code, "column 'y' has no value" in empty.text) == (400, True), empty.text
        empty = client.put("/v1/procedures/map", json={"type": "tsne.train", "params": {"trainingData": query}})
        assert (empty.status_code, "column 'y' has no value" in empty.text) == (400, True), empty.text
    bad = params | {"configuration": {"kernel": "precomputed"}}
    assert client.put("/v1/procedures/svm", json={"type": "svm.train", "params": bad}).status_code == 400
