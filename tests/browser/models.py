"""What the journeys through reports look at: flowers with pictures, models made of them, their tests."""

from __future__ import annotations

import base64
import io
import math
import random
from typing import Any

from PIL import Image, ImageDraw

from tests.conftest import Client

KINDS = ("setosa", "versicolor", "virginica")
COLOURS = ((214, 68, 96), (66, 133, 244), (240, 180, 40))
FEATURES = "{petal_length, petal_width, sepal_length, sepal_width}"
MODELS = "file:///mldb_data/models"
MEASURES = "SELECT petal_length, petal_width, sepal_length, sepal_width FROM flowers"


def furnish(client: Client, count: int = 150) -> None:
    """The dataset ``flowers`` and a procedure, with a run, of each type that has a report."""
    rng = random.Random(7)
    client.put("/v1/datasets/flowers", json={"type": "sparse.mutable"})
    client.post("/v1/datasets/flowers/multirows", json=[[f"flower {i}", flower(i, rng)] for i in range(count)])
    client.post("/v1/datasets/flowers/commit")
    for name, type_, params in (*CLASSIFIERS, *MAPS):
        answer = client.put(f"/v1/procedures/{name}", json={"type": type_, "params": params})
        assert answer.status_code == 201, answer.text
    client.put("/v1/functions/why", json={"type": "classifier.explain", "params": {"modelFileUrl": f"{MODELS}/b.cls"}})


def flower(number: int, rng: random.Random) -> list[list[Any]]:
    kind = number % 3
    length = max(0.4, 1.6 + 1.7 * kind + rng.gauss(0, 0.6))
    values = {
        "petal_length": length,
        "petal_width": max(0.1, length / 3 + rng.gauss(0, 0.2)),
        "sepal_length": 5 + kind / 2 + rng.gauss(0, 0.5),
        "sepal_width": 3.2 + rng.gauss(0, 0.4),
    }
    cells = [[name, round(value, 2), 0] for name, value in values.items()]
    return [*cells, ["kind", KINDS[kind], 0], ["picture", picture(kind, length), 0]]


def picture(kind: int, size: float) -> str:
    """A small drawing of a flower, as a ``data:`` URL."""
    middle, petals = 20, 5 + kind
    reach = min(13.0, 4 + 1.4 * size)
    drawn = Image.new("RGB", (2 * middle, 2 * middle), (250, 250, 246))
    brush = ImageDraw.Draw(drawn)
    for number in range(petals):
        angle = 2 * math.pi * number / petals
        x, y, half = middle + reach * math.sin(angle), middle - reach * math.cos(angle), reach / 2 + 1
        brush.ellipse((x - half, y - half, x + half, y + half), COLOURS[kind])
    brush.ellipse((middle - 5, middle - 5, middle + 5, middle + 5), (120, 80, 40))
    packed = io.BytesIO()
    drawn.resize((32, 32), Image.Resampling.LANCZOS).save(packed, "PNG")
    return "data:image/png;base64," + base64.b64encode(packed.getvalue()).decode()


def training(label: str, where: str) -> str:
    return f"SELECT {FEATURES} AS features, {label} AS label FROM flowers WHERE {where}"


def testing(function: str, label: str, score: str) -> str:
    called = f"{function}({{{FEATURES} AS features}})"
    return f"SELECT {called}{score} AS score, {label} AS label FROM flowers WHERE rowHash() % 2 = 1"


LEARNER = {"configuration": {"type": "bagging", "num_bags": 15, "weak_learner": {"type": "decision_tree"}}}
LABELS = {
    "b": ("boolean", "kind = 'versicolor'", "[score]"),
    "c": ("categorical", "kind", "[scores]"),
    "r": ("regression", "petal_width", "[score]"),
}
NAMES = {"b": "versicolor", "c": "kinds", "r": "width"}
WITHOUT_WIDTH = "{petal_length, sepal_length, sepal_width}"

CLASSIFIERS: list[tuple[str, str, dict[str, Any]]] = []
for _key, (_mode, _label, _score) in LABELS.items():
    _name = NAMES[_key]
    _features = WITHOUT_WIDTH if _key == "r" else FEATURES
    CLASSIFIERS += [
        (f"train {_name}", "classifier.train", LEARNER | {
            "mode": _mode, "modelFileUrl": f"{MODELS}/{_key}.cls", "functionName": f"{_name}_scorer",
            "trainingData": training(_label, "rowHash() % 2 = 0").replace(FEATURES, _features),
        }),
        (f"test {_name}", "classifier.test", {
            "mode": _mode, "outputDataset": {"id": f"{_name}_scores", "type": "tabular"},
            "testingData": testing(f"{_name}_scorer", _label, _score).replace(FEATURES, _features),
        }),
    ]  # fmt: skip
CLASSIFIERS += [
    ("experiment", "classifier.experiment", LEARNER | {
        "mode": "boolean", "experimentName": "trial", "kfold": 3, "modelFileUrlPattern": f"{MODELS}/$runid.cls",
        "inputData": f"SELECT {FEATURES} AS features, kind = 'virginica' AS label FROM flowers",
    }),
]  # fmt: skip
MAPS: list[tuple[str, str, dict[str, Any]]] = [
    ("group flowers", "kmeans.train", {
        "trainingData": MEASURES, "metric": "euclidean", "numClusters": 3, "functionName": "group_of",
        "modelFileUrl": f"{MODELS}/flowers.kms",
        "outputDataset": {"id": "flower_groups", "type": "embedding"},
        "centroidsDataset": {"id": "flower_centres", "type": "embedding"},
    }),
    ("factors", "svd.train", {
        "trainingData": MEASURES, "numSingularValues": 3, "modelFileUrl": f"{MODELS}/flowers.svd",
        "rowOutputDataset": {"id": "flower_factors", "type": "embedding"}, "functionName": "factors_of",
    }),
    ("map flowers", "tsne.train", {
        "trainingData": MEASURES, "maxIterations": 500, "rowOutputDataset": {"id": "flower_map", "type": "embedding"},
    }),
]  # fmt: skip
