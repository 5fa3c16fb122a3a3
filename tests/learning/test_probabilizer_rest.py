"""probabilizer.train and probabilizer over REST."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from tests.learning.test_classifier_rest import make_rows


@pytest.fixture(scope="module")
def data_dir(server):
    return server.data_dir.resolve()


@pytest.fixture(scope="module")
def scored(client):
    rng = random.Random(3)
    rows = {}
    for number in range(400):
        score = rng.gauss(0, 2)
        rows[f"r{number}"] = {"s": score, "l": int(rng.random() < 1 / (1 + 2.718281828 ** -(score + 1)))}
    make_rows(client, "scored", rows)
    return client


def train(client, data_dir, **changes):
    params = {
        "trainingData": "SELECT s AS score, l AS label FROM scored",
        "modelFileUrl": f"file://{data_dir}/p.prb",
        "functionName": "prob",
    }
    return client.put("/v1/procedures/p", json={"type": "probabilizer.train", "params": params | changes})


@pytest.mark.parametrize("link", ["LOGIT", "PROBIT", "COMP_LOG_LOG"])
def test_probabilities_rise_with_scores_and_have_the_right_mean(scored, data_dir, link):
    answer = train(scored, data_dir, link=link)
    assert answer.status_code == 201, answer.text
    model = answer.json()["status"]["firstRun"]["status"]
    assert model["link"] == link
    assert model["params"][0] > 0
    head, *rows = scored.query("SELECT prob({score: s})[prob] AS p, s, l FROM scored")
    by_name = {name: [row[at] for row in rows] for at, name in enumerate(head)}
    ordered = sorted(zip(by_name["s"], by_name["p"], strict=True))
    assert all(0 <= p <= 1 for _, p in ordered)
    assert all(a[1] <= b[1] for a, b in pairwise(ordered))
    assert sum(by_name["p"]) == pytest.approx(sum(by_name["l"]), rel=0.1)


def test_numbers_of_a_logistic_fit(scored, data_dir):
    slope, intercept = train(scored, data_dir).json()["status"]["firstRun"]["status"]["params"]
    assert slope == pytest.approx(1, abs=0.3)
    assert intercept == pytest.approx(1, abs=0.4)


def test_scores_too_large_to_square_are_refused(scored, data_dir):
    answer = train(scored, data_dir, trainingData="SELECT s * 1e300 AS score, l AS label FROM scored")
    assert (answer.status_code, "are too large" in answer.text) == (400, True), answer.text


def test_a_score_over_rest_and_a_missing_one(scored, data_dir):
    train(scored, data_dir)
    output = scored.get_json("/v1/functions/prob/application", {"input": {"score": 2}}).json()["output"]
    assert 0.8 < output["prob"] < 1
    assert scored.query("SELECT prob({score: nothing})[prob] AS p FROM scored LIMIT 1")[1][1] is None


def test_a_score_that_is_no_number(scored, data_dir):
    train(scored, data_dir)
    for score, text in (("x", "must be a number, not 'x'"), ([1, 2], "must be a single number, not an embedding")):
        answer = scored.get_json("/v1/functions/prob/application", {"input": {"score": score}})
        assert answer.status_code == 400
        assert text in answer.json()["error"]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (
            {"trainingData": "SELECT s AS score FROM scored"},
            "expects a scalar named 'score' and a scalar named 'label'",
        ),
        ({"trainingData": "SELECT s AS score, l AS label FROM scored WHERE false"}, "without any row"),
        ({"modelFileUrl": None}, "requires a valid modelFileUrl"),
        ({"link": "cauchit"}, "link"),
        ({"trainingData": "SELECT s AS score, l AS label, 0 - 1 AS weight FROM scored"}, "cannot be negative"),
        ({"trainingData": "SELECT s AS score, null AS label FROM scored"}, "without any row"),
    ],
)
def test_refusals(scored, data_dir, changes, text):
    answer = train(scored, data_dir, **changes)
    assert answer.status_code == 400
    assert text in str(answer.json())
