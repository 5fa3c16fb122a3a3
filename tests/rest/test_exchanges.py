"""The exchanges of rest-api.md §19 with their exact bytes, as far as they need no dataset."""

from __future__ import annotations

import json
import re

import pytest

EXACT = [
    ("GET", "/ping", None, 200, '"1"\n'),
    ("GET", "/info", None, 200, '{"apiVersions":{"v1":"1.0.0"}}\n'),
    ("GET", "/v1/datasets", None, 200, "[]"),
    ("GET", "/v1/sensors", None, 200, "[]"),
    (
        "GET", "/v1/datasets/ghost", None, 404,
        '{"details":{"collection":"datasets","entry":"ghost"},"error":"dataset entry \'ghost\' doesn\'t exist",'
        '"httpCode":404}\n',
    ),
    (
        "GET", "/v1/datasets/ghost/columns", None, 404,
        '{"error":"dataset entry \'ghost\' does not exist or has been deleted","kind":"dataset","resource":"ghost"}\n',
    ),
    (
        "POST", "/v1/datasets/ghost", "{}", 404,
        '{"error":"dataset entry \'ghost\' does not exist or has been deleted","kind":"dataset","resource":"ghost"}\n',
    ),
    (
        "GET", "/v1/plugins/ghost/routes/a", None, 404,
        '{"error":"plugin entry \'ghost\' does not exist or has been deleted","kind":"plugin","resource":"ghost"}\n',
    ),
    (
        "GET", "/v1/datasets/", None, 404,
        '{"error":"Collection URLs do not contain a trailing slash: try /v1/datasets instead of /v1/datasets/",'
        '"httpCode":404}\n',
    ),
    (
        "PUT", "/v1/datasets", '{"type":"sparse.mutable"}', 404,
        '{"error":"unknown resource PUT /v1/datasets","httpCode":404}\n',
    ),
    (
        "PUT", "/v1/datasets/x", "{}", 400,
        '{"details":{"id":"x"},"error":"Attempt to refer to nonexistant dataset with id x","httpCode":400}\n',
    ),
    (
        "GET", "/v1/datasets/x", None, 200,
        '{"id":"x","state":"error","progress":{"exception":{"details":{"id":"x"},"error":"Attempt to refer to '
        'nonexistant dataset with id x","httpCode":400}},"config":{"id":"x"}}',
    ),
    (
        "PUT", "/v1/datasets/x", '{"type":"nope"}', 400,
        '{"error":"couldn\'t find type \'nope\' in registry","httpCode":400}\n',
    ),
    (
        "GET", "/v1/datasets?x=1", None, 400,
        '{"details":{"help":{"result":"datasets in the collection"},"resource":"/v1/datasets","unknownParameters":'
        '[{"paramName":"x","paramValue":"1"}],"verb":"GET"},'
        '"error":"Unknown parameter(s) in REST call","httpCode":400}\n',
    ),
    ("POST", "/v1/query", '{"q":"SELECT 1"}', 404, '{"error":"unknown resource POST /v1/query","httpCode":404}\n'),
    (
        "POST", "/v1/redirect/get", '{"target":"/v1/nowhere","body":null}', 404,
        '{"error":"failed to redirect call","httpCode":404}\n',
    ),
    ("POST", "/v1/redirect/get", '{"target":"/v1/datasets","body":null}', 200, '["x"]'),
    (
        "GET", "/v1/types", None, 200,
        '["datasets","functions","plugin.setups","plugin.startups","plugins","procedures"]',
    ),
    (
        "GET", "/v1/types/procedures/nosuch", None, 404,
        '{"details":{"collection":"procedures","entry":"nosuch"},"error":"procedure entry \'nosuch\' doesn\'t exist",'
        '"httpCode":404}\n',
    ),
    (
        "GET", "/v1/types/procedures/nosuch/info", None, 404,
        '{"error":"procedure entry \'nosuch\' does not exist or has been deleted","kind":"procedure",'
        '"resource":"nosuch"}\n',
    ),
    ("GET", "/v1/types/procedures/mock", None, 200, '{"state":"ok"}'),
    (
        "GET", "/v1/types/procedures/mock/routes/x", None, 404,
        '{"error":"type mock has no custom route handler registered","httpCode":404}\n',
    ),
    (
        "PUT", "/v1/credentials/c1",
        '{"store":{"resourceType":"aws:s3","resource":"s3://b","credential":{"id":"me","secret":"hush"}}}', 201,
        '{"stored":{"resourceType":"aws:s3","resource":"s3://b","credential":{"secret":"<<credentials removed>>"}}}',
    ),
    (
        "PUT", "/v1/credentials/c1",
        '{"store":{"resourceType":"aws:s3","resource":"s3://b","credential":{"id":"me","secret":"hush"}}}', 409,
        '{"details":{"collection":"credentials","entry":"c1"},"error":"credential entry \'c1\' already exists",'
        '"httpCode":409}\n',
    ),
]  # fmt: skip


def test_exact_exchanges(client):
    for verb, path, body, status, text in EXACT:
        answer = client.request(verb, path, content=body)
        assert (answer.status_code, answer.text) == (status, text), f"{verb} {path}"
        assert answer.headers["content-type"] == "application/json"


def test_empty_payload(client):
    answer = client.put("/v1/datasets/y")
    assert answer.status_code == 400
    body = answer.json()
    assert body["error"].startswith("PUT to collection 'datasets' with empty payload.  Pass a JSON body ")
    assert body["details"]["collection"] == "datasets"
    assert client.get("/v1/datasets/y").status_code == 404


def test_failed_entry_below(client):
    client.put("/v1/datasets/failed", json={"type": "nope"})
    answer = client.get("/v1/datasets/failed/columns")
    assert answer.status_code == 404
    body = answer.json()
    assert body["error"] == "dataset entry 'failed' not available due to error in creation"
    assert (body["kind"], body["resource"], body["state"]) == ("dataset", "failed", "error")
    assert body["progress"]["exception"]["error"] == "couldn't find type 'nope' in registry"


def test_ambiguous_names(client):
    answer = client.put("/v1/procedures/p", json={"id": "q", "type": "null"})
    assert answer.status_code == 400
    body = answer.json()
    assert body["error"].startswith("Ambiguous names between route and config")
    assert body["details"]["valueInUri"] == "p"
    assert body["details"]["valueInConfig"] == "q"
    assert body["details"]["config"] == {"id": "q", "type": "null"}


def test_options(client):
    answer = client.options("/v1/query")
    assert answer.status_code == 200
    assert answer.headers["allow"] == "GET"
    assert "/v1/query GET" in answer.json()
    assert client.options("/v1/nowhere").status_code == 400


def test_ids_of_all_sorts_make_a_round_trip(client):
    for id in ("a/b c", "é", 'q"', "a?b", "a+b", "%2F", "a#b", ".a", "日本"):
        created = client.post("/v1/procedures", json={"id": id, "type": "null"})
        assert created.status_code == 201, id
        location = created.headers["location"]
        assert json.loads(created.headers["entitypath"])[0] == "procedures"
        status = client.get(location)
        assert status.json()["id"] == id
        run = client.get(f"{location}/runs").json()
        assert len(run) == 1, id
        assert client.delete(location).status_code == 204
        assert client.get(location).status_code == 404


def test_generated_ids(client):
    created = client.post("/v1/procedures", json={"type": "null"})
    assert re.fullmatch(r"/v1/procedures/auto_[0-9a-f]{16}_[0-9a-f]{16}", created.headers["location"])
    client.delete(created.headers["location"])


def test_deleting_twice(client):
    client.put("/v1/procedures/gone", json={"type": "null"})
    for _ in range(2):
        answer = client.delete("/v1/procedures/gone")
        assert (answer.status_code, answer.content) == (204, b"")
        assert "content-type" not in answer.headers


@pytest.mark.parametrize(
    ("config", "text"),
    [
        (
            {"type": "mock", "params": {"durationms": 1}},
            "unknown field parsing mock configuration: 'durationms'; did you mean 'durationMs'?",
        ),
        ({"type": "mock", "parms": {}}, "unknown field parsing PolyConfig: 'parms'; did you mean 'params'?"),
        ({"type": "mock", "params": {"durationMs": "soon"}}, "error parsing mock configuration: field 'durationMs'"),
        ({"type": "mock", "params": []}, "the params of procedure type 'mock' must be an object"),
        ([], "an entity configuration must be an object"),
        ({"type": 5}, "'type' must be a string"),
    ],
)  # fmt: skip
def test_wrong_configs(client, config, text):
    answer = client.put("/v1/procedures/wrong", json=config)
    assert answer.status_code == 400
    assert text in answer.json()["error"]


def test_help_lists_every_route(client):
    tree = client.get("/v1/help").json()
    assert "/v1/datasets/{dataset}/rows POST" in tree
    assert {"description", "arguments", "path", "verbs", "filters"} == set(tree["/v1/query GET"])
    assert client.get("/v1/help?autodoc").json()["routes"]
