"""k-means, SVD, t-SNE and neighbours over REST, reading and recording included, against scikit-learn in memory."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from benchmarks.processes import Client, mldb
from benchmarks.runner import Comparison, Contender, compare
from benchmarks.tables import sparse_cells, vectors

ROUNDS = 3
GOAL = "never slower"
CLUSTERS, SINGULAR, NEIGHBORS, ASKED = 20, 100, 10, 1000
Floats = NDArray[np.float32]


def shapes(quick: bool = False) -> Iterator[Comparison]:
    """``quick``: a tenth of the sizes, once."""
    rounds = 1 if quick else ROUNDS
    part = 10 if quick else 1
    yield _kmeans(vectors(1_000_000 // part, 50), rounds)
    yield _svd(100_000 // part, 1_000_000 // part, rounds)
    yield _tsne(vectors(20_000 // part, 2048 // part), rounds)
    yield _neighbors(vectors(1_000_000 // part, 128), rounds)


def _kmeans(points: Floats, rounds: int) -> Comparison:
    from sklearn.cluster import KMeans

    iterations = 20

    def ours() -> tuple[float, float]:
        seconds = _procedure(client, "kmeans.train", {
            "trainingData": "SELECT * FROM points", "numClusters": CLUSTERS, "metric": "euclidean",
            "maxIterations": iterations, "outputDataset": "assigned", "centroidsDataset": "centers",
        })  # fmt: skip
        centers = _matrix(client, "SELECT * FROM centers", points.shape[1])
        return seconds, _inertia(points, centers)

    def theirs() -> tuple[float, float]:
        model = KMeans(CLUSTERS, n_init=1, max_iter=iterations, tol=0, random_state=1)
        seconds = _seconds(lambda: model.fit(points))
        return seconds, _inertia(points, model.cluster_centers_.astype(np.float32))

    with _served(points) as client:
        title = f"k-means, {len(points):,} × {points.shape[1]}, {CLUSTERS} clusters, {iterations} rounds"
        contenders = [Contender("MLDB `kmeans.train`", ours), Contender("scikit-learn KMeans", theirs)]
        return compare(title, "s", contenders, goal=GOAL, quality="inertia / point", rounds=rounds, warm=False)


def _inertia(points: Floats, centers: Floats) -> float:
    nearest = [((points - center) ** 2).sum(axis=1) for center in centers]
    return float(np.min(nearest, axis=0).mean())


def _svd(rows: int, columns: int, rounds: int) -> Comparison:
    from scipy import sparse
    from sklearn.decomposition import TruncatedSVD

    row, column = sparse_cells(rows, columns, 50)
    matrix = sparse.csr_matrix((np.ones(len(row)), (row, column)), (rows, columns))

    def ours() -> tuple[float, float]:
        seconds = _procedure(client, "svd.train", {
            "trainingData": "SELECT * FROM cells", "numSingularValues": SINGULAR, "rowOutputDataset": "embedded",
            "modelFileUrl": f"file://{folder}/svd.svd", "functionName": "svd",
        })  # fmt: skip
        singular = client.json("GET", "/v1/functions/svd/details")["model"]["singularValues"]
        return seconds, float((np.array(singular) ** 2).sum() / matrix.nnz)

    def theirs() -> tuple[float, float]:
        model = TruncatedSVD(SINGULAR, random_state=1)
        seconds = _seconds(lambda: model.fit_transform(matrix))
        return seconds, float((model.singular_values_**2).sum() / matrix.nnz)

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        table = pa.table({"row": row, "column": column, "value": np.ones(len(row), np.int64)})
        pq.write_table(table, folder / "cells.parquet")
        with mldb(folder / "data", "--file-root", str(folder)) as client:
            _import(client, folder / "cells.parquet", "source")
            query = 'SELECT pivot("column", value) AS * NAMED "row" FROM source GROUP BY "row"'
            target = {"id": "cells", "type": "sparse.mutable"}
            _procedure(client, "transform", {"inputData": query, "outputDataset": target})
            title = f"SVD, {rows:,} × {columns:,} sparse, {len(row):,} cells, {SINGULAR} dimensions"
            contenders = [Contender("MLDB `svd.train`", ours), Contender("scikit-learn TruncatedSVD", theirs)]
            return compare(title, "s", contenders, goal=GOAL, quality="share explained", rounds=rounds, warm=False)


def _tsne(points: Floats, rounds: int) -> Comparison:
    from sklearn.manifold import TSNE

    def ours() -> tuple[float, float]:
        seconds = _procedure(client, "tsne.train", {"trainingData": "SELECT * FROM points", "rowOutputDataset": "map"})
        return seconds, _trust(points, _matrix(client, "SELECT x, y FROM map", 2))

    def theirs() -> tuple[float, float]:
        model = TSNE(init="pca", random_state=1, n_jobs=-1)
        seconds = _seconds(lambda: model.fit_transform(points))
        return seconds, _trust(points, model.embedding_)

    with _served(points) as client:
        title = f"t-SNE, {len(points):,} × {points.shape[1]}"
        contenders = [Contender("MLDB `tsne.train`", ours), Contender("scikit-learn TSNE", theirs, once=True)]
        return compare(title, "s", contenders, goal=GOAL, quality="trustworthiness", rounds=rounds, warm=False)


def _trust(points: Floats, placed: Floats) -> float:
    """Of 2000 points, so that it does not take longer than what it judges."""
    from sklearn.manifold import trustworthiness

    return float(trustworthiness(points[:2000], placed[:2000], n_neighbors=10))


def _neighbors(points: Floats, rounds: int) -> Comparison:
    from sklearn.neighbors import NearestNeighbors

    asked = vectors(ASKED, points.shape[1], seed=5)
    plain = NearestNeighbors(n_neighbors=NEIGHBORS, algorithm="brute").fit(points)
    right = plain.kneighbors(asked, return_distance=False)

    def ours() -> tuple[float, float]:
        query = f"SELECT nn({{coords: {{*}}, numNeighbors: {NEIGHBORS}}})[neighbors] AS * FROM asked"
        start = time.perf_counter()
        _header, *rows = client.query(query)
        seconds = time.perf_counter() - start
        # Rows are numbered from 1.
        names = [int(row[0]) - 1 for row in rows]
        found = [{int(name) - 1 for name in row[1:] if name is not None} for row in rows]
        return seconds, float(
            np.mean([len(f & set(right[at])) for at, f in zip(names, found, strict=True)])
        ) / NEIGHBORS

    def theirs() -> tuple[float, float]:
        return _seconds(lambda: plain.kneighbors(asked)), 1.0

    with _served(points, asked) as client:
        client.request("PUT", "/v1/functions/nn", {"type": "embedding.neighbors", "params": {"dataset": "points"}})
        title = f"The {NEIGHBORS} nearest of {len(points):,} × {points.shape[1]} to each of {ASKED:,}"
        contenders = [Contender("MLDB `embedding.neighbors`", ours), Contender("scikit-learn, brute force", theirs)]
        return compare(title, "s", contenders, goal=GOAL, quality=f"recall@{NEIGHBORS}", rounds=rounds)


@contextmanager
def _served(points: Floats, asked: Floats | None = None) -> Iterator[Client]:
    """A server with the points as the dataset ``points``, of type embedding."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        with mldb(folder / "data", "--file-root", str(folder)) as client:
            for name, matrix in (("points", points), ("asked", asked)):
                if matrix is not None:
                    columns = {f"x{axis:04}": matrix[:, axis] for axis in range(matrix.shape[1])}
                    pq.write_table(pa.table(columns), folder / f"{name}.parquet")
                    _import(client, folder / f"{name}.parquet", name, "embedding")
            yield client


def _import(client: Client, file: Path, name: str, type_: str = "tabular") -> None:
    params = {"dataFileUrl": f"file://{file}", "outputDataset": {"id": name, "type": type_}}
    _procedure(client, "import.parquet", params)


def _procedure(client: Client, type_: str, params: dict[str, Any]) -> float:
    return _seconds(lambda: client.request("PUT", "/v1/procedures/run", {"type": type_, "params": params}))


def _matrix(client: Client, query: str, width: int) -> Floats:
    """Numbers of a query's rows, in the order of their numbered names."""
    header, *rows = client.query(query)
    places = [header.index(name) for name in sorted(header) if name != "_rowName"]
    found = np.array([[int(row[0]), *(row[place] for place in places)] for row in rows], np.float64)
    return found[np.argsort(found[:, 0]), 1 : width + 1].astype(np.float32)


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
