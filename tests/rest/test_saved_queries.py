"""Saved queries: on the server, for all, over a restart; and what is wrong about a name, a body or their number."""

import json

import pytest

from tests.conftest import RunningServer

ONE = "/v1/saved-queries/Äpfel%2Fyear"


def test_saved_queries_outlive_the_server(start_server):
    server = start_server()
    with server.client() as client:
        assert client.get("/v1/saved-queries").json() == []
        made = client.put(ONE, json={"query": "SELECT 1"})
        assert (made.status_code, made.json()["name"]) == (201, "Äpfel/year")
        client.must("PUT", ONE, {"query": "SELECT 2"})
        client.must("PUT", "/v1/saved-queries/b", {"query": "no SQL yet"})
    server.stop()
    with start_server(data_dir=server.data_dir).client() as client:
        listed = client.get("/v1/saved-queries").json()
        assert [(each["name"], each["query"]) for each in listed] == [("b", "no SQL yet"), ("Äpfel/year", "SELECT 2")]
        assert client.get(ONE).json()["query"] == "SELECT 2"
        assert client.delete(ONE).status_code == 204
        assert client.get(ONE).status_code == 404


def test_what_cannot_be_saved(start_server):
    server = start_server("--saved-queries", "1")
    with server.client() as client:
        for body in (b"", b"[]", b"{}", b'{"query": ""}', b'{"query": 1}', b"no json"):
            assert client.put("/v1/saved-queries/x", content=body).status_code == 400, body
        assert client.put(f"/v1/saved-queries/{'x' * 201}", json={"query": "SELECT 1"}).status_code == 400
        long = client.put("/v1/saved-queries/x", json={"query": f"SELECT 1 -- {'x' * 100_000}"})
        assert (long.status_code, "100000 characters" in long.json()["error"]) == (400, True)
        client.must("PUT", "/v1/saved-queries/x", {"query": "SELECT 1"})
        client.must("PUT", "/v1/saved-queries/x", {"query": "SELECT 2"})
        refused = client.put("/v1/saved-queries/y", json={"query": "SELECT 1"})
        assert "saved-queries" in refused.json()["error"]
        # The document is no file that SQL may read or write.
        target = {"dataFileUrl": "file:///mldb_data/saved_queries.json", "inputData": "SELECT 1"}
        assert client.put("/v1/procedures/p", json={"type": "export.csv", "params": target}).status_code == 400


def test_a_damaged_document_stops_the_start_with_its_name(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "saved_queries.json").write_text(json.dumps({})[:1])
    with pytest.raises(AssertionError, match=r"saved_queries\.json is damaged") as failed:
        RunningServer(tmp_path / "data")
    assert "Traceback" not in str(failed.value)
