"""Learning over REST, the reading of the rows included, against the libraries that are known for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pyarrow.csv
import pyarrow.parquet as pq

from benchmarks.environments import ROOT, environment, need_java
from benchmarks.processes import PEERS, Client, mldb
from benchmarks.runner import Comparison, Contender, compare
from benchmarks.tables import Split, airline, higgs

ROUNDS = 3
TREES = 100
CONFIGURATION = {
    "type": "bagging",
    "num_bags": TREES,
    "weak_learner": {"type": "decision_tree", "max_depth": 20, "random_feature_propn": 0.5},
}
LABELS = {
    "sklearn-depth": "scikit-learn, depth 20",
    "sklearn-leaves": "scikit-learn, 1024 leaves",
    "lightgbm": "raw LightGBM, same parameters",
    "h2o": "H2O DRF, depth 20",
    "spark": "Spark MLlib, depth 12",
}
JVM = ("h2o", "pyspark", "pyarrow", "numpy")


def forests(quick: bool = False) -> Iterator[Comparison]:
    """Bagged trees. ``quick``: the smaller table only, and no peers that need Java."""
    near = ["lightgbm", "sklearn-depth", "sklearn-leaves"]
    if quick:
        yield from _forest("airline-like", airline(100_000), near, rounds=1)
        return
    need_java()
    goal = "a fifth of the fastest but LightGBM, AUC not 0.002 below the best, 1.15 of raw LightGBM"
    yield from _forest("airline-like", airline(1_000_000), [*near, "h2o", "spark"], ROUNDS, goal)
    yield from _forest("airline-like", airline(100_000), [*near, "h2o", "spark"], ROUNDS)
    yield from _forest("Higgs-like", higgs(100_000), near, ROUNDS)


def _forest(name: str, split: Split, peers: list[str], rounds: int, goal: str = "") -> Iterator[Comparison]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        _write(folder, split, csv="h2o" in peers)
        client = stack.enter_context(served(folder))
        contenders = [Contender("MLDB `classifier.train` over REST", lambda: train_and_test(client, folder))]
        contenders += [
            Contender(LABELS[peer], lambda p=peer: run_peer(p, folder), once=peer in ("h2o", "spark")) for peer in peers
        ]
        title = f"{TREES} bagged trees, {name}, {split.train.num_rows:,} rows × {split.train.num_columns - 1}"
        yield compare(title, "s", contenders, goal=goal, quality="AUC", rounds=rounds, warm=False)


def _write(folder: Path, split: Split, csv: bool) -> None:
    for name, table in (("train", split.train), ("test", split.test)):
        pq.write_table(table, folder / f"{name}.parquet")
        if csv:
            pyarrow.csv.write_csv(table, folder / f"{name}.csv")


@contextmanager
def served(folder: Path) -> Iterator[Client]:
    """A server with the datasets ``train`` and ``test``; one small training has started its fork server."""
    with mldb(folder / "data", "--file-root", str(folder)) as client:
        for name in ("train", "test"):
            target = {"id": name, "type": "tabular"}
            params = {"dataFileUrl": f"file://{folder}/{name}.parquet", "outputDataset": target}
            client.request("PUT", "/v1/procedures/import", {"type": "import.parquet", "params": params})
        _train(client, folder, "SELECT {* EXCLUDING (label)} AS features, label FROM train LIMIT 1000")
        yield client


def _train(client: Client, folder: Path, query: str) -> None:
    params = {
        "trainingData": query,
        "configuration": CONFIGURATION,
        "equalizationFactor": 0,
        "modelFileUrl": f"file://{folder}/forest.cls",
        "functionName": "forest",
    }
    client.request("PUT", "/v1/procedures/train", {"type": "classifier.train", "params": params})


def train_and_test(client: Client, folder: Path) -> tuple[float, float]:
    """Seconds from the request to the function that is ready for use, and its AUC."""
    start = time.perf_counter()
    _train(client, folder, "SELECT {* EXCLUDING (label)} AS features, label FROM train")
    seconds = time.perf_counter() - start
    query = "SELECT forest({features: {* EXCLUDING (label)}})[score] AS score, label FROM test"
    client.request("PUT", "/v1/procedures/test", {"type": "classifier.test", "params": {"testingData": query}})
    run = client.json("GET", "/v1/procedures/test/runs")[-1]
    return seconds, float(client.json("GET", f"/v1/procedures/test/runs/{run}")["status"]["auc"])


def run_peer(peer: str, folder: Path) -> tuple[float, float]:
    python = str(environment("jvm", JVM)) if peer in ("h2o", "spark") else sys.executable
    command = [python, str(PEERS / "forests.py"), peer, str(folder), str(TREES)]
    variables = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=variables, stdout=subprocess.PIPE, text=True, check=True)
    result = json.loads(done.stdout.splitlines()[-1])
    return float(result["seconds"]), float(result["auc"])
