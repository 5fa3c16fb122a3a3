"""k-means and Gaussian clustering."""

from __future__ import annotations

import random

import numpy as np
import pytest

from server.learning import clustering
from server.learning import kmeans as kmeans_module
from server.learning.clustering import metric_distances
from server.learning.kmeans import nearest_centroids
from tests.learning.test_classifier_rest import make_rows


def ignore(_: float) -> None:
    pass


@pytest.fixture(scope="module")
def data_dir(server):
    return server.data_dir.resolve()


def kmeans(points, *options):
    return kmeans_module.kmeans(points, np.arange, *options)


def gaussian_mixture(points, *options):
    return clustering.gaussian_mixture(points, np.arange, *options)


def blobs(seed=0):
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.normal(center, 0.3, (40, 2)) for center in ((0, 5), (5, 0), (5, 5))]).astype(np.float32)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_kmeans_is_consistent_with_its_centroids(metric):
    points = blobs()
    found = kmeans(points, 3, metric, 100, ignore)
    assert (nearest_centroids(points, found.centroids, metric) == found.assigned).all()
    assert sorted(np.bincount(found.assigned)) == [40, 40, 40]
    assert (nearest_centroids(found.centroids, found.centroids, metric) == np.arange(3)).all()


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_kmeans_is_lloyds_algorithm(metric):
    """What is left out of the comparisons and sums must not show: plain rounds give the same clusters."""
    rng = np.random.default_rng(3)
    points = rng.normal(size=(3000, 6)).astype(np.float32)
    points[::500] = 0
    found = kmeans(points, 9, metric, 15, ignore)
    starts = clustering.start_points(
        points, np.arange(3000), 9, 1, lambda some, center: metric_distances(some, center, metric)
    )
    centers = points[starts].astype(np.float64)
    averaged = points.astype(np.float64)
    if metric == "cosine":
        lengths = np.linalg.norm(averaged, axis=1, keepdims=True)
        averaged = np.divide(averaged, lengths, out=np.zeros_like(averaged), where=lengths > 0)
    for _ in range(15):
        every = np.stack([metric_distances(points, c.astype(np.float32), metric) for c in centers], axis=1)
        nearest = every.argmin(axis=1)
        centers = np.stack(
            [averaged[nearest == c].mean(axis=0) if (nearest == c).any() else centers[c] for c in range(9)]
        )
    assert np.allclose(found.centroids, centers, atol=1e-4)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_many_points_begin_with_the_centres_of_a_part(metric, monkeypatch):
    monkeypatch.setattr(kmeans_module, "_LEAST_PART", 100)
    monkeypatch.setattr(kmeans_module, "_LEAST_OF_CLUSTER", 5)
    rng = np.random.default_rng(3)
    points = (rng.normal(size=(3000, 6)) + rng.integers(0, 3, (3000, 1))).astype(np.float32)
    told = []
    found = kmeans(points, 9, metric, 200, told.append)
    assert told == sorted(told)
    assert (nearest_centroids(points, found.centroids, metric) == found.assigned).all()
    again = kmeans(points, 9, metric, 200, ignore)
    assert (again.centroids == found.centroids).all()
    monkeypatch.setattr(kmeans_module, "_LEAST_PART", 1 << 20)
    whole = kmeans(points, 9, metric, 200, ignore)
    assert inertia(points, found, metric) < 1.03 * inertia(points, whole, metric)
    assert not (whole.centroids == found.centroids).all()


def inertia(points, found, metric):
    if metric == "cosine":
        points = points / np.linalg.norm(points, axis=1, keepdims=True)
    return float(((points - found.centroids[found.assigned]) ** 2).sum())


def test_mixture_tells_blobs_apart():
    found = gaussian_mixture(blobs(), 3, 50, ignore)
    assert sorted(np.bincount(found.assigned)) == [40, 40, 40]
    assert all(len(set(found.assigned[at : at + 40])) == 1 for at in (0, 40, 80))


def test_more_clusters_than_points():
    found = kmeans(np.array([[1, 2]], np.float32), 5, "euclidean", 10, ignore)
    assert found.centroids.shape == (5, 2)
    assert found.assigned.tolist() == [0]


@pytest.fixture(scope="module")
def four(client):
    points = {"a": (1, 4), "b": (1, 3), "c": (3, 1), "d": (4, 1)}
    make_rows(client, "four", {name: {"x": x, "y": y} for name, (x, y) in points.items()})
    return client


def train(client, data_dir, kind="kmeans", **changes):
    params = {
        "trainingData": "SELECT x, y FROM four",
        "numClusters": 2,
        "outputDataset": "cl",
        "centroidsDataset": "ce",
        "modelFileUrl": f"file://{data_dir}/k.kms",
        "functionName": "km",
    }
    return client.put("/v1/procedures/k", json={"type": f"{kind}.train", "params": params | changes})


def test_two_clusters_over_rest(four, data_dir):
    answer = train(four, data_dir, metric="euclidean")
    assert answer.status_code == 201, answer.text
    centers = four.query("SELECT x, y FROM ce")
    assert sorted(tuple(row[1:]) for row in centers[1:]) == [(1, 3.5), (3.5, 1)]
    stored = {row[0]: row[1] for row in four.query("SELECT cluster FROM cl")[1:]}
    live = {row[0]: row[1] for row in four.query("SELECT km({embedding: {y, x}})[cluster] AS c FROM four")[1:]}
    assert stored == live
    assert stored["a"] == stored["b"] != stored["c"] == stored["d"]


def test_gaussians_over_rest(client, data_dir):
    rng = random.Random(1)
    rows = {f"r{n}": {"x": rng.gauss(10 * (n % 2), 1), "y": rng.gauss(0, 1)} for n in range(100)}
    make_rows(client, "two", rows)
    answer = train(client, data_dir, "gaussianclustering", trainingData="SELECT x, y FROM two")
    assert answer.status_code == 201, answer.text
    live = {row[0]: row[1] for row in client.query("SELECT km({embedding: {x, y}})[cluster] AS c FROM two")[1:]}
    stored = {row[0]: row[1] for row in client.query("SELECT cluster FROM cl")[1:]}
    assert live == stored
    assert len({live[f"r{n}"] for n in range(0, 100, 2)}) == 1
    assert "c00" in client.query("SELECT * FROM ce")[0]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"trainingData": "SELECT x, y FROM four WHERE false"}, "Kmeans training requires at least 1 datapoint."),
        ({"trainingData": "SELECT x, y FROM four GROUP BY x"}, "does not support groupBy clause"),
        ({"trainingData": "SELECT x, 'a' AS y FROM four"}, "holds texts where numbers are needed"),
        ({"trainingData": "SELECT x, null AS y FROM four"}, "column 'y' has no value in any row"),
        ({"trainingData": "SELECT null AS y FROM four"}, "column 'y' has no value in any row"),
        ({"numInputDimensions": 0}, "the rows have no columns"),
        ({"modelFileUrl": None}, "Can't create kmeans function 'km'."),
        ({"modelFileUrl": "not://a/valid/path"}, "modelFileUrl"),
    ],
)
def test_refusals(four, data_dir, changes, text):
    for kind in ("kmeans", "gaussianclustering"):
        answer = train(four, data_dir, kind, **changes)
        assert answer.status_code == 400, answer.text
        assert text.replace("Kmeans", "Gaussian clustering" if kind[0] == "g" else "Kmeans").replace(
            "kmeans function", f"{kind} function"
        ) in str(answer.json())
