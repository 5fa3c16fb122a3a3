"""Classifiers over REST: train, apply, explain, as a client does it."""

from __future__ import annotations

import random
import re

import pytest


def make_rows(client, name, rows, kind="sparse.mutable"):
    """A dataset of rows {name: {column: value}}."""
    client.delete(f"/v1/datasets/{name}")
    client.put(f"/v1/datasets/{name}", json={"type": kind}).raise_for_status()
    body = [[row, [[column, value, 0] for column, value in cells.items()]] for row, cells in rows.items()]
    client.post(f"/v1/datasets/{name}/multirows", json=body).raise_for_status()
    client.post(f"/v1/datasets/{name}/commit").raise_for_status()


def train(client, data_dir, query, name="cls", **params):
    params = {"trainingData": query, "modelFileUrl": f"file://{data_dir}/{name}.cls", "functionName": name} | params
    return client.put(f"/v1/procedures/train_{name}", json={"type": "classifier.train", "params": params})


@pytest.fixture(scope="module")
def data_dir(server):
    return server.data_dir.resolve()


@pytest.fixture
def blobs(client):
    rng = random.Random(1)
    rows = {}
    for number in range(200):
        label = number % 2
        rows[f"r{number}"] = {"x": rng.gauss(3 * label, 1), "y": rng.gauss(0, 1), "label": label, "kind": "ab"[label]}
    make_rows(client, "blobs", rows)
    return client


BLOBS = "SELECT {x, y} AS features, label FROM blobs"


@pytest.mark.parametrize("algorithm", ["dt", "glz", "bbdt"])
def test_a_trained_model_is_a_live_function(blobs, data_dir, algorithm):
    answer = train(blobs, data_dir, BLOBS, algorithm=algorithm)
    assert answer.status_code == 201, answer.text
    assert answer.json()["status"]["firstRun"]["state"] == "finished"
    low, high = (
        blobs.get_json("/v1/functions/cls/application", {"input": {"features": {"x": x, "y": 0}}}).json()
        for x in (-1, 4)
    )
    assert low["output"]["score"] < high["output"]["score"]
    asked = blobs.query("SELECT cls({features: {x: 4, y: 0}})[score] AS score")
    assert asked[1][1] == high["output"]["score"]
    table = blobs.query("SELECT cls({features: {x, y}})[score] AS score, label FROM blobs")
    best = sorted(table[1:], key=lambda row: row[1])[-50:]
    assert sum(row[2] for row in best) > 45


def test_scores_of_categories_are_named_by_json_texts(blobs, data_dir):
    train(blobs, data_dir, "SELECT {x, y} AS features, kind AS label FROM blobs", mode="categorical", algorithm="dt")
    table = blobs.query("SELECT cls({features: {x: 4, y: 0}}) AS *")
    assert table[0] == ["_rowName", 'scores."""a"""', 'scores."""b"""']
    assert table[1][2] > table[1][1]
    status = blobs.get("/v1/functions/cls").json()["status"]
    assert status["mode"] == "categorical"
    tree = blobs.get("/v1/functions/cls/details").json()["model"]["params"]["tree"]["root"]
    assert tree["split"]["feature"] == "x"


def test_explanations(blobs, data_dir):
    train(blobs, data_dir, BLOBS, algorithm="bbdt")
    url = f"file://{data_dir}/cls.cls"
    blobs.put("/v1/functions/why", json={"type": "classifier.explain", "params": {"modelFileUrl": url}})
    table = blobs.query(
        "SELECT why({features: {x, y}, label: 1}) AS *, cls({features: {x, y}})[score] AS score FROM blobs LIMIT 5"
    )
    head = table[0]
    assert head[:2] == ["_rowName", "bias"]
    explained = [at for at, name in enumerate(head) if name.startswith("explanation.")]
    for row in table[1:]:
        total = row[1] + sum(row[at] or 0 for at in explained)
        assert total == pytest.approx(row[head.index("score")], abs=1e-5)
    answer = blobs.get_json("/v1/query", {"q": "SELECT why({features: {z: 1}, label: 1}) AS *", "format": "table"})
    assert answer.status_code == 400
    assert "The specified features couldn't be found in the classifier." in answer.json()["error"]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            {"trainingData": "SELECT {x} AS features, x + 1 AS label FROM blobs"},
            "only accepts wildcard and column names",
        ),
        ({"trainingData": "SELECT {x} AS features, label FROM blobs GROUP BY x"}, "does not support groupBy clause"),
        (
            {"trainingData": "SELECT {*} AS features, label FROM blobs"},
            "'label' cannot be used in both label and feature",
        ),
        ({"trainingData": "SELECT {x} AS features, label"}, "must contain a FROM clause"),
        (
            {"trainingData": "SELECT {x} AS features FROM blobs"},
            "classifier.train expects a row named 'features' and a scalar",
        ),
        ({"trainingData": BLOBS + " WHERE false"}, "as all rows were filtered"),
        ({"trainingData": "SELECT {x} AS features, nothing AS label FROM blobs"}, "as all rows were filtered"),
        ({"trainingData": "SELECT {x} AS features, label, y AS weight FROM blobs"}, "weight cannot be negative"),
        ({"modelFileUrl": "nowhere"}, "The 'modelFileUrl' parameter 'nowhere' is not valid."),
        ({"modelFileUrl": "file:///cls.cls"}, "Error when trying to"),
        ({"modelFileUrl": None}, "requires a valid modelFileUrl when specifying a functionName"),
        (
            {"algorithm": "", "configuration": {"type": "boosted_stumps", "validation_split": 0}},
            "Unknown key(s) encountered in config: validation_split; 'boosted_stumps' takes committee_size",
        ),
        (
            {"trainingData": "SELECT {x, y} AS features, kind AS label FROM blobs"},
            "Labels such as 'a' and 'b' are all true in mode 'boolean', as every text but '' is: set mode to "
            "'categorical', or make the label a condition, such as label = 'a' AS label",
        ),
        ({"mode": "multilabel"}, "Multilabel classification labels requires a row"),
        ({"mode": "regression", "algorithm": "", "configuration": {"type": "fasttext"}}, "does not currently support"),
    ],
)
def test_refusals(blobs, data_dir, change, text):
    answer = train(blobs, data_dir, **({"query": BLOBS, "algorithm": "dt"} | change))
    assert answer.status_code == 400
    body = answer.json()
    assert text in body["error"] + str(body.get("details"))


def test_a_name_that_no_function_can_have_is_refused_before_training(blobs, data_dir):
    answer = train(blobs, data_dir, BLOBS, algorithm="dt", functionName="upper")
    assert answer.status_code == 400
    assert answer.json()["error"].endswith("MLDB already has a built-in function named upper")
    assert "details" not in answer.json()  # it is the creation that fails, no run


def test_one_label_only_is_noted_in_the_log(blobs, data_dir):
    """In mode boolean, which is the default, all texts are true."""
    query = "SELECT {x, y} AS features, 'no' AS label FROM blobs"
    assert train(blobs, data_dir, query, algorithm="dt").status_code == 201
    assert "one label only" in blobs.get("/logs/mldb").text


def test_empty_datasets_are_told_from_filtered_ones(client, data_dir):
    make_rows(client, "blobs", {})
    answer = train(client, data_dir, BLOBS, algorithm="dt")
    assert "No feature vectors were produced as dataset was empty" in str(answer.json())


def test_a_column_that_was_null_may_hold_anything_later(client, data_dir):
    rows = {f"r{n}": {"feature": n, "label": int(n > 5)} for n in range(12)}
    make_rows(client, "train", rows)
    query = "SELECT {feature, NULL AS issue} AS features, label FROM train"
    assert train(client, data_dir, query, algorithm="bbdt").status_code == 201
    for issue in ("'text'", "3"):
        table = client.query(f"SELECT cls({{features: {{9 AS feature, {issue} AS issue}}}})[score] AS s")
        assert table[1][1] > 0


def test_texts_where_numbers_were(blobs, data_dir):
    train(blobs, data_dir, BLOBS, algorithm="dt")
    answer = blobs.get_json("/v1/query", {"q": "SELECT cls({features: {x: 'abc'}}) AS *"})
    assert answer.status_code == 400
    assert "Value for column 'x' was numeric in training, but is now \"abc\"" in answer.json()["error"]


def test_multilabel_digits(client, data_dir):
    rows = {}
    for number in range(20):
        for at, labels in enumerate([(0,), (1,), (2,), (0, 1), (0, 2), (1, 2)]):
            features = [5 if label in labels else 0 for label in range(3)]
            cells = {f"feat{n + 1}": value for n, value in enumerate(features)} | {f"label{n}": 1 for n in labels}
            rows[f"u{at + 1 + 6 * number}"] = cells
    make_rows(client, "several", rows)
    query = "SELECT {* EXCLUDING(label0, label1, label2)} AS features, {label0, label1, label2} AS label FROM several"
    tree = {"dt": {"type": "decision_tree", "max_depth": 8, "update_alg": "gentle"}}
    assert train(client, data_dir, query, mode="multilabel", algorithm="dt", configuration=tree).status_code == 201
    table = client.query("SELECT cls({features: {5 AS feat1, 0 AS feat2, 5 AS feat3}}) AS *")
    assert table == [
        ["_rowName", 'scores."""label0"""', 'scores."""label1"""', 'scores."""label2"""'],
        ["result", 0.9999789595603943, 3.6201177863404155e-05, 0.9999789595603943],
    ]


def test_a_row_may_come_nested_or_flat(blobs, data_dir):
    train(blobs, data_dir, "SELECT {{x, y} AS row} AS features, label FROM blobs", algorithm="dt")
    forms = ["{x AS row.x, y AS row.y}", "{{x, y} AS row}", "{* AS row.*}"]
    tables = [blobs.query(f"SELECT cls({{features: {form}}}) AS * FROM blobs LIMIT 10") for form in forms]
    assert tables[0] == tables[1] == tables[2]
    assert len({row[1] for row in tables[0][1:]}) > 1


@pytest.mark.parametrize("kind", ["sparse.mutable", "tabular"])
@pytest.mark.parametrize("features", ["{x, odd}", "{* EXCLUDING (label)}"])
def test_a_column_with_texts_outside_the_training_rows_holds_categories(client, data_dir, kind, features):
    rows = {f"r{n}": {"x": n, "odd": n % 3 if n < 40 else "text", "label": n % 2} for n in range(60)}
    make_rows(client, "halves", rows, kind)
    answer = train(client, data_dir, f"SELECT {features} AS features, label FROM halves WHERE x < 40", algorithm="dt")
    assert answer.status_code == 201, answer.text
    table = client.query(f"SELECT cls({{features: {features}}})[score] AS score FROM halves")
    assert len(table) == 61
    assert all(0 <= row[1] <= 1 for row in table[1:])


def test_a_text_where_the_whole_dataset_has_numbers_is_refused(blobs, data_dir):
    train(blobs, data_dir, BLOBS, algorithm="dt")
    answer = blobs.get_json("/v1/functions/cls/application", {"input": {"features": {"x": "abc"}}})
    assert answer.status_code == 400
    assert answer.json()["error"] == "Value for column 'x' was numeric in training, but is now \"abc\""


def test_a_label_among_features_that_only_the_rows_tell(client, data_dir):
    """Recorded nulls make the rows of a sparse dataset open."""
    client.put("/v1/datasets/opened", json={"type": "sparse.mutable"})
    rows = [[f"r{n}", [["x", n, 0], ["label.a", n % 2 or None, 0], ["label.b", 1, 0]]] for n in range(8)]
    client.post("/v1/datasets/opened/multirows", json=rows)
    client.post("/v1/datasets/opened/commit")
    more = {"mode": "multilabel", "algorithm": "dt"}
    answer = train(client, data_dir, "SELECT {* EXCLUDING (label)} AS features, label FROM opened", **more)
    assert answer.status_code == 400
    message = answer.json()["details"]["runError"]["error"]
    assert re.fullmatch(r"Dataset column 'label.[ab]' cannot be used in both label and feature", message)
    answer = train(client, data_dir, "SELECT {* EXCLUDING (label.*)} AS features, label FROM opened", **more)
    assert answer.status_code == 201, answer.text
