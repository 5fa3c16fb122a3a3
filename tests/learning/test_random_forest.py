"""Random forests over REST."""

from __future__ import annotations

import random

import pytest

from tests.learning.test_classifier_rest import make_rows


@pytest.fixture
def table(client):
    rng = random.Random(5)
    rows = {}
    for number in range(400):
        label = number % 2
        rows[f"r{number}"] = {
            "x": rng.gauss(2 * label, 1),
            "town": "ab"[label] if rng.random() < 0.8 else "c",
            "mixed": number if number % 3 else "text",
            "late": "NY"[label],
        }
    make_rows(client, "flights", rows)
    return client


def train(client, server, query, **params):
    params = {
        "trainingData": query,
        "modelFileUrl": f"file://{server.data_dir.resolve()}/forest.cls",
        "functionName": "forest",
    } | params
    return client.put("/v1/procedures/grow", json={"type": "randomforest.binary.train", "params": params})


def test_forest_separates_labels_and_is_repeatable(table, server):
    query = "SELECT {x, town} AS features, late = 'Y' AS label FROM flights"
    answer = train(table, server, query)
    assert answer.status_code == 201, answer.text
    asked = "SELECT forest({features: {x, town}})[score] AS score, late FROM flights"
    head, *scores = table.query(asked)
    at, truth = head.index("score"), head.index("late")
    assert all(0 <= row[at] <= 1 for row in scores)
    high, low = ([row[at] for row in scores if row[truth] == late] for late in "YN")
    assert sum(a > b for a in high for b in low) / (len(high) * len(low)) > 0.9
    train(table, server, query)
    assert table.query(asked)[1:] == scores


def test_columns_of_numbers_and_texts_are_refused(table, server):
    answer = train(table, server, "SELECT {x, mixed} AS features, late = 'Y' AS label FROM flights")
    assert answer.status_code == 400
    assert "can't train on column mixed which has both string and numeric values" in answer.text


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("SELECT {x} AS features, x + 1 AS label FROM flights", "only accepts wildcard and column names at"),
        ("SELECT x, late AS label FROM flights", "expects a row named 'features' and a scalar named 'label'"),
        ("SELECT {x} AS features, late AS label FROM flights GROUP BY x", "does not support groupBy clause"),
    ],
)
def test_refusals(table, server, query, text):
    answer = train(table, server, query)
    assert answer.status_code == 400
    assert f"randomforest.binary.train {text}" in answer.text
