"""Trains classifiers on classes of pictures, keeps their descriptions, and asks them.

A classifier is a handful of MLDB entities whose names begin with its id, and a JSON file that describes it. Ids are
made here; texts from requests only ever travel as values.
"""

import base64
import io
import json
import secrets
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import preparation
from mldb import mldb

FOLDS = 3
MOST_PICTURES = 5000
FEWEST_IN_CLASS = FOLDS + 1
FEATURES = {
    "pixels": "image_pixels({content: base64_decode(image)}) AS *",
    "inception": "inception_image({content: base64_decode(image)}) AS *",
}
# A linear model on the network's features: the usual way of transfer learning, and quick.
ALGORITHM = {"type": "glz", "regularization": "l2", "regularization_factor": 0.001, "normalize": True}

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
    return about["features"] == "pixels" or about["network"] == preparation.status.network


def restore() -> None:
    """Take up the classifiers of earlier runs."""
    for file in sorted(preparation.FOLDER.glob("*.classifier.json")):
        about = json.loads(file.read_text())
        if about["id"] not in _known and _model_file(about["id"]).exists():
            _make_functions(about["id"], about["features"])
            _known[about["id"]] = about


def train_digits() -> None:
    """A first classifier, on the handwritten digits that scikit-learn brings; some are kept apart as samples."""
    restore()
    if "digits" in _known:
        return
    job = _jobs["digits"] = Job("digits")
    from PIL import Image
    from sklearn.datasets import load_digits

    digits = load_digits()
    pictures, samples = [], []
    for number, (levels, label) in enumerate(zip(digits.images, digits.target.tolist(), strict=True)):
        image = Image.fromarray((levels * 255 / 16).astype("uint8")).resize((64, 64), Image.Resampling.NEAREST)
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        (samples if number % 120 == 0 else pictures).append((str(label), base64.b64encode(buffer.getvalue()).decode()))
    (preparation.FOLDER / "samples.json").write_text(json.dumps([f"data:image/png;base64,{s}" for _, s in samples]))
    _train(job, "Handwritten digits", pictures, "pixels")


def start_training(title: str, classes: dict[str, list[str]]) -> Job:
    """Train on ``{label: [base64 pictures]}`` in the background."""
    pictures = [(label, picture) for label, several in classes.items() for picture in several]
    sizes = Counter(label for label, _ in pictures)
    if len(sizes) < 2 or min(sizes.values()) < FEWEST_IN_CLASS:
        raise Refused(f"at least two classes are needed, with at least {FEWEST_IN_CLASS} pictures each")
    if len(pictures) > MOST_PICTURES:
        raise Refused(f"at most {MOST_PICTURES} pictures can be trained on here")
    if preparation.status.state != "ready":
        raise Refused("the network is not ready yet")
    started = Job(f"classes_{secrets.token_hex(4)}")
    _jobs[started.id] = started
    threading.Thread(target=_train, args=(started, title, pictures, "inception"), daemon=True).start()
    return started


def _train(job: Job, title: str, pictures: list[tuple[str, str]], features: str) -> None:
    try:
        _known[job.id] = _trained(job, title, pictures, features)
        job.state, job.step, job.part = "ready", "ready", 1.0
    except Exception as error:
        job.state, job.error = "failed", str(error)
        mldb.log(f"Image classifier: training '{title}' failed: {error}")
    finally:
        for name in ("images", "features"):
            mldb.perform("DELETE", f"/v1/datasets/{job.id}_{name}")


def _trained(job: Job, title: str, pictures: list[tuple[str, str]], features: str) -> dict[str, Any]:
    _record(f"{job.id}_images", pictures)
    computed = {"select": f"label, {FEATURES[features]}", "from": f"{job.id}_images"}
    _run(job, "features", {"type": "transform", "inputData": computed, "outputDataset": f"{job.id}_features"})
    examples = {"select": "{* EXCLUDING(label)} AS features, label", "from": f"{job.id}_features"}
    learning = {"mode": "categorical", "configuration": ALGORITHM}
    pattern = f"file://{preparation.FOLDER}/{job.id}-$runid.cls"
    test = {"inputData": examples, "kfold": FOLDS, "experimentName": f"{job.id}_test", "modelFileUrlPattern": pattern}
    tidy = {"keepArtifacts": False, "outputAccuracyDataset": False}
    result = _run(job, "test", {"type": "classifier.experiment", **test, **tidy, **learning})
    model = {"modelFileUrl": f"file://{_model_file(job.id)}"}
    _run(job, "training", {"type": "classifier.train", "trainingData": examples, **model, **learning})
    _make_functions(job.id, features)
    return _describe(job.id, title, pictures, features, result)


def _model_file(id: str) -> Path:
    return preparation.FOLDER / f"{id}.cls"


def _make_functions(id: str, features: str) -> None:
    """The scorer, and function ``id`` that takes a base64 picture to its scores in one call."""
    preparation.ensure(f"{id}_scorer", "classifier", {"modelFileUrl": f"file://{_model_file(id)}"})
    expression = f"{id}_scorer({{features: {{{FEATURES[features]}}}}})[scores] AS scores"
    preparation.ensure(id, "sql.expression", {"expression": expression})


def _record(id: str, pictures: list[tuple[str, str]]) -> None:
    mldb.perform("DELETE", f"/v1/datasets/{id}")
    dataset = mldb.create_dataset({"id": id, "type": "tabular"})
    now = int(time.time())
    for start in range(0, len(pictures), 200):
        some = enumerate(pictures[start : start + 200], start)
        dataset.record_rows(
            [(str(row), [("label", label, now), ("image", image, now)]) for row, (label, image) in some]
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


def _describe(id: str, title: str, pictures: list[tuple[str, str]], features: str, result: Any) -> dict[str, Any]:
    """What the page shows of a classifier; the figures are those of held-out pictures."""
    cells: Counter[tuple[str, str]] = Counter()
    for fold in result["folds"]:
        for cell in fold["resultsTest"]["confusionMatrix"]:
            cells[str(cell["actual"]), str(cell["predicted"])] += cell["count"]
    right = sum(count for (actual, predicted), count in cells.items() if actual == predicted)
    about = {
        "id": id,
        "title": title,
        "features": features,
        "network": preparation.status.network if features == "inception" else "",
        "weights": preparation.status.weights if features == "inception" else "none",
        "labels": sorted({label for label, _ in pictures}),
        "pictures": len(pictures),
        "heldOut": cells.total(),
        "accuracy": right / max(1, cells.total()),
        "confusion": [[actual, predicted, count] for (actual, predicted), count in sorted(cells.items())],
        "made": time.time(),
    }
    (preparation.FOLDER / f"{id}.classifier.json").write_text(json.dumps(about))
    return about


def scores(id: str, image: str) -> list[dict[str, Any]]:
    """Labels with their part of the whole, best first, for a base64 picture."""
    reply = mldb.get(f"/v1/functions/{id}/application", {"input": {"image": image}}).json()
    found = {json.loads(name): max(0.0, cell[0]) for name, cell in reply["output"]["scores"]}
    total = sum(found.values()) or 1.0
    ranked = sorted(found.items(), key=lambda item: -item[1])
    return [{"label": str(label), "score": score / total} for label, score in ranked]


def imagenet(image: str, most: int = 8) -> list[dict[str, Any]]:
    """The likeliest of ImageNet's thousand labels, for a base64 picture."""
    reply = mldb.get("/v1/functions/image_labels/application", {"input": {"image": image}}).json()
    probabilities = reply["output"]["softmax"]["val"][0]
    ranked = sorted(range(len(probabilities)), key=lambda number: -probabilities[number])[:most]
    return [{"label": preparation.status.labels[n], "score": probabilities[n]} for n in ranked]
