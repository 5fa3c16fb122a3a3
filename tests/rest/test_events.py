"""``/v1/events``: one stream that tells everything that is there, then what changes."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.waiting import PATIENCE, SOON

Event = tuple[str, dict[str, Any]]


@contextmanager
def listening(client) -> Iterator[Iterator[Event]]:
    with client.stream("GET", "/v1/events") as answer:
        assert answer.headers["content-type"] == "text/event-stream"
        yield events(answer.iter_lines())


def events(lines: Iterator[str]) -> Iterator[Event]:
    name = ""
    for line in lines:
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield name, json.loads(line.removeprefix("data: "))


def until(stream: Iterator[Event], found) -> Any:
    """The first thing that ``found`` makes of an event."""
    for _, event in stream:
        if (result := found(event)) is not None:
            return result
    raise AssertionError("the stream ended")


def changed(kind: str, id: str):
    return lambda event: next((each for each in event["changed"] if (each["kind"], each["id"]) == (kind, id)), None)


def test_entities_come_and_go(client):
    client.put("/v1/datasets/früh", json={"type": "sparse.mutable"})
    with listening(client) as stream:
        name, first = next(stream)
        assert name == "all"
        assert changed("dataset", "früh")(first)["status"]["rowCount"] == 0
        client.post("/v1/datasets/früh/rows", json={"rowName": "r", "columns": [["x", 1, 0]]})
        client.post("/v1/datasets/früh/commit")
        assert until(stream, changed("dataset", "früh"))["status"]["rowCount"] == 1
        client.delete("/v1/datasets/früh")
        assert until(stream, lambda event: event["gone"] or None) == [["dataset", "früh"]]


def test_failures_and_runs_are_told(client):
    with listening(client) as stream:
        next(stream)
        client.put("/v1/functions/broken", json={"type": "sql.expression", "params": {"expression": "1 +"}})
        failed = until(stream, changed("function", "broken"))
        assert (failed["state"], failed["serving"]) == ("error", False)
        assert failed["error"]["error"]
        config = {"type": "mock", "params": {"durationMs": 120_000, "refreshRateMs": 100}}
        client.put("/v1/procedures/slow", json=config, headers={"async": "true"})
        run = until(stream, lambda event: next(iter((changed("procedure", "slow")(event) or {}).get("runs", ())), None))
        assert run["state"] in ("initializing", "executing")
        client.delete("/v1/procedures/slow")
        until(stream, lambda event: event["gone"] or None)


def test_a_run_tells_the_parameters_of_its_own(client):
    client.put("/v1/procedures/brief", json={"type": "mock", "params": {"durationMs": 1, "runOnCreation": False}})
    client.post("/v1/procedures/brief/runs", json={"id": "as it is"})
    client.post("/v1/procedures/brief/runs", json={"id": "other", "params": {"durationMs": 2}})
    with listening(client) as stream:
        runs = until(stream, changed("procedure", "brief"))["runs"]
    assert {run["id"]: run.get("params") for run in runs} == {"as it is": None, "other": {"durationMs": 2}}
    client.delete("/v1/procedures/brief")


def test_plugins_tell_how_they_are_served(client):
    source = {"main": "pass", "routes": "mldb.plugin.set_return('hello')"}
    client.put("/v1/plugins/told", json={"type": "python", "params": {"source": source}})
    for _ in range(3):
        assert client.get("/v1/plugins/told/routes/x").status_code == 200
    with listening(client) as stream:
        report = until(stream, changed("plugin", "told"))["plugin"]
    assert report["state"] == "serving"
    assert report["generation"] == 1
    assert report["memory"] > 0
    assert report["requests"]["total"] == 3
    assert 0 < report["requests"]["p95"] < PATIENCE
    client.delete("/v1/plugins/told")


def test_streams_are_limited_and_end_with_the_server(start_server):
    server = start_server("--event-streams", "1")
    with server.client() as client, listening(client) as stream:
        next(stream)
        with server.client() as other:
            refused = other.get("/v1/events")
        assert refused.status_code == 503
        assert "event-streams" in refused.json()["error"]
        begun = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - begun < SOON


def test_plugin_code_is_refused(client):
    source = {"source": "mldb.script.set_return(mldb.perform('GET', '/v1/events'))"}
    answer = client.post("/v1/types/plugins/python/routes/run", json=source)
    assert answer.json()["result"]["statusCode"] == 400


def test_runs_from_before_a_restart_are_told(start_server):
    server = start_server()
    with server.client() as client:
        client.put("/v1/procedures/done", json={"type": "null", "params": {}})
    server.stop()
    with start_server(data_dir=server.data_dir).client() as client, listening(client) as stream:
        _, first = next(stream)
        (run,) = changed("procedure", "done")(first)["runs"]
        assert run["state"] == "finished"
