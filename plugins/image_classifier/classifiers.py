"""Trains classifiers on classes of pictures, keeps their descriptions, and asks them.

A classifier is a handful of MLDB entities whose names begin with its id, and a JSON file that describes it. Ids are
made here; texts from requests only ever travel as values.
"""

import base64
import csv
import gzip
import importlib.util
import io
import json
import secrets
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pixels
import preparation
from mldb import mldb
from PIL import Image

FOLDS = 3
KEPT_APART = 120  # each such digit is a sample
MOST_PICTURES = 5000
FEWEST_IN_CLASS = FOLDS + 1
NETWORK, LEVELS = "inception", "levels"  # what a classifier looks at: the network's features, or grey levels
FEATURES = "inception_image({content: base64_decode(image)}) AS *"
# A linear model on the network's features: the usual way of transfer learning, and quick.
ALGORITHM = {"type": "glz", "regularization": "l2", "regularization_factor": 0.001, "normalize": True}

Row = tuple[str, dict[str, Any]]  # a label, and the columns beside it

_known: dict[str, dict[str, Any]] = {}
_jobs: dict[str, "Job"] = {}


@dataclass
class Job:
    """A training under way. ``state``: training, ready or failed; ``part`` is how much of ``step`` is done."""

    id: str
    state: str = "training"
    step: str = "pictures"
    part: float = 0.0
    error: str = ""


class Refused(Exception):
    """Raised for pictures that cannot be trained on; the text is for the user."""


def models() -> list[dict[str, Any]]:
    """Descriptions of all classifiers, oldest first; ``usable`` is false when the network has changed since."""
    return [{**about, "usable": _usable(about)} for about in sorted(_known.values(), key=lambda about: about["made"])]


def model(id: str) -> dict[str, Any] | None:
    return _known.get(id)


def job(id: str) -> Job | None:
    return _jobs.get(id)


def _usable(about: dict[str, Any]) -> bool:
    return about["features"] == LEVELS or about["network"] == preparation.status.network


def restore(features: str = NETWORK) -> None:
    """Take up the classifiers of earlier runs that look at these features."""
    for file in sorted(preparation.FOLDER.glob("*.classifier.json")):
        about = json.loads(file.read_text())
        if about["features"] == features and about["id"] not in _known and _model_file(about["id"]).exists():
            _make_functions(about["id"], features)
            _known[about["id"]] = about


def train_digits() -> None:
    """A first classifier, on the handwritten digits that scikit-learn brings; some are kept apart as samples."""
    restore(LEVELS)
    if "digits" in _known:
        return
    job = _jobs["digits"] = Job("digits")
    digits = list(_digits())
    samples = [_data_url(picture) for _, picture in digits[::KEPT_APART]]
    (preparation.FOLDER / "samples.json").write_text(json.dumps(samples))
    rows = [(label, pixels.levels(picture)) for number, (label, picture) in enumerate(digits) if number % KEPT_APART]
    _train(job, "Handwritten digits", rows, LEVELS)


def _digits() -> Iterator[tuple[str, Image.Image]]:
    """Label and picture, from scikit-learn's file of them, since importing it takes longer than the training."""
    library = importlib.util.find_spec("sklearn")
    with gzip.open(Path(library.origin).parent / "datasets" / "data" / "digits.csv.gz", "rt") as file:
        for *levels, label in csv.reader(file):
            yield str(int(label)), Image.frombytes("L", (8, 8), bytes(int(float(level) * 255 / 16) for level in levels))


def _data_url(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.resize((64, 64), 0).save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def start_training(title: str, classes: dict[str, list[str]]) -> Job:
    """Train on ``{label: [base64 pictures]}`` in the background."""
    rows = [(label, {"image": picture}) for label, several in classes.items() for picture in several]
    sizes = Counter(label for label, _ in rows)
    if len(sizes) < 2 or min(sizes.values()) < FEWEST_IN_CLASS:
        raise Refused(f"at least two classes are needed, with at least {FEWEST_IN_CLASS} pictures each")
    if len(rows) > MOST_PICTURES:
        raise Refused(f"at most {MOST_PICTURES} pictures can be trained on here")
    if preparation.status.state != "ready":
        raise Refused("the network is not ready yet")
    started = Job(f"classes_{secrets.token_hex(4)}")
    _jobs[started.id] = started
    threading.Thread(target=_train, args=(started, title, rows, NETWORK), daemon=True).start()
    return started


def _train(job: Job, title: str, rows: list[Row], features: str) -> None:
    try:
        _learn(job, title, rows, features)
        job.state, job.step, job.part = "ready", "ready", 1.0
    except Exception as error:
        job.state, job.error = "failed", str(error)
        mldb.log(f"Image classifier: training '{title}' failed: {error}")
    finally:
        for name in ("images", "features"):
            mldb.perform("DELETE", f"/v1/datasets/{job.id}_{name}")


def _learn(job: Job, title: str, rows: list[Row], features: str) -> None:
    """Train on all pictures: from then on the classifier can be asked. Then find out how good it is."""
    if features == LEVELS:
        _record(f"{job.id}_features", rows)
    else:
        _record(f"{job.id}_images", rows)
        computed = {"select": f"label, {FEATURES}", "from": f"{job.id}_images"}
        _run(job, "features", {"type": "transform", "inputData": computed, "outputDataset": f"{job.id}_features"})
    examples = {"select": "{* EXCLUDING(label)} AS features, label", "from": f"{job.id}_features"}
    learning = {"mode": "categorical", "configuration": ALGORITHM}
    model = {"modelFileUrl": f"file://{_model_file(job.id)}"}
    _run(job, "training", {"type": "classifier.train", "trainingData": examples, **model, **learning})
    _make_functions(job.id, features)
    about = _known[job.id] = _describe(job.id, title, [label for label, _ in rows], features)
    _known[job.id] = {**about, **_tested(job, examples, learning)}
    (preparation.FOLDER / f"{job.id}.classifier.json").write_text(json.dumps(_known[job.id]))


def _tested(job: Job, examples: dict[str, str], learning: dict[str, Any]) -> dict[str, Any]:
    """How good such classifiers are at pictures that they were not trained on."""
    pattern = f"file://{preparation.FOLDER}/{job.id}-$runid.cls"
    test = {"inputData": examples, "kfold": FOLDS, "experimentName": f"{job.id}_test", "modelFileUrlPattern": pattern}
    tidy = {"keepArtifacts": False, "outputAccuracyDataset": False}
    result = _run(job, "test", {"type": "classifier.experiment", **test, **tidy, **learning})
    cells: Counter[tuple[str, str]] = Counter()
    for fold in result["folds"]:
        for cell in fold["resultsTest"]["confusionMatrix"]:
            cells[str(cell["actual"]), str(cell["predicted"])] += cell["count"]
    right = sum(count for (actual, predicted), count in cells.items() if actual == predicted)
    return {
        "heldOut": cells.total(),
        "accuracy": right / max(1, cells.total()),
        "confusion": [[actual, predicted, count] for (actual, predicted), count in sorted(cells.items())],
    }


def _model_file(id: str) -> Path:
    return preparation.FOLDER / f"{id}.cls"


def _make_functions(id: str, features: str) -> None:
    """The scorer, and for one that looks through the network function ``id``, from a base64 picture to its scores."""
    preparation.ensure(f"{id}_scorer", "classifier", {"modelFileUrl": f"file://{_model_file(id)}"})
    if features == NETWORK:
        expression = f"{id}_scorer({{features: {{{FEATURES}}}}})[scores] AS scores"
        preparation.ensure(id, "sql.expression", {"expression": expression})


def _record(id: str, rows: list[Row]) -> None:
    mldb.perform("DELETE", f"/v1/datasets/{id}")
    dataset = mldb.create_dataset({"id": id, "type": "tabular"})
    now = int(time.time())
    for start in range(0, len(rows), 200):
        some = enumerate(rows[start : start + 200], start)
        dataset.record_rows(
            [
                (str(number), [("label", label, now), *((name, value, now) for name, value in columns.items())])
                for number, (label, columns) in some
            ]
        )
    dataset.commit()


def _run(job: Job, step: str, params: dict[str, Any]) -> Any:
    """Run a procedure to its end, its progress being the job's; the run's status."""
    job.step, job.part = step, 0.0
    kind = params.pop("type")
    path = f"/v1/procedures/{job.id}_{step}"
    mldb.put(path, {"type": kind, "params": {**params, "runOnCreation": False}})
    run = json.loads(mldb.perform("POST", f"{path}/runs", [], {}, [["async", "true"]])["response"])
    while True:
        answer = mldb.get(f"{path}/runs/{run['id']}").json()
        if answer["state"] in ("finished", "error", "cancelled"):
            break
        steps = answer.get("progress", {}).get("steps", [])
        job.part = max([job.part, *(step["value"] for step in steps if step.get("type") == "percentile")])
        time.sleep(0.1)
    mldb.perform("DELETE", path)
    if answer["state"] != "finished":
        raise RuntimeError(json.dumps(answer.get("progress", answer)))
    return answer.get("status")


def _describe(id: str, title: str, labels: list[str], features: str) -> dict[str, Any]:
    """What the page shows of a classifier; ``accuracy`` is None until it has been tested."""
    return {
        "id": id,
        "title": title,
        "features": features,
        "network": preparation.status.network if features == NETWORK else "",
        "weights": preparation.status.weights if features == NETWORK else "none",
        "labels": sorted(set(labels)),
        "pictures": len(labels),
        "made": time.time(),
        "accuracy": None,
        "confusion": [],
    }


def scores(id: str, picture: bytes) -> list[dict[str, Any]]:
    """Labels with their part of the whole, best first; ``pixels.NoPicture`` or the server's refusal of the picture."""
    if _known[id]["features"] == LEVELS:
        function, given = f"{id}_scorer", {"features": pixels.levels(pixels.read(picture))}
    else:
        function, given = id, {"image": base64.b64encode(picture).decode()}
    reply = mldb.get(f"/v1/functions/{function}/application", {"input": given}).json()
    found = {json.loads(name): max(0.0, cell[0]) for name, cell in reply["output"]["scores"]}
    total = sum(found.values()) or 1.0
    ranked = sorted(found.items(), key=lambda item: -item[1])
    return [{"label": str(label), "score": score / total} for label, score in ranked]


def imagenet(picture: bytes, most: int = 8) -> list[dict[str, Any]]:
    """The likeliest of ImageNet's thousand labels."""
    given = {"image": base64.b64encode(picture).decode()}
    reply = mldb.get("/v1/functions/image_labels/application", {"input": given}).json()
    probabilities = reply["output"]["softmax"]["val"][0]
    ranked = sorted(range(len(probabilities)), key=lambda number: -probabilities[number])[:most]
    return [{"label": preparation.status.labels[n], "score": probabilities[n]} for n in ranked]
