"""Classifiers of pictures: what is known of each, and asking them.

A classifier is a JSON file that describes it, and MLDB entities whose names begin with its id: procedure <id>, whose
runs have trained it; datasets <id>_pictures, <id>_features, <id>_labels; functions <id>_scorer (features → scores) and
<id> (a picture's bytes → scores). Ids are made here; texts from requests only ever travel as values.
"""

import json
import time
from collections import Counter
from typing import Any

import inception
from inception import FOLDER
from mldb import HTTPException, mldb

MOST_LABELS = 8  # of ImageNet's, in an answer
FEATURES = "inception_image({content: base64_decode(image)}) AS *"

known: dict[str, dict[str, Any]] = {}
results: dict[tuple[str, str], dict[str, Any]] = {}


def restore() -> None:
    """Take up the classifiers of earlier runs; MLDB has kept what they consist of."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for file in list(FOLDER.glob("*.classifier.json")):
        about = json.loads(file.read_text())
        known[about["id"]] = about
        if "accuracy" not in about and not runs(about["id"]):  # the server was stopped in its first training
            forget(about["id"])
        elif about["network"]:
            make_function(about["id"])


def keep(id: str, title: str, network: str, weights: str, **tested: Any) -> dict[str, Any]:
    """Write its description; ``tested`` is that of one that was trained elsewhere."""
    about = {"id": id, "title": title, "network": network, "weights": weights, "made": time.time(), **tested}
    file = FOLDER / f"{id}.classifier.json"
    part = file.with_suffix(".part")
    part.write_text(json.dumps(about))
    part.replace(file)
    known[id] = about
    return about


def checked(id: str) -> str:
    """An id from a request, which may stand in SQL then."""
    if id not in known:
        raise HTTPException(404, f"there is no classifier '{id}', or not yet")
    return id


def forget(id: str) -> None:
    known.pop(id, None)
    ours = [f"procedures/{id}", f"procedures/{id}_map", f"functions/{id}", f"functions/{id}_scorer"]
    for path in (*ours, *(f"datasets/{id}_{part}" for part in ("pictures", "features", "labels", "map"))):
        mldb.perform("DELETE", f"/v1/{path}")
    for file in FOLDER.glob(f"{id}[.-]*"):
        file.unlink()


def models() -> list[dict[str, Any]]:
    """Descriptions of all that can be asked, oldest first."""
    functions = set(mldb.get("/v1/functions").json())
    answering = [about for id, about in list(known.items()) if f"{id}_scorer" in functions]
    return [described(about["id"]) for about in sorted(answering, key=lambda about: about["made"])]


def described(id: str) -> dict[str, Any]:
    """What is known of it, and what its trainings have found; ``accuracy`` is None while the first is under way.
    ``usable`` is false when the network has changed since."""
    about = known[id]
    ended = [found for run in runs(id) if (found := result(id, run))]
    untested = {"labels": [], "pictures": 0, "accuracy": None, "confusion": []}
    history = [[found["pictures"], found["accuracy"]] for found in ended]
    usable = about["network"] in ("", inception.status["network"])
    return {**untested, "history": history, "usable": usable, **about, **(ended[-1] if ended else {})}


def runs(procedure: str) -> list[str]:
    """Their names begin with the time: the last is the newest."""
    answer = mldb.perform("GET", f"/v1/procedures/{procedure}/runs")
    return json.loads(answer["response"]) if answer["statusCode"] == 200 else []


def result(id: str, run: str) -> dict[str, Any] | None:
    """What a run has found out about the classifier, once it has finished: all of it from pictures it had not seen."""
    if (id, run) not in results:
        ended = mldb.get(f"/v1/procedures/{id}/runs/{run}").json()
        if ended["state"] != "finished":
            return None
        cells: Counter[tuple[str, str]] = Counter()
        for fold in ended["status"]["steps"][-1]["folds"]:
            for cell in fold["resultsTest"]["confusionMatrix"]:
                cells[str(cell["actual"]), str(cell["predicted"])] += cell["count"]
        results[id, run] = {
            "labels": sorted({actual for actual, _ in cells}),
            "pictures": int(cells.total()),
            "accuracy": sum(count for (actual, said), count in cells.items() if actual == said) / cells.total(),
            "confusion": [[*pair, count] for pair, count in sorted(cells.items())],
        }
    return results[id, run]


def make_function(id: str) -> None:
    """From the bytes of a picture to its scores, through the network."""
    expression = f"{id}_scorer({{features: {{inception_image({{content}}) AS *}}}})[scores] AS scores"
    inception.ensure(id, "sql.expression", expression=expression)


def applied(function: str, **given: Any) -> dict[str, Any]:
    """What an MLDB function gives. Text from a request is a value here, never a part of SQL."""
    return mldb.get(f"/v1/functions/{function}/application", {"input": given}).json()["output"]


def scores(function: str, **given: Any) -> list[dict[str, Any]]:
    """Labels with their part of the whole, best first; MLDB's refusal of what is no picture."""
    output = applied(function, **given)
    found = {json.loads(name): max(0.0, cell[0]) for name, cell in output["scores"]}
    total = sum(found.values()) or 1.0
    ranked = sorted(found, key=found.get, reverse=True)
    return [{"label": str(label), "score": found[label] / total} for label in ranked]


def imagenet(picture: bytes) -> list[dict[str, Any]]:
    """The likeliest of ImageNet's thousand labels."""
    if not inception.labels:
        reason = inception.status["remedy"] or "the network is not ready yet"
        raise HTTPException(503, f"There are no ImageNet labels: {reason}")
    output = applied("inception_labels", content=picture)
    probabilities = output["softmax"]["val"][0]
    ranked = sorted(range(len(probabilities)), key=lambda number: -probabilities[number])[:MOST_LABELS]
    return [{"label": inception.labels[n], "score": probabilities[n]} for n in ranked]
