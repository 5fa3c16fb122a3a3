"""Every type of entity with parameters, inputs and data that nobody should give it: refused with a text that helps."""

from __future__ import annotations

import json
import re

import pytest

from tests.learning.models import TRAININGS, make_datasets
from tests.rest.test_functions_three_ways import INPUTS, MADE

KINDS = ("datasets", "procedures", "functions")
SERVICES = {"mongodb.query", "postgresql.query", "tensorflow.graph", "tensorflow.op"}  # tested where these are at hand
VALUES = (True, -1, 10**30, 1e308, "x", "", [], {}, [[]], {"a": {"b": [1]}}, "é\0☂", ["a", 1, None], "☂.a b")
TAGGED = ({"num": "NaN"}, {"num": "Inf"}, {"ts": "2015-01-01T00:00:00Z"}, {"interval": "1D"}, {"blob": [1, 2, 255]},
          {"path": ["a", "b"]}, [1, 2], [[1, 2], [3, 4]], [[1, "a"], [None, {"x": 1}]], {"x": {"num": "Inf"}, "y": 1},
          {"x": "t"}, {"x": None}, {"x": {"blob": [0]}}, {"x": {"interval": "1D"}}, {"": 1}, {"a.b": 1, "☂": 2},
          {"x": 1e300, "y": -1e300}, {"x": [1, 2, 3]})  # fmt: skip


def fields(client, kind, name):
    return client.get(f"/v1/types/{kind}/{name}/info").json()["configType"]["fields"]


def refusal(answer):
    """The text of an error in the canonical body; of a first run the run's own."""
    body = answer.json()
    assert set(body) <= {"error", "httpCode", "details"}, body
    assert body["httpCode"] == answer.status_code < 500, body
    return body.get("details", {}).get("runError", body)["error"]


@pytest.mark.parametrize("kind", KINDS)
def test_unknown_parameters_name_the_nearest(client, kind):
    for name in client.get(f"/v1/types/{kind}").json():
        for field in [each["name"] for each in fields(client, kind, name) if len(each["name"]) > 4]:
            params = {field[:-2] + field[-1] + "x": 1}
            answer = client.put(f"/v1/{kind}/wrong", json={"type": name, "params": params})
            text = refusal(answer)
            assert text.startswith(f"unknown field parsing {name} configuration: '{next(iter(params))}'"), text
            assert re.search(r"; did you mean '\w+'\?$", text), text
            assert answer.json()["details"]["field"] == next(iter(params))


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_required_is_named(client, kind):
    for name in client.get(f"/v1/types/{kind}").json():
        answer = client.put(f"/v1/{kind}/bare", json={"type": name, "params": {}})
        if answer.status_code == 201:
            continue
        text = refusal(answer)
        known = [each["name"] for each in fields(client, kind, name)]
        assert any(re.search(rf"\b{each}\b", text) for each in known), (name, text)


@pytest.fixture(scope="module")
def trained(client, server):
    """Models of every kind, and the URL of the folder they are in."""
    make_datasets(client)
    vectors = [[word, [[str(at), at, 0] for at in range(4)]] for word in ("hello", "friends")]
    client.put("/v1/datasets/vectors", json={"type": "embedding"}).raise_for_status()
    client.post("/v1/datasets/vectors/multirows", json=vectors).raise_for_status()
    client.post("/v1/datasets/vectors/commit").raise_for_status()
    folder = f"file://{server.data_dir.resolve()}"
    for name, training in TRAININGS.items():
        config = training.config(name, f"{folder}/{name}.model")
        assert client.put("/v1/procedures/train", json=config).status_code == 201, name
    return folder


ONE_OF_EACH = {training.procedure: name for name, training in TRAININGS.items()}.values()


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_trainings_refuse_values_of_the_wrong_kind(client, trained, name):
    training = TRAININGS[name]
    config = training.config("other", f"{trained}/other.model")
    for field in fields(client, "procedures", training.procedure):
        for value in VALUES:
            params = config["params"] | {field["name"]: value}
            if field["name"] != "runOnCreation":
                params["runOnCreation"] = False
            answer = client.put("/v1/procedures/wrong", json={**config, "params": params})
            if answer.status_code != 201:
                assert refusal(answer), (field, value)


FILES = {
    "classifier": "tree", "classifier.explain": "tree", "probabilizer": "probabilizer", "svm": "svm",
    "kmeans": "kmeans", "gaussianclustering": "gaussians", "svd.embedRow": "svd", "tfidf": "tfidf",
    "statsTable.getCounts": "stats", "experimental.distTable.getStats": "distributions",
    "statsTable.bagOfWords.posneg": "words",
}  # fmt: skip
URLS = {"statsTable.getCounts": "statsTableFileUrl", "statsTable.bagOfWords.posneg": "statsTableFileUrl",
        "experimental.distTable.getStats": "distTableFileUrl"}  # fmt: skip


def function_params(type_, folder):
    params = json.loads(json.dumps(MADE.get(type_, {})).replace("{dir}", folder))
    if type_ in FILES:
        params[URLS.get(type_, "modelFileUrl")] = f"{folder}/{FILES[type_]}.model"
    return params


@pytest.mark.parametrize("type_", sorted(set(INPUTS) - SERVICES - {"tsne.embedRow"}))
def test_functions_take_any_input_without_a_defect(client, trained, type_):
    params = function_params(type_, trained)
    assert client.put("/v1/functions/asked", json={"type": type_, "params": params}).status_code == 201
    given = json.loads(json.dumps(INPUTS[type_]).replace("{dir}", trained))
    for name in given:
        for value in (*VALUES, *TAGGED, None):
            answer = client.get_json("/v1/functions/asked/application", {"input": {**given, name: value}})
            if answer.status_code != 200:
                assert refusal(answer), (name, value)
    for field in fields(client, "functions", type_):
        for value in VALUES:
            config = {"type": type_, "params": {**params, field["name"]: value}}
            answer = client.put("/v1/functions/wrong", json=config)
            if answer.status_code != 201:
                assert refusal(answer), (field, value)


ODD = {
    "nulls": lambda n: {"x": None, "y": None, "label": n % 2, "kind": "ab"[n % 2], "tokens.good": None},
    "infinite": lambda n: {
        "x": {"num": "-Inf"} if n % 2 else 1e300, "y": {"num": "NaN"} if n == 4 else n, "label": n % 2,
        "kind": "ab"[n % 2], "tokens.good": 10**15,
    },
    "unlabelled": lambda n: {"x": n, "y": 1, "label": None, "kind": None, "tokens.good": 1},
    "one class": lambda n: {"x": n, "y": n, "label": 1, "kind": "a", "tokens.good": 1},
}  # fmt: skip


@pytest.mark.parametrize("data", ["empty", *ODD])
def test_trainings_on_odd_data_succeed_or_say_why_not(client, trained, data):
    """What is trained all the same can be asked, and gives numbers."""
    client.put("/v1/datasets/odd", json={"type": "sparse.mutable"}).raise_for_status()
    rows = [[f"r{n}", [[column, value, 0] for column, value in ODD[data](n).items()]] for n in range(10)] if (
        data in ODD) else []  # fmt: skip
    client.post("/v1/datasets/odd/multirows", json=rows).raise_for_status()
    client.post("/v1/datasets/odd/commit").raise_for_status()
    for name, training in TRAININGS.items():
        config = training.config("odd", f"{trained}/odd.model")
        query = re.sub(r"\bpairs\b", "odd", training.query)
        config["params"][training.query_parameter] = query
        if training.procedure in ("tfidf.train", "statsTable.train"):
            config["params"]["outputDataset"] = "odd_out"
        answer = client.put("/v1/procedures/train", json=config)
        if answer.status_code != 201:
            assert refusal(answer), name
        elif training.call:
            query = f'SELECT "{training.function("odd")}"{training.call} AS *'
            found = client.get_json("/v1/query", {"q": query})
            assert found.status_code in (200, 400), (name, found.text)
    for query in ("SELECT x AS score, label FROM odd", "SELECT x AS score, label, y AS weight FROM odd"):
        config = {"type": "classifier.test", "params": {"testingData": query, "outputDataset": "odd_out"}}
        answer = client.put("/v1/procedures/test", json=config)
        if answer.status_code != 201:
            assert refusal(answer)
        else:
            assert answer.json()["status"]["firstRun"]["status"]["auc"] is not None


def test_names_of_any_characters_survive_a_restart_with_their_answers(start_server):
    """Models of every kind, under names with dots, blanks and letters of other scripts."""
    server = start_server()
    with server.client() as client:
        make_datasets(client)
        for name, training in TRAININGS.items():
            config = training.config(f"été.{name} ☂", f"file://{server.data_dir.resolve()}/été {name}.model")
            answer = client.put(f"/v1/procedures/日本.{name}", json=config)
            assert answer.status_code == 201, answer.text
        before = answers(client)
        lists = [client.get(f"/v1/{kind}").json() for kind in KINDS]
    server.stop()
    with start_server(data_dir=server.data_dir).client() as client:
        assert answers(client) == before
        assert [client.get(f"/v1/{kind}").json() for kind in KINDS] == lists


def answers(client):
    return {
        name: client.query(f'SELECT "{training.function(f"été.{name} ☂")}"{training.call} AS *')
        for name, training in TRAININGS.items()
        if training.call
    }
