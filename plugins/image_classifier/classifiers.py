"""Classifiers of pictures: what is known of each, their training, and asking them.

A classifier is a JSON file that describes it, and MLDB entities whose names begin with its id: datasets <id>_pictures,
<id>_features and <id>_labels, functions <id>_scorer (features → scores) and <id> (a base64 picture → scores). Ids are
made here; texts from requests only ever travel as values.
"""

import base64
import json
import secrets
import time
from collections import Counter
from typing import Any

import jobs
import preparation
from jobs import Job, Refused
from mldb import mldb
from preparation import FOLDER

FOLDS = 3
MOST_PICTURES = 5000
FEWEST_IN_CLASS = FOLDS + 1
FEATURES = "inception_image({content: base64_decode(image)}) AS *"
# A linear model on the network's features: the usual way of transfer learning, and quick.
ALGORITHM = {"type": "glz", "regularization": "l2", "regularization_factor": 0.001, "normalize": True}

known: dict[str, dict[str, Any]] = {}


def restore() -> None:
    """Take up the classifiers of earlier runs; MLDB has kept their datasets and functions."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for file in FOLDER.glob("*.classifier.json"):
        about = json.loads(file.read_text())
        known[about["id"]] = about
    for dataset in mldb.get("/v1/datasets").json():
        id = dataset.rpartition("_")[0]
        if id.startswith("classes_") and id not in known:  # the server was stopped in its training
            forget(id)


def models() -> list[dict[str, Any]]:
    """Descriptions of all classifiers, oldest first; ``usable`` is false when the network has changed since."""
    usable = ("", preparation.status.network)
    oldest_first = sorted(known.values(), key=lambda about: about["made"])
    return [{**about, "usable": about["network"] in usable} for about in oldest_first]


def keep(about: dict[str, Any]) -> None:
    known[about["id"]] = about
    file = FOLDER / f"{about['id']}.classifier.json"
    part = file.with_suffix(".part")
    part.write_text(json.dumps(about))
    part.replace(file)


def forget(id: str) -> None:
    known.pop(id, None)
    for path in (f"functions/{id}", f"functions/{id}_scorer"):
        mldb.perform("DELETE", f"/v1/{path}")
    for part in ("pictures", "features", "labels", "map"):
        mldb.perform("DELETE", f"/v1/datasets/{id}_{part}")
    for file in FOLDER.glob(f"{id}[.-]*"):
        file.unlink()


def train(title: str, classes: dict[str, list[str]], heap: list[str]) -> Job:
    """Train on ``{label: [base64 pictures]}`` in the background; the heap has no labels yet."""
    labels = [label for label, pictures in classes.items() for _ in pictures]
    sizes = Counter(labels)
    if len(sizes) < 2 or min(sizes.values()) < FEWEST_IN_CLASS:
        raise Refused(f"at least two classes are needed, with at least {FEWEST_IN_CLASS} pictures each")
    pictures = [picture for pictures in classes.values() for picture in pictures] + heap
    if len(pictures) > MOST_PICTURES:
        raise Refused(f"at most {MOST_PICTURES} pictures can be trained on here")
    if not preparation.status.network:
        raise Refused("the network is not ready yet")
    return jobs.start(Job(f"classes_{secrets.token_hex(4)}"), _train, title, labels, pictures)


def _train(job: Job, title: str, labels: list[str], pictures: list[str]) -> None:
    id = job.id
    try:
        mldb.put(f"/v1/datasets/{id}_pictures", {"type": "tabular"})
        record(f"{id}_pictures", "image", {str(row): picture for row, picture in enumerate(pictures)})
        mldb.put(f"/v1/datasets/{id}_labels", {"type": "sparse.mutable"})
        record(f"{id}_labels", "label", {str(row): label for row, label in enumerate(labels)})
        features = {"inputData": f"SELECT {FEATURES} FROM {id}_pictures", "outputDataset": f"{id}_features"}
        jobs.run(job, "features", "transform", features)
        learn(job, title, f"merge({id}_features, {id}_labels)", preparation.status.network)
    except Exception:
        forget(id)
        raise


def record(dataset: str, column: str, values: dict[str, str]) -> None:
    """Write a value into a column for each row named, and commit."""
    now = time.time()
    rows = [[row, [[column, value, now]]] for row, value in values.items()]
    for first in range(0, len(rows), 200):
        mldb.post(f"/v1/datasets/{dataset}/multirows", rows[first : first + 200])
    mldb.post(f"/v1/datasets/{dataset}/commit")


def learn(job: Job, title: str, table: str, network: str) -> None:
    """Train on the rows that have a label: from then on the classifier can be asked. Then find out how good it is."""
    id = job.id
    labelled = f"(SELECT * FROM {table} WHERE label IS NOT NULL)"
    examples = f"SELECT {{* EXCLUDING (label)}} AS features, label FROM {labelled}"
    learning = {"mode": "categorical", "configuration": ALGORITHM}
    model = {"modelFileUrl": f"file://{FOLDER}/{id}.cls", "functionName": f"{id}_scorer"}
    jobs.run(job, "training", "classifier.train", {"trainingData": examples, **model, **learning})
    make_function(id, network)
    counts = mldb.query(f"SELECT label, count(*) AS pictures FROM {labelled} GROUP BY label ORDER BY label")[1:]
    about = known[id] = {
        "made": time.time(), "accuracy": None, "confusion": [], "history": [], **known.get(id, {}), "id": id,
        "title": title, "network": network, "weights": preparation.status.weights if network else "none",
        "labels": [label for _, label, _ in counts], "pictures": sum(count for *_, count in counts),
    }  # fmt: skip
    tested = _test(job, examples, learning)
    keep({**about, **tested, "history": [*about["history"], [about["pictures"], tested["accuracy"]]]})


def make_function(id: str, network: str) -> None:
    """From a picture to its scores, through the network."""
    if network:
        expression = f"{id}_scorer({{features: {{{FEATURES}}}}})[scores] AS scores"
        mldb.put(f"/v1/functions/{id}", {"type": "sql.expression", "params": {"expression": expression}})


def _test(job: Job, examples: str, learning: dict[str, Any]) -> dict[str, Any]:
    """How good such classifiers are at pictures that they were not trained on."""
    pattern = f"file://{FOLDER}/{job.id}-$runid.cls"
    test = {"inputData": examples, "kfold": FOLDS, "experimentName": f"{job.id}_test", "modelFileUrlPattern": pattern}
    tidy = {"keepArtifacts": False, "outputAccuracyDataset": False}
    result = jobs.run(job, "test", "classifier.experiment", {**test, **tidy, **learning})
    cells: Counter[tuple[str, str]] = Counter()
    for fold in result["folds"]:
        for cell in fold["resultsTest"]["confusionMatrix"]:
            cells[str(cell["actual"]), str(cell["predicted"])] += cell["count"]
    right = sum(count for (actual, predicted), count in cells.items() if actual == predicted)
    return {
        "accuracy": right / max(1, cells.total()),
        "confusion": [[actual, predicted, count] for (actual, predicted), count in sorted(cells.items())],
    }


def scores(function: str, given: dict[str, Any]) -> list[dict[str, Any]]:
    """Labels with their part of the whole, best first; MLDB's refusal of what is no picture."""
    reply = mldb.get(f"/v1/functions/{function}/application", {"input": given}).json()
    found = {json.loads(name): max(0.0, cell[0]) for name, cell in reply["output"]["scores"]}
    total = sum(found.values()) or 1.0
    ranked = sorted(found, key=found.get, reverse=True)
    return [{"label": str(label), "score": found[label] / total} for label in ranked]


def imagenet(picture: bytes, most: int = 8) -> list[dict[str, Any]]:
    """The likeliest of ImageNet's thousand labels."""
    if not preparation.labels:
        reason = preparation.status.remedy or "the network is not ready yet"
        raise Refused(f"There are no ImageNet labels: {reason}", 503)
    given = {"image": base64.b64encode(picture).decode()}
    reply = mldb.get("/v1/functions/image_labels/application", {"input": given}).json()
    probabilities = reply["output"]["softmax"]["val"][0]
    ranked = sorted(range(len(probabilities)), key=lambda number: -probabilities[number])[:most]
    return [{"label": preparation.labels[n], "score": probabilities[n]} for n in ranked]
