"""Teaching: the training of classifiers, their questions about pictures without a label, the map of all pictures.

MLDB's procedures do the work, in the background, and know how far they are.
"""

import base64
import secrets
import threading
import time
from collections import Counter
from typing import Any

import inception
from classifiers import FEATURES, described, forget, keep, known, make_function, runs
from inception import ADDRESS
from mldb import HTTPException, mldb

FOLDS = 3
MOST_PICTURES = 5000
FEWEST_IN_CLASS = FOLDS + 1
QUESTIONS = 6  # in a round
MOST_ON_MAP = 500
STEPS = ("features", "training", "test")
# A linear model on the network's features: the usual way of transfer learning, and quick.
ALGORITHM = {"type": "glz", "regularization": "l2", "regularization_factor": 0.001, "normalize": True}

starting = threading.Lock()  # held from the look whether something is under way to the start of it


def train(wanted: dict[str, Any]) -> dict[str, Any]:
    """Train on ``{"title": …, "classes": {label: [base64 pictures]}, "heap": [pictures without a label]}``."""
    title, classes, heap = wanted.get("title"), wanted.get("classes"), wanted.get("heap", [])
    if not (isinstance(title, str) and isinstance(classes, dict) and all(map(are_texts, [*classes.values(), heap]))):
        raise HTTPException(
            400, "send a title and classes, {label: [base64 pictures]}, and maybe a heap, a list of such pictures"
        )
    labels = [label for label, pictures in classes.items() for _ in pictures]
    sizes = Counter(labels)
    if len(sizes) < 2 or min(sizes.values()) < FEWEST_IN_CLASS:
        raise HTTPException(400, f"at least two classes are needed, with at least {FEWEST_IN_CLASS} pictures each")
    pictures = [picture for pictures in classes.values() for picture in pictures] + heap
    if len(pictures) > MOST_PICTURES:
        raise HTTPException(400, f"at most {MOST_PICTURES} pictures can be trained on here")
    if not inception.status["network"]:
        raise HTTPException(400, "the network is not ready yet")
    id = f"classes_{secrets.token_hex(4)}"
    keep(id, title, inception.status["network"], inception.status["weights"])
    try:
        mldb.put(f"/v1/datasets/{id}_pictures", {"type": "tabular"})
        record(f"{id}_pictures", "image", {str(row): picture for row, picture in enumerate(pictures)})
        mldb.put(f"/v1/datasets/{id}_labels", {"type": "sparse.mutable"})
        record(f"{id}_labels", "label", {str(row): label for row, label in enumerate(labels)})
        make_function(id)
        features = {"inputData": f"SELECT {FEATURES} FROM {id}_pictures", "outputDataset": f"{id}_features"}
        return learn(id, f"merge({id}_features, {id}_labels)", {"type": "transform", "params": features})
    except Exception:
        forget(id)
        raise


def are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def record(dataset: str, column: str, values: dict[str, str]) -> None:
    """Write a value into a column for each row named, and commit."""
    now = time.time()
    rows = [[row, [[column, value, now]]] for row, value in values.items()]
    for first in range(0, len(rows), 200):
        mldb.post(f"/v1/datasets/{dataset}/multirows", rows[first : first + 200])
    mldb.post(f"/v1/datasets/{dataset}/commit")


def learn(id: str, table: str, first: dict[str, Any]) -> dict[str, Any]:
    """Train on the table's rows that have a label: from then on the classifier can be asked. Then find out how good
    such classifiers are at pictures that they were not trained on. ``first`` makes the table."""
    examples = f"SELECT {{* EXCLUDING (label)}} AS features, label FROM (SELECT * FROM {table} WHERE label IS NOT NULL)"
    learning = {"mode": "categorical", "configuration": ALGORITHM}
    model = {"modelFileUrl": f"{ADDRESS}/{id}.cls", "functionName": f"{id}_scorer"}
    pattern = f"{ADDRESS}/{id}-$runid.cls"
    test = {"inputData": examples, "kfold": FOLDS, "experimentName": f"{id}_test", "modelFileUrlPattern": pattern}
    tidy = {"keepArtifacts": False, "outputAccuracyDataset": False}
    steps = [
        {"type": "classifier.train", "params": {"trainingData": examples, **model, **learning}},
        {"type": "classifier.experiment", "params": {**test, **tidy, **learning}},
    ]
    make_procedure(id, "serial", {"steps": steps})
    return start(id, {"steps": [first, *steps]})


def make_procedure(id: str, type: str, params: dict[str, Any]) -> None:
    mldb.put(f"/v1/procedures/{id}", {"type": type, "params": {**params, "runOnCreation": False}})


def start(procedure: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
    """Run a procedure in the background, with other parameters this once."""
    mldb.post_async(f"/v1/procedures/{procedure}/runs", {"params": params or {}})
    return job(procedure)


def job(procedure: str) -> dict[str, Any]:
    """How far its newest run is. ``state``: working, ready or failed; ``part`` is how much of ``step`` is done."""
    ours = procedure.removesuffix("_map") in known
    if not ours or not (names := runs(procedure)):
        raise HTTPException(404, "there is no such training: has it failed before?")
    run = mldb.get(f"/v1/procedures/{procedure}/runs/{names[-1]}").json()
    state = {"finished": "ready", "error": "failed", "cancelled": "failed"}.get(run["state"], "working")
    progress = run.get("progress", {})
    steps = progress.get("steps", [])
    begun = [step for step in steps if "started" in step]
    now = STEPS[len(begun) - len(steps) - 1] if begun else STEPS[0]  # a first training has one step more
    inside = begun[-1].get("subProgress", progress)["steps"][-1] if begun else {"value": 0}
    failure = progress.get("exception", {})
    error = failure.get("details", {}).get("runError", failure).get("error", "")
    if state == "failed" and len(names) == 1:
        forget(procedure)  # nobody could use what a first training has left
    return {"id": procedure, "state": state, "step": now, "part": inside["value"], "error": error}


def questions(id: str) -> dict[str, Any]:
    """Names of the pictures that it is least sure of, the worst first, and how many have no label."""
    scored = f"SELECT {id}_scorer({{features: {{*}}}})[scores] + 0.000001 AS s FROM {unlabelled(id)}"
    entropy = "ln(horizontal_sum(s)) - horizontal_sum(s * ln(s)) / horizontal_sum(s)"
    rows = mldb.query(f"SELECT {entropy} AS doubt FROM ({scored}) ORDER BY doubt DESC LIMIT {QUESTIONS}")[1:]
    left = mldb.query(f"SELECT count(*) FROM {unlabelled(id)}")[1][1]
    return {"rows": [row for row, _ in rows], "left": left}


def unlabelled(id: str) -> str:
    """The network's numbers for the pictures without a label, as a table of a query."""
    return f"(SELECT * FROM {id}_features WHERE rowName() NOT IN (SELECT rowName() FROM {id}_labels))"


def answer(id: str, answers: dict[str, str]) -> dict[str, Any]:
    """Take the user's labels of such pictures, and train anew with them."""
    labels = described(id)["labels"]
    with starting:
        open_ = {row for row, _ in mldb.query(f"SELECT 1 FROM {unlabelled(id)}")[1:]}
        if not answers or not set(answers) <= open_ or not all(label in labels for label in answers.values()):
            raise HTTPException(400, "an answer is one of the classifier's labels for a picture that has none")
        if job(id)["state"] == "working":
            raise HTTPException(409, "it is still at work")
        record(f"{id}_labels", "label", answers)
        return start(id)


def picture(id: str, row: str) -> bytes:
    query = f"SELECT image FROM {id}_pictures WHERE rowName() = $row"
    rows = mldb.get("/v1/query", {"q": query, "params": {"row": row}, "format": "table"}).json()[1:]
    if not rows:
        raise HTTPException(404, "there is no such picture")
    return base64.b64decode(rows[0][1])


def place(id: str) -> dict[str, Any]:
    """Make the map, once."""
    map = f"{id}_map"
    with starting:
        if runs(map) and (placed := job(map))["state"] != "failed":
            return placed
        points = f"SELECT * FROM {id}_features LIMIT {MOST_ON_MAP}"
        make_procedure(map, "tsne.train", {"trainingData": points, "rowOutputDataset": map})
        return start(map)


def positions(id: str) -> list[dict[str, Any]]:
    """Where each picture lies, those that look alike together, and its label if it has one; 404 without a map."""
    query = f"SELECT x, y, label FROM merge({id}_map, {id}_labels) WHERE x IS NOT NULL"
    return mldb.get("/v1/query", {"q": query, "format": "aos"}).json()
