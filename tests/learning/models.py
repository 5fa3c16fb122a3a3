"""A training of every kind that saves a model, on small datasets: what tests that go over all of them share."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

_TREE = {"type": "decision_tree", "max_depth": 3, "update_alg": "gentle"}
_FEATURES = "SELECT {x, y} AS features, label FROM (SELECT * FROM pairs) AS rows"


@dataclass(frozen=True)
class Training:
    """``call`` is an SQL expression that applies the function, ``url`` the parameter that names the file."""

    procedure: str
    query: str
    call: str
    params: dict[str, Any] = field(default_factory=dict)
    url: str = "modelFileUrl"
    query_parameter: str = "trainingData"

    def config(self, name: str, url: str) -> dict[str, Any]:
        """The procedure's config; its model goes to a URL and its function is called ``name``."""
        given = {self.query_parameter: self.query, self.url: url, "functionName": name, **self.params}
        if self.procedure == "classifier.experiment":
            del given["functionName"]
            given["experimentName"] = name
        return {"type": self.procedure, "params": given}

    def function(self, name: str) -> str:
        """The id of the function that is made."""
        return f"{name}_scorer_0" if self.procedure == "classifier.experiment" else name


def classifier(configuration: dict[str, Any], query: str = _FEATURES, **params: Any) -> Training:
    call = "({features: {x: 1, y: 2, tokens: {good: 1}}})"
    return Training("classifier.train", query, call, {"configuration": configuration, **params})


_OUTCOMES = {"outcomes": [["won", "label = 1"]]}
_NUMBERS = "SELECT x, y FROM pairs"
_WORDS = "SELECT tokens.* FROM pairs"

TRAININGS: dict[str, Training] = {
    "tree": classifier(_TREE),
    "stump": classifier({"type": "stump"}),
    "boosted_stumps": classifier({"type": "boosted_stumps", "min_iter": 3, "max_iter": 5}),
    "boosting": classifier({"type": "boosting", "min_iter": 2, "max_iter": 3, "weak_learner": _TREE}),
    "bagging": classifier({"type": "bagging", "num_bags": 3, "weak_learner": _TREE}),
    "glz": classifier({"type": "glz"}),
    "perceptron": classifier({"type": "perceptron", "arch": "4", "max_iter": 5}),
    "naive_bayes": classifier({"type": "naive_bayes"}),
    "fasttext": classifier(
        {"type": "fasttext", "dims": 4, "epoch": 1},
        "SELECT {tokens.*} AS features, kind AS label FROM pairs",
        mode="categorical",
    ),
    "constant": classifier({"type": "null"}),
    "regression": classifier(_TREE, "SELECT {x} AS features, y AS label FROM pairs", mode="regression"),
    "multilabel": classifier(
        _TREE, "SELECT {x, y} AS features, {tokens.*} AS label FROM pairs", mode="multilabel",
    ),
    "experiment": Training(
        "classifier.experiment",
        "SELECT {x, y} AS features, label FROM pairs",
        "({features: {x: 1, y: 2}})",
        {"configuration": _TREE},
        "modelFileUrlPattern",
        "inputData",
    ),
    "forest": Training(
        "randomforest.binary.train", _FEATURES, "({features: {x: 1, y: 2}})",
        {"featureVectorSamplings": 2, "featureSamplings": 2},
    ),
    "probabilizer": Training("probabilizer.train", "SELECT x AS score, label FROM pairs", "({score: 1})"),
    "svm": Training("svm.train", "SELECT x, y, label FROM pairs", "({embedding: {x: 1, y: 2}})"),
    "svd": Training("svd.train", "SELECT x, y, kind FROM pairs", "({row: {x: 1, y: 2}})"),
    "kmeans": Training("kmeans.train", _NUMBERS, "({embedding: {x: 1, y: 2}})", {"numClusters": 2}),
    "gaussians": Training("gaussianclustering.train", _NUMBERS, "({embedding: {x: 1, y: 2}})", {"numClusters": 2}),
    "tsne": Training("tsne.train", _NUMBERS, "", {"maxIterations": 10}),
    "tfidf": Training("tfidf.train", _WORDS, "({input: {good: 1}})"),
    "stats": Training("statsTable.train", "SELECT kind FROM pairs", "({keys: {kind: 'a'}})", _OUTCOMES,
                      "statsTableFileUrl"),
    "words": Training(
        "statsTable.bagOfWords.train", _WORDS, "({words: {good: 1}})",
        {**_OUTCOMES, "functionOutcomeToUse": "won"}, "statsTableFileUrl",
    ),
    "distributions": Training(
        "experimental.distTable.train", "SELECT kind FROM pairs", "({features: {kind: 'a'}})",
        {"outcomes": [["won", "label"]]}, "distTableFileUrl",
    ),
}  # fmt: skip


def make_datasets(client: Any) -> None:
    """``pairs`` is a view that merges ``dense`` (tabular: x, y, label, kind) and ``sparse`` (tokens)."""
    rng = random.Random(1)
    dense, sparse = [], []
    for number in range(40):
        label = number % 2
        cells = {"x": rng.gauss(3 * label, 1), "y": rng.gauss(0, 1), "label": label, "kind": "ab"[number % 3 > 0]}
        dense.append([f"r{number}", [[name, value, 0] for name, value in cells.items()]])
        sparse.append([f"r{number}", [[f"tokens.{rng.choice(['good', 'bad'])}", 1, 0], ["tokens.all", 1, 0]]])
    for name, type_, rows in (("dense", "tabular", dense), ("sparse", "sparse.mutable", sparse)):
        client.put(f"/v1/datasets/{name}", json={"type": type_}).raise_for_status()
        client.post(f"/v1/datasets/{name}/multirows", json=rows).raise_for_status()
        client.post(f"/v1/datasets/{name}/commit").raise_for_status()
    view = {"type": "merged", "params": {"datasets": [{"id": "dense"}, {"id": "sparse"}]}}
    client.put("/v1/datasets/pairs", json=view).raise_for_status()
