"""What MLDB's own source answers to configurations that make no sense: clients and tests look for these texts."""

from __future__ import annotations

import pytest

from server.http import mldb_names
from tests.learning.test_classifier_rest import make_rows

TRAINING = "SELECT {x} AS features, l AS label FROM t"
EXPERIMENT = {"modelFileUrlPattern": "file://e-$runid.cls", "algorithm": "dt"}


def refusal(client, kind, type_, params):
    answer = client.put(f"/v1/{kind}/bad", json={"type": type_, "params": params})
    assert answer.status_code == 400, answer.text
    return answer.json()["error"]


@pytest.fixture
def table(client):
    make_rows(client, "t", {"a": {"x": 1, "l": 0}, "b": {"x": 2, "l": 1}})
    return client


@pytest.mark.parametrize(
    ("type_", "params", "text"),
    [
        (
            "classifier.train",
            {"trainingData": "SELECT {x} AS features FROM t"},
            "classifier.train expects a row named 'features' and a scalar named 'label'",
        ),
        (
            "classifier.experiment",
            {"inputData": TRAINING, "testingDataOverride": "SELECT {x} AS features FROM t", **EXPERIMENT},
            "classifier.experiment expects a row named 'features' and a scalar named 'label'",
        ),
        (
            "classifier.test",
            {"testingData": "SELECT l AS label FROM t"},
            "classifier.test expects a scalar named 'score' and a scalar named 'label'",
        ),
        (
            "classifier.test",
            {"testingData": "SELECT x AS score, l AS label FROM t GROUP BY x, l"},
            "classifier.test does not support groupBy clause",
        ),
        (
            "svm.train",
            {"trainingData": "SELECT x, l AS label FROM t GROUP BY x"},
            "svm.train does not support groupBy clause",
        ),
        (
            "kmeans.train",
            {"trainingData": "SELECT x FROM t", "functionName": "k"},
            "kmeans.train requires a valid modelFileUrl when specifying a functionName. modelFileUrl '' is invalid.",
        ),
        (
            "kmeans.train",
            {"trainingData": "SELECT x FROM t", "functionName": "k"},
            "Can't create kmeans function 'k'. Have you provided a valid modelFileUrl?",
        ),
        (
            "statsTable.train",
            {"trainingData": "SELECT x FROM t", "outcomes": [["o", "l"]], "functionName": "s", "outputDataset": "o"},
            "statsTable.train requires a valid modelFileUrl when specifying a functionName. modelFileUrl '' is",
        ),
        (
            "randomforest.binary.train",
            {"trainingData": TRAINING, "runOnCreation": True},
            "failed to create the initial run",
        ),
        (
            "statsTable.bagOfWords.train",
            {"trainingData": "SELECT x FROM t", "outcomes": [["o", "l"]], "functionName": "s"},
            "The 'functionOutcomeToUse' parameter must be set when the 'functionName' parameter is set.",
        ),
    ],
)
def test_procedures(table, type_, params, text):
    assert text in refusal(table, "procedures", type_, {"runOnCreation": False} | params)


@pytest.mark.parametrize(
    ("params", "text"),
    [
        (
            {"expression": "1 AS x, 2 AS y", "raw": True},
            "An sql.expression function with raw=true must have a single clause in the select; there were 2 in the "
            "passed expression 1 AS x, 2 AS y",
        ),
        (
            {"expression": "*", "raw": True},
            "An sql.expression function with raw=true must have a single statement in the select; "
            "passed expression was *",
        ),
        (
            {"expression": "x + y AS z", "autoInput": True},
            "An sql.expression function with autoInput=true must have a single variable in the expression; the passed "
            "expression x + y AS z had 2 variables (x, y).",
        ),
    ],
)
def test_expressions(client, params, text):
    assert refusal(client, "functions", "sql.expression", params) == text


def test_datasets(client):
    params = {"dataFileUrl": "http://somewhere/x.sqlite"}
    assert refusal(client, "datasets", "sqliteSparse", params) == (
        "SQLite database requires file:// URI, passed 'http://somewhere/x.sqlite'"
    )


def test_no_aggregator_is_the_mean(client):
    client.put("/v1/datasets/vectors", json={"type": "embedding"})
    client.post("/v1/datasets/vectors/multirows", json=[["a", [["x", 1, 0]]], ["b", [["x", 2, 0]]]])
    client.post("/v1/datasets/vectors/commit")
    params = {"embeddingDataset": "vectors", "aggregators": []}
    client.put("/v1/functions/pool", json={"type": "pooling", "params": params}).raise_for_status()
    answer = client.get_json("/v1/functions/pool/application", {"input": {"words": {"a": 1, "b": 1}}})
    assert answer.json()["output"]["embedding"]["val"] == [1.5]


def test_neighbours_as_many_as_the_function_says(client):
    client.put("/v1/datasets/vectors", json={"type": "embedding"})
    client.post("/v1/datasets/vectors/multirows", json=[[str(n), [["x", n, 0]]] for n in range(9)])
    client.post("/v1/datasets/vectors/commit")
    params = {"dataset": "vectors", "defaultNumNeighbors": 2}
    client.put("/v1/functions/nn", json={"type": "embedding.neighbors", "params": params}).raise_for_status()
    answer = client.query("SELECT nn({coords: '4', numNeighbors: -1})[neighbors] AS *")
    assert len(answer[0]) == 3
    refused = client.get_json("/v1/functions/nn/application", {"input": {}})
    assert refused.json()["error"].startswith("Input row must be either a row name or an embedding")


@pytest.mark.parametrize(
    ("class_", "type_", "name"),
    [
        ("procedures", "svd.train", "MLDB::SvdConfig"),
        ("datasets", "sparse.mutable", "MLDB::MutableSparseMatrixDatasetConfig"),
        ("functions", "sql.query", "MLDB::SqlQueryFunctionConfig"),
        ("plugins", "python", "MLDB::PluginResource"),
        ("procedures", "import.parquet", "MLDB::ImportParquetParams"),  # which MLDB has not
    ],
)
def test_names_of_parameter_structures(client, class_, type_, name):
    info = client.get(f"/v1/types/{class_}/{type_}/info").json()
    assert (info["configType"]["kind"], info["configType"]["typeName"]) == ("STRUCTURE", name)
    named = client.get("/v1/typeInfo", params={"type": name}).json()
    assert (named["kind"], named["typeName"]) == ("STRUCTURE", name)


def test_type_info_without_a_type(client):
    answer = client.get("/v1/typeInfo")
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("key type not found in RestParams")


def test_names_are_of_types_that_there_are(client):
    for kind, names in mldb_names.STRUCTURES.items():
        assert set(names) <= set(client.get(f"/v1/types/{kind}s").json())


def test_formats_of_applications(client):
    function = {"type": "sql.expression", "params": {"expression": "1 AS x"}}
    client.put("/v1/functions/one", json=function).raise_for_status()
    answer = client.get("/v1/functions/one/application", params={"outputFormat": "xml"})
    assert answer.json()["error"] == "Unknown 'format' for application call: got xml, accepted is 'compat' or 'json'"
    for what in ("input", "output"):
        answer = client.get("/v1/functions/one/batch", params={"input": "{}", f"{what}Format": "xml"})
        assert answer.json()["error"] == f"batch apply only accepts 'json' {what} format currently; got 'xml'"


@pytest.mark.parametrize("type_", ["tabular", "embedding"])
def test_columns_are_recorded_as_rows(client, type_):
    client.put("/v1/datasets/d", json={"type": type_}).raise_for_status()
    columns = [["x", [["a", 1, 0], ["b", 2, 0]]], ["y.z", [["a", 3, 0], ["b", 4, 0]]]]
    assert client.post("/v1/datasets/d/multicolumns", json=columns).status_code == 200
    client.post("/v1/datasets/d/commit").raise_for_status()
    query = "SELECT x, y.z FROM d ORDER BY rowName()"
    assert client.query(query) == [["_rowName", "x", "y.z"], ["a", 1, 3], ["b", 2, 4]]
    refused = client.post("/v1/datasets/d/columns", json={"columnName": "w", "rows": [["a", 1, 0]]})
    assert "was committed already" in refused.json()["error"]
