"""embedding.neighbors over REST, and its search against a plain one."""

from __future__ import annotations

import numpy as np
import pytest

from server.learning.neighbors import NeighborIndex, distances
from tests.learning.test_classifier_rest import make_rows


@pytest.fixture(scope="module")
def corners(client):
    points = {"ex1": (0, 0), "ex2": (0, 1), "ex3": (1, 0), "ex4": (1, 1)}
    make_rows(client, "corners", {name: {"x": x, "y": y} for name, (x, y) in points.items()}, "embedding")
    params = {"dataset": "corners"}
    client.put("/v1/functions/nn", json={"type": "embedding.neighbors", "params": params}).raise_for_status()
    return client


def test_by_row_name(corners):
    assert corners.query("SELECT nn({coords: 'ex1'})[distances] AS *") == [
        ["_rowName", "ex1", "ex2", "ex3", "ex4"],
        ["result", 0, 1, 1, 1.4142135381698608],
    ]
    table = corners.query("SELECT nn({coords: 'ex4', numNeighbors: 1}) AS *")
    assert table == [["_rowName", "distances.ex4", "neighbors.0"], ["result", 0, "ex4"]] or table == [
        ["_rowName", "neighbors.0", "distances.ex4"],
        ["result", "ex4", 0],
    ]


def test_what_is_found_is_dated_as_in_mldb(corners):
    query = {"q": "SELECT nn({coords: 'ex4', numNeighbors: 1}) AS *"}
    (found,) = corners.get_json("/v1/query", query).json()
    assert sorted(found["columns"]) == [
        ["distances.ex4", 0, "1970-01-01T00:00:00Z"],
        ["neighbors.0", "ex4", "1970-01-01T00:00:00Z"],
    ]


def test_by_coordinates_in_any_order(corners):
    for coords in ("{x: 0.1, y: 0.2}", "{y: 0.2, x: 0.1}", "[0.1, 0.2]"):
        table = corners.query(f"SELECT nn({{coords: {coords}}})[distances] AS *")
        expected = [0.22360680997371674, 0.8062257766723633, 0.9219543933868408, 1.2041594982147217]
        assert table[1][1:] == pytest.approx(expected, abs=1e-6)


def test_a_quoted_id_is_the_dataset_of_that_name(corners):
    for type_, parameter in (("embedding.neighbors", "dataset"), ("pooling", "embeddingDataset")):
        config = {"type": type_, "params": {parameter: '"corners"'}}
        assert corners.put("/v1/functions/quoted", json=config).status_code == 201
    config["params"][parameter] = "(SELECT x AS a FROM corners WHERE y = 1)"
    assert corners.put("/v1/functions/quoted", json=config).status_code == 201
    assert corners.query("SELECT quoted({words: {ex2: 1, ex3: 1, ex4: 1}}) AS *")[1][1:] == [0.5]
    config = {"type": "embedding.neighbors", "params": {"dataset": "(SELECT * FROM corners)"}}
    answer = corners.put("/v1/functions/quoted", json=config)
    assert (answer.status_code, "dataset of type embedding needs to be provided" in answer.text) == (400, True)


def test_number_and_distance(corners):
    table = corners.query("SELECT nn({coords: 'ex1', numNeighbors: 2})[distances] AS *")
    assert table[0][1] == "ex1"
    assert len(table[0]) == 3
    table = corners.query("SELECT nn({coords: 'ex1', numNeighbors: 2, maxDistance: 0.5})[distances] AS *")
    assert table == [["_rowName", "ex1"], ["result", 0]]


@pytest.mark.parametrize(
    ("coords", "text"),
    [
        ("'nobody'", "Couldn't find row 'nobody' in embedding"),
        ("{x: 1}", "lacks a number for the column 'y'"),
        ("{x: 1, y: 1e300}", "lacks a finite number in single precision for the column 'y'"),
        ("[1]", "an embedding has 1 elements where 2 were expected: x, y"),
        ("'ex1', numNeighbors: 'three'", "'numNeighbors' must be a number, 0 or more, not 'three'"),
        ("'ex1', maxDistance: 0 - 1", "'maxDistance' must be a number, 0 or more, not '-1'"),
        (
            "'ex1', num_neighbours: 1",
            "Unknown field 'num_neighbours' extracting type NeighborsFunction. Did you mean 'numNeighbors'?",
        ),
    ],
)
def test_refusals(corners, coords, text):
    answer = corners.get_json("/v1/query", {"q": f"SELECT nn({{coords: {coords}}}) AS *"})
    assert answer.status_code == 400
    assert text in answer.json()["error"]


def test_other_datasets_are_refused(client):
    make_rows(client, "plain", {"a": {"x": 1}})
    answer = client.put("/v1/functions/bad", json={"type": "embedding.neighbors", "params": {"dataset": "plain"}})
    assert answer.status_code == 400
    assert "dataset of type embedding needs to be provided" in answer.json()["error"]


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_search_is_exact(metric):
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(3000, 8)).astype(np.float32)
    vectors[10] = 0
    index = NeighborIndex([str(n) for n in range(3000)], list("abcdefgh"), vectors, metric)
    asked = np.concatenate([vectors[:40], rng.normal(size=(10, 8)).astype(np.float32)])
    for point, (rows, found) in zip(asked, index.nearest(asked, np.full(50, 7)), strict=True):
        plain = np.sort(distances(vectors, point, metric))[:7]
        assert found.tolist() == plain.tolist()
        assert distances(vectors[rows], point, metric).tolist() == found.tolist()


def test_cosine_of_odd_vectors():
    vectors = np.array([[0, 0], [3, 4], [6, 8], [-3, -4]], np.float32)
    assert distances(vectors, vectors[0], "cosine").tolist() == [0, 1, 1, 1]
    assert distances(vectors, vectors[1], "cosine").tolist() == pytest.approx([1, 0, 0, 2])
