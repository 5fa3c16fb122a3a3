"""Every model is a file that says where it comes from, and what it says is shown and checked."""

from __future__ import annotations

import zipfile

import orjson
import pytest

from server.learning.archive import VERSION
from tests.learning.models import TRAININGS, make_datasets


@pytest.fixture(scope="module")
def trained(server):
    """A server with the datasets."""
    with server.client() as client:
        make_datasets(client)
        yield client


def train(client, server, name):
    """The function's id and its model's path."""
    training = TRAININGS[name]
    file = server.data_dir.resolve() / f"{name}.model"
    answer = client.put(f"/v1/procedures/train_{name}", json=training.config(name, f"file://{file}"))
    assert answer.status_code == 201, answer.text
    return training.function(name), file


@pytest.mark.parametrize("name", TRAININGS)
def test_details_tell_the_origin(trained, server, name):
    training = TRAININGS[name]
    function, file = train(trained, server, name)
    details = trained.get(f"/v1/functions/{function}/details").json()
    assert set(details) == {"model", "origin", "digest"}
    origin = details["origin"]
    assert origin["procedure"] == training.procedure
    assert origin["params"][training.query_parameter] == training.query
    assert origin["query"].startswith("SELECT ")
    assert {"mldb", "python", "numpy", "scikit-learn", "lightgbm", "opentsne"} <= set(origin["libraries"])
    pairs, dense, sparse = (found(origin["datasets"], id) for id in ("pairs", "dense", "sparse"))
    assert pairs == {"id": "pairs", "type": "merged"}
    assert (dense["type"], dense["rows"]) == ("tabular", 40)
    assert (sparse["type"], sparse["rows"]) == ("sparse.mutable", 40)
    assert dense["version"]
    assert sparse["version"]
    with zipfile.ZipFile(file) as members:
        head = orjson.loads(members.read("model.json"))
        assert orjson.loads(members.read("origin.json")) == origin
        assert not any(name.endswith((".pkl", ".pickle")) for name in members.namelist())
    assert (head["digest"], head["version"]) == (details["digest"], VERSION)
    if training.call:
        assert trained.query(f"SELECT {function}{training.call} AS *")


def found(datasets, id):
    (one,) = [dataset for dataset in datasets if dataset["id"] == id]
    return one


@pytest.mark.parametrize("name", TRAININGS)
def test_a_changed_file_is_refused(trained, server, name):
    """Damage in the content and in the origin alike; every member of the file counts."""
    _, file = train(trained, server, name)
    config = trained.get(f"/v1/functions/{TRAININGS[name].function(name)}").json()["config"]
    with zipfile.ZipFile(file) as source:
        members = {each: source.read(each) for each in source.namelist()}
    damages = {
        "origin.json": members["origin.json"].replace(b'"rows":40', b'"rows":41'),
        "body.json": members["body.json"].replace(b"{", b"{ ", 1),
    }
    damages |= {each: data[:-1] + bytes([data[-1] ^ 1]) for each, data in members.items() if each.endswith(".npy")}
    for changed, data in damages.items():
        assert data != members[changed]
        with zipfile.ZipFile(file, "w") as target:
            for each, content in (members | {changed: data}).items():
                target.writestr(each, content)
        answer = trained.put("/v1/functions/damaged", json={**config, "id": "damaged"})
        assert answer.status_code == 400, (changed, answer.text)
        error = answer.json()["error"]
        assert "its content is not what its digest says" in error
        assert file.name in error
        assert "Train the model again" in error


def test_a_commit_changes_the_version(trained, server):
    def versions():
        train(trained, server, "kmeans")
        origin = trained.get("/v1/functions/kmeans/details").json()["origin"]
        return [found(origin["datasets"], id)["version"] for id in ("dense", "sparse")]

    before = versions()
    assert versions() == before
    trained.post("/v1/datasets/sparse/rows", json={"rowName": "r0", "columns": [["tokens.more", 1, 0]]})
    trained.post("/v1/datasets/sparse/commit").raise_for_status()
    after = versions()
    assert after[0] == before[0]
    assert after[1] != before[1]


def test_functions_that_a_query_calls_are_named(trained, server):
    function, _ = train(trained, server, "glz")
    training = TRAININGS["probabilizer"]
    query = "SELECT glz({features: {x, y}})[score] AS score, label FROM dense"
    config = training.config("chained", f"file://{server.data_dir.resolve()}/chained.prb")
    config["params"]["trainingData"] = query
    trained.put("/v1/procedures/chain", json=config).raise_for_status()
    digest = trained.get(f"/v1/functions/{function}/details").json()["digest"]
    origin = trained.get("/v1/functions/chained/details").json()["origin"]
    assert origin["functions"] == [{"id": "glz", "type": "classifier", "digest": digest}]
    assert [dataset["id"] for dataset in origin["datasets"]] == ["dense"]


def test_explanations_that_a_query_calls_are_named(trained, server):
    _, file = train(trained, server, "glz")
    explain = {"type": "classifier.explain", "params": {"modelFileUrl": f"file://{file}"}}
    trained.put("/v1/functions/why", json=explain).raise_for_status()
    query = "SELECT why({features: {x, y}, label: 1})[bias] AS x, y FROM dense"
    config = TRAININGS["kmeans"].config("explained", f"file://{server.data_dir.resolve()}/explained.kms")
    config["params"]["trainingData"] = query
    trained.put("/v1/procedures/explain", json=config).raise_for_status()
    digest = trained.get("/v1/functions/glz/details").json()["digest"]
    origin = trained.get("/v1/functions/explained/details").json()["origin"]
    assert origin["functions"] == [{"id": "why", "type": "classifier.explain", "digest": digest}]


def test_updates_of_a_distribution_table_are_told(trained, server):
    function, _ = train(trained, server, "distributions")
    routes = f"/v1/functions/{function}/routes"
    trained.post(f"{routes}/increment", json={"keys": [["kind", "a"]], "outcomes": [1]}).raise_for_status()
    url = f"file://{server.data_dir.resolve()}/updated.dt"
    trained.post(f"{routes}/persist", json={"modelFileUrl": url}).raise_for_status()
    config = {"type": "experimental.distTable.getStats", "params": {"distTableFileUrl": url}}
    trained.put("/v1/functions/updated", json=config).raise_for_status()
    before, after = (trained.get(f"/v1/functions/{name}/details").json() for name in (function, "updated"))
    assert after["origin"] == before["origin"] | {"updates": 1}
    assert after["digest"] != before["digest"]
