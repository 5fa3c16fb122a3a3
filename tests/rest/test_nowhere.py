"""Addresses where nothing is: a page for browsers, the error as JSON for everybody else."""

from __future__ import annotations

import pytest

BROWSER = {"accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


def test_a_browser_is_told_what_there_is(client):
    answer = client.get("/nothing/<b>here</b>", headers=BROWSER)
    assert (answer.status_code, answer.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert "/nothing/&lt;b&gt;here&lt;/b&gt;" in answer.text
    assert "default-src" in answer.headers["content-security-policy"]
    assert answer.headers["x-request-id"]
    for address in ("/", "/console/query", "/reference", "/doc/", "/logs/mldb"):
        assert f'href="{address}"' in answer.text
        assert client.get(address, headers=BROWSER).status_code == 200
    assert "Did you mean" not in answer.text


@pytest.mark.parametrize("accept", ["*/*", "application/json", ""])
def test_everybody_else_gets_the_error(client, accept):
    answer = client.get("/nothing", headers={"accept": accept})
    assert answer.status_code == 404
    assert answer.json() == {"error": "unknown resource GET /nothing", "httpCode": 404}
    assert client.post("/nothing", headers=BROWSER).json()["httpCode"] == 404


@pytest.mark.parametrize(
    ("path", "wanted"),
    [("/v1/dataset", "/v1/datasets"), ("/datasets", "/console/datasets"), ("/Console/Query/", "/console/query")],
)
def test_the_nearest_address_is_named(client, path, wanted):
    answer = client.get(path, headers=BROWSER)
    assert answer.status_code == 404
    assert 'Did you mean <a href="/' in answer.text
    assert f'<a href="{wanted}"' in answer.text.partition("Did you mean")[2].partition("</p>")[0]


def test_what_the_api_knows_is_on_the_page(client):
    trailing = client.get("/v1/datasets/", headers=BROWSER)
    assert (trailing.status_code, trailing.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert "try /v1/datasets instead of /v1/datasets/" in trailing.text


def test_what_a_route_answers_stays_json_in_a_browser_too(client):
    answer = client.get("/v1/datasets/nobody", headers=BROWSER)
    assert (answer.status_code, answer.json()["httpCode"]) == (404, 404)


def test_missing_files_of_pages_are_told_as_such(client):
    assert "There is nothing at this address" in client.get("/static/nothing.js", headers=BROWSER).text
    other = client.get("/static/nothing.js")
    assert (other.status_code, other.text) == (404, "Not Found")
