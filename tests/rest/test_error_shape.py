"""One error body for the whole surface: every route is called wrongly, and the answer is looked at."""

from __future__ import annotations

import re

import pytest

ID = re.compile(r"\{[^}]*\}")
TEXT_ERRORS = ("/rows", "/values")  # plain text by specification (§2.2)


def wrong_calls(client):
    """Every declared route, on entities that are not there and with a body that is no JSON."""
    for name, route in client.get("/v1/help").json().items():
        verb = route["verbs"][0]
        path = ID.sub("nothing", route["path"].replace("/{*}", "/x"))
        if verb != "HEAD" and path not in ("/v1/shutdown", "/v1/events"):  # the latter streams until its reader goes
            yield name, verb, path


def check(answer):
    body = answer.json()
    assert isinstance(body, dict)
    assert isinstance(body["error"], str)
    assert answer.text.endswith("\n")
    assert list(body) == sorted(body)
    if "kind" in body:
        assert set(body) <= {"error", "kind", "progress", "resource", "state"}
    else:
        assert body["httpCode"] == answer.status_code
        assert set(body) <= {"details", "error", "httpCode"}
    assert not re.search(r"Traceback|0x[0-9a-f]{6}|site-packages|\.py\b", answer.text)


def test_every_route_gives_the_error_body(client):
    seen = 0
    for name, verb, path in wrong_calls(client):
        for query, body in (("?nonsense=1", b""), ("", b"{'no json'"), ("", b"[1]")):
            answer = client.request(verb, path + query, content=body, follow_redirects=False)
            assert answer.status_code != 500, (name, answer.text)
            if answer.status_code >= 400:
                seen += 1
                check(answer)
    assert seen > 80


@pytest.mark.parametrize("path", ["/v1", "/v1/", "/x", "//", "/v1/datasets/a/b/c/d", "/v1/datasets//columns", "/%00"])
def test_unknown_paths(client, path):
    for verb in ("GET", "PUT", "POST", "DELETE", "PATCH"):
        answer = client.request(verb, client.base_url.copy_with(raw_path=path.encode()))
        assert answer.status_code == 404, (verb, path)
        check(answer)


@pytest.mark.parametrize("verb", ["PUT", "POST", "DELETE", "PATCH"])
def test_pages_are_only_read(client, verb):
    answer = client.request(verb, "/")
    assert (answer.status_code, answer.json()["error"]) == (404, f"unknown resource {verb} /")


def test_head_is_not_routed(client):
    assert client.head("/v1/datasets").status_code == 404


def test_plain_text_errors(client):
    client.put("/v1/datasets/plain", json={"type": "sparse.mutable"})
    answer = client.get("/v1/datasets/plain/rows?limit=-5")
    assert (answer.status_code, answer.headers["content-type"]) == (400, "text/plain")


@pytest.mark.parametrize(
    ("verb", "path", "body", "error"),
    [
        ("PUT", "/v1/datasets/text", "{}", "not \"{}\". Did you accidentally JSON encode your object into a string?"),
        ("PUT", "/v1/datasets/text", [1] * 10_000, "must be an object, not [1,1,"),
        ("POST", "/v1/datasets/cells/rows", {"rowName": "r", "columns": [["x", {"a": 1, "b": None}, 0]]},
         "Unknown JSON CellValue '{\"a\":1,\"b\":null}'"),
        ("POST", "/v1/types/plugins/python/routes/run", {"sorce": "1"},
         "unknown field parsing script configuration: 'sorce'; did you mean 'source'?"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_body_is_told(client, verb, path, body, error):
    client.put("/v1/datasets/cells", json={"type": "sparse.mutable"})
    answer = client.request(verb, path, json=body)
    assert answer.status_code == 400
    assert error in answer.json()["error"]
    assert len(answer.text) < 1000


@pytest.mark.parametrize(
    ("kind", "type_", "told"),
    [
        ("datasets", "tabulr", "; did you mean 'tabular'?"),
        ("procedures", "clasifier.train", "; did you mean 'classifier.train'?"),
        ("procedures", "kmeans", ": it is a type of functions, not of procedures"),
        ("datasets", "import.text", ": it is a type of procedures, not of datasets"),
        ("procedures", "experimental.statsTable.train", "; did you mean 'statsTable.train'?"),
        ("functions", "quite.unlike", ""),
        (  # a type of MLDB's until 2016
            "datasets",
            "text.csv.tabular",
            ": read the file with a procedure of type 'import.text', whose 'outputDataset' is the dataset",
        ),
    ],
)
def test_an_unknown_type_is_answered_with_what_may_be_meant(client, kind, type_, told):
    answer = client.put(f"/v1/{kind}/unknown", json={"type": type_})
    check(answer)
    assert answer.json()["error"] == f"couldn't find type '{type_}' in registry{told}"
