"""The pictures of a classifier: asking about the doubtful ones, a map of all, showing one."""

import base64
from typing import Any

import classifiers
from classifiers import Job, Refused
from mldb import mldb

QUESTIONS = 6  # in a round
MOST_ON_MAP = 500
# The network's numbers for the pictures without a label.
OPEN = "(SELECT * FROM {id}_features WHERE rowName() NOT IN (SELECT rowName() FROM {id}_labels))"
# Those which the classifier is least sure of: the entropy of its scores is highest.
DOUBTFUL = (
    "SELECT ln(horizontal_sum(s)) - horizontal_sum(s * ln(s)) / horizontal_sum(s) AS entropy "
    f"FROM (SELECT {{id}}_scorer({{{{features: {{{{*}}}}}}}})[scores] + 0.000001 AS s FROM {OPEN}) "
    f"ORDER BY entropy DESC LIMIT {QUESTIONS}"
)
MAP = "SELECT x, y, label FROM merge({id}_map, {id}_labels) WHERE x IS NOT NULL"


def questions(about: dict[str, Any]) -> dict[str, Any]:
    """Names of doubtful pictures, the most doubtful first, and how many have no label."""
    left = mldb.query(f"SELECT count(*) FROM {OPEN.format(**about)}")[1][1]
    return {"rows": [row for row, _ in mldb.query(DOUBTFUL.format(**about))[1:]], "left": left}


def answer(about: dict[str, Any], labels: dict[str, str]) -> Job:
    """Take the user's labels of such pictures, and train anew with them."""
    unknown = {row for row, _ in mldb.query(f"SELECT 1 FROM {OPEN.format(**about)}")[1:]}
    if not labels or not set(labels) <= unknown or not set(labels.values()) <= set(about["labels"]):
        raise Refused("an answer is one of the classifier's labels for a picture that has none")
    return classifiers.start(Job(about["id"]), _learn_more, about, labels)


def _learn_more(job: Job, about: dict[str, Any], labels: dict[str, str]) -> None:
    classifiers.record(f"{job.id}_labels", "label", labels)
    classifiers.learn(job, about["title"], f"merge({job.id}_features, {job.id}_labels)", about["network"])


def picture(about: dict[str, Any], row: str) -> bytes:
    query = f"SELECT image FROM {about['id']}_pictures WHERE rowName() = $row"
    rows = mldb.get("/v1/query", {"q": query, "params": {"row": row}, "format": "table"}).json()[1:]
    if not rows:
        raise Refused("there is no such picture", 404)
    return base64.b64decode(rows[0][1])


def start_map(about: dict[str, Any]) -> Job:
    """Place the pictures, once."""
    id = f"{about['id']}_map"
    return (
        Job(id, state="ready") if id in mldb.get("/v1/datasets").json() else classifiers.start(Job(id), _place, about)
    )


def _place(job: Job, about: dict[str, Any]) -> None:
    points = f"SELECT * FROM {about['id']}_features LIMIT {MOST_ON_MAP}"
    classifiers.run(job, "map", "tsne.train", {"trainingData": points, "rowOutputDataset": job.id})


def positions(about: dict[str, Any]) -> list[dict[str, Any]]:
    """Where each picture lies, those that look alike together, and its label if it has one; 404 without a map."""
    return mldb.get("/v1/query", {"q": MAP.format(**about), "format": "aos"}).json()
