"""The pictures of a classifier: asking about the doubtful ones, a map of all, showing one."""

import base64
from typing import Any

import classifiers
import jobs
from jobs import Job, Refused
from mldb import mldb

QUESTIONS = 6  # in a round
MOST_ON_MAP = 500


def questions(id: str) -> dict[str, Any]:
    """Names of the pictures that it is least sure of, the worst first, and how many have no label."""
    scored = f"SELECT {id}_scorer({{features: {{*}}}})[scores] + 0.000001 AS s FROM {_unlabelled(id)}"
    entropy = "ln(horizontal_sum(s)) - horizontal_sum(s * ln(s)) / horizontal_sum(s)"
    rows = mldb.query(f"SELECT {entropy} AS doubt FROM ({scored}) ORDER BY doubt DESC LIMIT {QUESTIONS}")[1:]
    left = mldb.query(f"SELECT count(*) FROM {_unlabelled(id)}")[1][1]
    return {"rows": [row for row, _ in rows], "left": left}


def _unlabelled(id: str) -> str:
    """The network's numbers for the pictures without a label, as a table of a query."""
    return f"(SELECT * FROM {id}_features WHERE rowName() NOT IN (SELECT rowName() FROM {id}_labels))"


def answer(about: dict[str, Any], labels: dict[str, str]) -> Job:
    """Take the user's labels of such pictures, and train anew with them."""
    open_ = {row for row, _ in mldb.query(f"SELECT 1 FROM {_unlabelled(about['id'])}")[1:]}
    if not labels or not set(labels) <= open_ or not set(labels.values()) <= set(about["labels"]):
        raise Refused("an answer is one of the classifier's labels for a picture that has none")
    return jobs.start(Job(about["id"]), _learn_more, about, labels)


def _learn_more(job: Job, about: dict[str, Any], labels: dict[str, str]) -> None:
    classifiers.record(f"{job.id}_labels", "label", labels)
    classifiers.learn(job, about["title"], f"merge({job.id}_features, {job.id}_labels)", about["network"])


def picture(id: str, row: str) -> bytes:
    query = f"SELECT image FROM {id}_pictures WHERE rowName() = $row"
    rows = mldb.get("/v1/query", {"q": query, "params": {"row": row}, "format": "table"}).json()[1:]
    if not rows:
        raise Refused("there is no such picture", 404)
    return base64.b64decode(rows[0][1])


def start_map(id: str) -> Job:
    """Place the pictures, once."""
    job = Job(f"{id}_map")
    if job.id in mldb.get("/v1/datasets").json():
        job.state = "ready"
        return job
    return jobs.start(job, _place, f"SELECT * FROM {id}_features LIMIT {MOST_ON_MAP}")


def _place(job: Job, points: str) -> None:
    jobs.run(job, "map", "tsne.train", {"trainingData": points, "rowOutputDataset": job.id})


def positions(id: str) -> list[dict[str, Any]]:
    """Where each picture lies, those that look alike together, and its label if it has one; 404 without a map."""
    query = f"SELECT x, y, label FROM merge({id}_map, {id}_labels) WHERE x IS NOT NULL"
    return mldb.get("/v1/query", {"q": query, "format": "aos"}).json()
