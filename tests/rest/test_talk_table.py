"""Every row of the table of what the 2016 talk names (entity-types.md §7.1), each by its smallest requests."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from tests.conftest import Client
from tests.learning.tables import auc

ROWS: dict[str, Callable[[Talk], None]] = {}
# The built-in configurations that no other row uses.
LEARNERS = ("bbdt2", "bbdt_d2", "bbdt_d5", "glz2", "bglz", "bs", "bbs2", "naive_bayes")


@dataclass
class Talk:
    """A server with a dataset ``ds``: numbers x and y, label l that they tell, category cat, text t; and ``xor``."""

    client: Client
    folder: str
    graphs: Any

    def run(self, type: str, **params: Any) -> Any:
        answer = self.client.post("/v1/procedures", json={"type": type, "params": params}, timeout=60)
        assert answer.status_code == 201, answer.text
        first = answer.json()["status"]["firstRun"]
        assert first["state"] == "finished"
        return first.get("status")

    def function(self, name: str, type: str, **params: Any) -> None:
        answer = self.client.put(f"/v1/functions/{name}", json={"type": type, "params": params})
        assert answer.status_code == 201, answer.text

    def rows(self, query: str) -> list[dict[str, Any]]:
        head, *rows = self.client.query(query)
        return [dict(zip(head, row, strict=True)) for row in rows]

    def one(self, query: str) -> dict[str, Any]:
        (row,) = self.rows(query)
        return row

    def train(self, name: str, data: str = "ds", **params: Any) -> None:
        asked = {"trainingData": f"SELECT {{x, y}} AS features, l AS label FROM {data}", "functionName": name}
        self.run("classifier.train", **(asked | {"modelFileUrl": f"{self.folder}/{name}.cls"} | params))

    def auc(self, name: str, data: str = "ds") -> float:
        found = self.rows(f"SELECT {name}({{features: {{x, y}}}})[score] AS s, l FROM {data}")
        return auc(np.array([row["s"] for row in found]), np.array([row["l"] for row in found]))


def row(capability: str) -> Callable[[Callable[[Talk], None]], Callable[[Talk], None]]:
    def add(proof: Callable[[Talk], None]) -> Callable[[Talk], None]:
        ROWS[capability] = proof
        return proof

    return add


@row("GLM")
def _(talk):
    for link in ("logit", "probit", "comp_log_log", "log"):
        talk.train("g", configuration={"type": "glz", "link_function": link})
        assert talk.auc("g") > 0.95
    line = {"trainingData": "SELECT {x, y} AS features, z AS label FROM ds", "mode": "regression"}
    talk.train("line", configuration={"type": "glz", "link_function": "linear"}, **line)
    assert talk.one("SELECT line({features: {x: 3, y: 1}})[score] AS s")["s"] == pytest.approx(7, abs=0.01)


@row("Decision trees")
def _(talk):
    talk.train("tree", "xor", configuration={"type": "decision_tree", "max_depth": 8, "update_alg": "prob"})
    assert talk.auc("tree", "xor") == 1
    assert talk.client.get("/v1/functions/tree/details").json()


@row("SVM")
def _(talk):
    model = f"{talk.folder}/m.svm"
    query = "SELECT x, y, l AS label FROM ds"
    talk.run("svm.train", trainingData=query, svmType="classification", modelFileUrl=model, functionName="sv")
    found = talk.rows("SELECT sv({embedding: {x, y}})[output] AS o, l FROM ds")
    assert sum(row["o"] == row["l"] for row in found) >= 58


@row("Neural nets")
def _(talk):
    talk.train("net", "xor", algorithm="nn")
    assert talk.auc("net", "xor") > 0.9


@row("k-NN")
def _(talk):
    talk.run("transform", inputData="SELECT x, y FROM ds", outputDataset={"id": "emb", "type": "embedding"})
    talk.function("near", "embedding.neighbors", dataset="emb")
    near = talk.client.query("SELECT near({coords: 'r1', numNeighbors: 3})[neighbors] AS *")[1][1:]
    points = {row["_rowName"]: np.array([row["x"], row["y"]], np.float32) for row in talk.rows("SELECT * FROM emb")}
    brute = sorted(points, key=lambda name: float(np.linalg.norm(points[name] - points["r1"])))
    assert near == brute[:3]
    distances = talk.one("SELECT near({coords: 'r1', numNeighbors: 3})[distances] AS *")
    assert distances[near[2]] == pytest.approx(float(np.linalg.norm(points[near[2]] - points["r1"])), rel=1e-6)


@row("fastText")
def _(talk):
    query = "SELECT {tokenize(t, {splitChars: ' '}) AS *} AS features, cat AS label FROM ds"
    configuration = {"type": "fasttext", "epoch": 20}
    talk.train("ft", mode="categorical", trainingData=query, configuration=configuration)
    scores = talk.one("SELECT ft({features: {ball: 1, goal: 1}})[scores] AS *")
    assert scores['"""Sports"""'] > scores['"""Music"""']


@row("Built-in learners, bagging and boosting, naive Bayes")
def _(talk):
    for name in LEARNERS:
        talk.train("learner", algorithm=name)
        assert talk.auc("learner") > 0.9, name
    line = {"trainingData": "SELECT {x, y} AS features, z AS label FROM ds", "mode": "regression"}
    talk.train("linear", algorithm="glz_linear", **line)


@row("Multi-class, multi-label, regression")
def _(talk):
    talk.train("cats", mode="categorical", algorithm="dt",
               trainingData="SELECT {x, y} AS features, cat AS label FROM ds")  # fmt: skip
    assert set(talk.one("SELECT cats({features: {x: 1, y: 1}})[scores] AS *")) == {
        "_rowName", '"""Sports"""', '"""Music"""',
    }  # fmt: skip
    both = "SELECT {x, y} AS features, {a, b} AS label FROM ds"
    talk.train("many", mode="multilabel", algorithm="dt", trainingData=both)
    assert len(talk.one("SELECT many({features: {x: 1, y: 1}})[scores] AS *")) == 3
    line = "SELECT {x, y} AS features, z AS label FROM ds"
    talk.train("number", mode="regression", configuration={"type": "decision_tree"}, trainingData=line)
    found = talk.rows("SELECT number({features: {x, y}})[score] AS s, z AS v FROM ds")
    assert max(abs(row["s"] - row["v"]) for row in found) < 1e-5


@row("Random forest")
def _(talk):
    query = "SELECT {x, y, x + y AS z} AS features, l = 1 AS label FROM ds"
    talk.run("randomforest.binary.train", trainingData=query, modelFileUrl=f"{talk.folder}/rf.cls", functionName="rf",
             featureVectorSamplings=3, featureSamplings=5)  # fmt: skip
    found = talk.rows("SELECT rf({features: {x, y, x + y AS z}})[score] AS s, l FROM ds")
    assert auc(np.array([row["s"] for row in found]), np.array([row["l"] for row in found])) > 0.9


@row("Calibration: probabilizer")
def _(talk):
    talk.train("g", algorithm="glz")
    query = "SELECT g({features: {x, y}})[score] AS score, l AS label FROM ds"
    talk.run("probabilizer.train", trainingData=query, modelFileUrl=f"{talk.folder}/p.prb", functionName="pr")
    found = talk.rows(
        "SELECT pr({score: s})[prob] AS p, s, l FROM (SELECT g({features: {x, y}})[score] AS s, l FROM ds)"
    )
    in_order = [row["p"] for row in sorted(found, key=lambda row: row["s"])]
    assert in_order == sorted(in_order)
    assert abs(np.mean(in_order) - np.mean([row["l"] for row in found])) < 0.1


@row("Feature importance for all classifiers")
def _(talk):
    for algorithm in ("dt", "glz", "bdt", "bs2"):
        talk.train("c", algorithm=algorithm)
        talk.function("ex", "classifier.explain", modelFileUrl=f"{talk.folder}/c.cls")
        shares = talk.rows("SELECT ex({label: l, features: {x, y}})[explanation] AS * FROM ds")
        weight = {name: sum(abs(row.get(name) or 0) for row in shares) for name in ("x", "y")}
        assert weight["x"] > 2 * weight["y"], (algorithm, weight)
        parts = talk.one("SELECT ex({label: 1, features: {x: 1, y: 1}}) AS *, c({features: {x: 1, y: 1}}) AS *")
        total = parts["bias"] + sum(value for name, value in parts.items() if name.startswith("explanation."))
        assert total == pytest.approx(parts["score"], abs=1e-4), algorithm


@row("Evaluation")
def _(talk):
    found = talk.run(
        "classifier.experiment", experimentName="e", algorithm="dt", kfold=3,
        inputData="SELECT {x, y} AS features, l AS label FROM ds", modelFileUrlPattern=f"{talk.folder}/e-$runid.cls",
    )  # fmt: skip
    assert len(found["folds"]) == 3
    assert found["aggregatedTest"]["auc"]["mean"] > 0.9
    assert talk.rows("SELECT * FROM e_results_0")


@row("k-Means")
def _(talk):
    points = ((1, 4), (1, 3), (3, 1), (4, 1))
    talk.client.put("/v1/datasets/four", json={"type": "sparse.mutable"})
    cells = [[f"p{n}", [["x", x, 0], ["y", y, 0]]] for n, (x, y) in enumerate(points)]
    talk.client.post("/v1/datasets/four/multirows", json=cells)
    talk.client.post("/v1/datasets/four/commit")
    talk.run("kmeans.train", trainingData="SELECT x, y FROM four", numClusters=2, metric="euclidean",
             outputDataset="cl", centroidsDataset="ce", modelFileUrl=f"{talk.folder}/k.kms",
             functionName="km")  # fmt: skip
    assert sorted((row["x"], row["y"]) for row in talk.rows("SELECT x, y FROM ce")) == [(1, 3.5), (3.5, 1)]
    clusters = {row["_rowName"]: row["cluster"] for row in talk.rows("SELECT cluster FROM cl")}
    for found in talk.rows("SELECT km({embedding: {x, y}})[cluster] AS c FROM four"):
        assert found["c"] == clusters[found["_rowName"]]


@row("EM (Gaussian)")
def _(talk):
    talk.run("gaussianclustering.train", trainingData="SELECT x, y FROM blobs", numClusters=2, outputDataset="em",
             modelFileUrl=f"{talk.folder}/k.gs", functionName="gauss")  # fmt: skip
    clusters = [row["cluster"] for row in talk.rows("SELECT cluster FROM em ORDER BY rowName()")]
    assert len(set(clusters[:20])) == len(set(clusters[20:])) == 1
    assert clusters[0] != clusters[20]


@row("SVD")
def _(talk):
    talk.run("svd.train", trainingData="SELECT x, y FROM ds", numSingularValues=2, rowOutputDataset="r",
             columnOutputDataset="c", modelFileUrl=f"{talk.folder}/s.svd", functionName="svd")  # fmt: skip
    rows = {row.pop("_rowName"): row for row in talk.rows("SELECT * FROM r")}
    assert set(rows["r1"]) == {"embedding.0", "embedding.1"}
    for found in talk.rows("SELECT svd({row: {x, y}})[embedding] AS embedding FROM ds"):
        name = found.pop("_rowName")
        assert found == pytest.approx(rows[name], abs=1e-4)
    assert {row["_rowName"] for row in talk.rows("SELECT * FROM c")} == {"x.numericValue", "y.numericValue"}


@row("t-SNE")
def _(talk):
    talk.run("tsne.train", trainingData="SELECT x, y FROM blobs", rowOutputDataset="ts", perplexity=5)
    found = talk.rows("SELECT x, y FROM ts ORDER BY rowName()")
    points = np.array([[row["x"], row["y"]] for row in found])
    near = np.argsort(((points[:, None] - points[None]) ** 2).sum(-1), axis=1)[:, 1]
    assert np.mean((near < 20) == (np.arange(40) < 20)) > 0.9


@row("Bag of words")
def _(talk):
    assert talk.one("SELECT tokenize('a b a', {splitChars: ' '}) AS *") == {"_rowName": "result", "a": 2, "b": 1}


@row("tf-idf")
def _(talk):
    talk.run("tfidf.train", trainingData="SELECT tokenize(t, {splitChars: ' '}) AS * FROM ds",
             modelFileUrl=f"{talk.folder}/t.idf", functionName="ti")  # fmt: skip
    scores = talk.one("SELECT ti({input: {ball: 2, unseen: 1}})[output] AS *")
    assert scores["ball"] == pytest.approx(2 * math.log(1 + 60 / 31), rel=1e-5)
    assert scores["unseen"] == pytest.approx(math.log(61), rel=1e-5)


@row("Feature hashing")
def _(talk):
    talk.function("h", "feature_hasher", numBits=2)
    found = talk.rows("SELECT h({columns: {*}})[hash] AS hash FROM ds LIMIT 2")
    assert list(found[0])[1:] == [f"hash.hashColumn{n}" for n in range(4)]
    assert list(found[0].values())[1:] == list(found[1].values())[1:]


@row("word2vec")
def _(talk):
    words = {"hello": (1, 0.5, 0.25), "friend": (0, 0.46, 0.65), "far": (-9, -9, -9)}
    lines = [name.encode() + b" " + np.array(vector, "<f4").tobytes() for name, vector in words.items()]
    (talk.graphs / "w.bin").write_bytes(b"3 3\n" + b"".join(lines))
    talk.client.put("/v1/datasets/w2v", json={"type": "embedding"})
    talk.run("import.word2vec", dataFileUrl=f"{talk.folder}/w.bin", outputDataset="w2v")
    talk.function("nw", "embedding.neighbors", dataset="w2v")
    assert talk.client.query("SELECT nw({coords: 'hello', numNeighbors: 2})[neighbors] AS *")[1][1:] == [
        "hello", "friend",
    ]  # fmt: skip
    talk.function("pool", "pooling", embeddingDataset="w2v")
    mean = talk.client.query("SELECT pool({words: {hello: 1, friend: 1}})[embedding] AS *")[1][1:]
    assert mean == pytest.approx([0.5, 0.48, 0.45])


@row("Stats tables")
def _(talk):
    url = f"{talk.folder}/s.st"
    talk.run("statsTable.train", trainingData="SELECT cat FROM ds ORDER BY rowName()", outcomes=[["won", "l = 1"]],
             statsTableFileUrl=url, functionName="counts", outputDataset="running")  # fmt: skip
    first = talk.rows("SELECT * FROM running ORDER BY rowName() LIMIT 3")
    assert [row["trial.cat"] for row in first] == [0, 0, 1]
    assert talk.one("SELECT counts({keys: {cat: 'Sports'}})[counts] AS *")["trial.cat"] == 30


@row("TensorFlow")
def _(talk):
    inverse = "SELECT tf_MatrixInverse([[1, 2], [3, 4]], {T: {type: 'DT_DOUBLE'}}) AS r"
    assert talk.client.query(inverse)[1][1:] == pytest.approx([-2, 1, 1.5, -0.5])
    talk.function("dense", "tensorflow.graph", modelFileUrl=f"{talk.folder}/dense.pb", inputs="x", outputs="y")
    assert talk.client.query("SELECT dense({x: [1, 2, 3]})[y] AS y")[1][1:] == [2, 4, 6]


@row("Import and export of text")
def _(talk):
    talk.run("export.csv", exportData="SELECT x, y FROM ds", dataFileUrl=f"{talk.folder}/a.csv")
    found = talk.run("import.text", dataFileUrl=f"{talk.folder}/a.csv", outputDataset="d")
    assert found == {"rowCount": 60, "numLineErrors": 0}


@row("JSON over REST, SQL interface")
def _(talk):
    assert talk.client.get_json("/v1/query", q="SELECT 1+1").json()[0]["columns"][0][1] == 2


@row("3-d sparse matrix with timestamps, flexible schema, slice on time")
def _(talk):
    talk.client.put("/v1/datasets/matrix", json={"type": "sparse.mutable"})
    cells = [["score", 5.0, "2013-04-20"], ["score", 0.0, "2013-04-22"], ["name", "x", "2013-04-20"]]
    talk.client.post("/v1/datasets/matrix/rows", json={"rowName": "u", "columns": cells})
    talk.client.post("/v1/datasets/matrix/rows", json={"rowName": "v", "columns": [["other", 1, "2013-04-20"]]})
    talk.client.post("/v1/datasets/matrix/commit")
    assert talk.rows("SELECT score FROM matrix WHERE rowName() = 'u'")[0]["score"] == 0
    past = talk.rows("SELECT score FROM matrix WHEN value_timestamp() < '2013-04-21' WHERE rowName() = 'u'")
    assert past[0]["score"] == 5


@row("Column renaming, exclusions; row functions")
def _(talk):
    table = "(SELECT 1 AS ax, 2 AS ay, 3 AS ab)"
    assert talk.rows(f"SELECT a* EXCLUDING (ab) AS c* FROM {table}") == [{"_rowName": "result", "cx": 1, "cy": 2}]
    assert talk.rows(f"SELECT horizontal_sum({{a*}}) AS s FROM {table}")[0]["s"] == 6


@row("Pivot aggregate")
def _(talk):
    found = talk.rows("SELECT pivot(cat, x) AS * FROM ds GROUP BY l")
    assert set(found[0]) | set(found[1]) == {"_rowName", "Sports", "Music"}


@row("JavaScript in SQL")
def _(talk):
    script = """jseval('return {mult: a*2, name: "Bonjour! " + b};', 'a,b', 5, 'Hello!')"""
    assert talk.one(f"SELECT {script} AS output") == {
        "_rowName": "result", "output.mult": 10, "output.name": "Bonjour! Hello!",
    }  # fmt: skip


@row("Predict via REST and SQL; a model is a live endpoint on training")
def _(talk):
    talk.train("live", algorithm="bbdt")
    asked = {"input": '{"features": {"x": 1, "y": 0.5}}'}
    over_rest = talk.client.get("/v1/functions/live/application", params=asked).json()["output"]["score"]
    assert talk.one("SELECT live({features: {x: 1, y: 0.5}})[score] AS s")["s"] == over_rest


@pytest.fixture(scope="module")
def talk(server, client, graphs):
    folder = server.data_dir.resolve() / "talk"
    folder.mkdir()
    (folder / "dense.pb").write_bytes((graphs / "dense.pb").read_bytes())
    rng = random.Random(3)
    ds, xor, blobs = [], [], []
    for n in range(60):
        x, y, label = (n % 2) * 4 - 2 + rng.gauss(0, 0.7), rng.gauss(0, 1), n % 2
        words = ("ball goal", "song tune")[n % 2]
        labels = {"l": label, "cat": ("Sports", "Music")[label], "t": words, "z": 2 * x + y, ("a", "b")[label]: 1}
        ds.append([f"r{n}", {"x": x, "y": y} | labels])
    for n in range(200):
        a, b = n % 2, n // 2 % 2
        xor.append([f"q{n}", {"x": a + rng.uniform(-0.2, 0.2), "y": b + rng.uniform(-0.2, 0.2), "l": a ^ b}])
    for n in range(40):
        blobs.append([f"b{n:02}", {"x": n // 20 * 20 + rng.gauss(0, 1), "y": rng.gauss(0, 1)}])
    for name, rows in (("ds", ds), ("xor", xor), ("blobs", blobs)):
        client.put(f"/v1/datasets/{name}", json={"type": "sparse.mutable"})
        cells = [[row, [[column, value, 0] for column, value in values.items()]] for row, values in rows]
        client.post(f"/v1/datasets/{name}/multirows", json=cells)
        client.post(f"/v1/datasets/{name}/commit")
    return Talk(client, f"file://{folder}", folder)


@pytest.mark.parametrize("capability", ROWS)
def test_talk(talk, capability):
    ROWS[capability](talk)
