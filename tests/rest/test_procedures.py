"""Procedures and runs (rest-api.md §9)."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.waiting import SOON, until

SLOW = {"type": "mock", "params": {"durationMs": 120_000}}


def test_first_run(client):
    answer = client.put("/v1/procedures/quick", json={"type": "mock", "params": {"durationMs": 20}})
    assert answer.status_code == 201
    first = answer.json()["status"]["firstRun"]
    assert first["state"] == "finished"
    assert client.get("/v1/procedures/quick/runs").json() == [first["id"]]
    latest = client.get("/v1/procedures/quick/latestrun", follow_redirects=False)
    assert latest.status_code == 307
    assert client.get(latest.headers["location"]).json()["id"] == first["id"]
    assert client.get(latest.headers["location"] + "/state").text == '{"state":"finished"}'
    assert client.get(latest.headers["location"] + "/details").text == "null\n"


def test_without_first_run(client):
    params = {"runOnCreation": 0}
    answer = client.put("/v1/procedures/later", json={"type": "null", "params": params})
    expected = '{"id":"later","state":"ok","type":"null",'
    expected += '"config":{"id":"later","type":"null","params":{"runOnCreation":0}}}'
    assert answer.text == expected
    assert client.get("/v1/procedures/later/latestrun").json() == {"error": "not found", "httpCode": 404}
    run = client.put("/v1/procedures/later/runs/one")
    assert run.status_code == 201
    assert run.headers["location"] == "/v1/procedures/later/runs/one"
    assert run.headers["entitypath"] == '["procedures","later","runs","one"]'
    assert list(run.json()) == ["id", "state", "runStarted", "runFinished"]
    assert client.delete("/v1/procedures/later/runs/one").status_code == 204
    assert client.get("/v1/procedures/later/runs/one").json()["error"] == "run entry 'one' doesn't exist"
    missing = client.get("/v1/procedures/later/runs/one/details")
    assert missing.json() == {
        "error": "run entry 'one' does not exist or has been deleted",
        "kind": "run",
        "resource": "one",
    }


def test_asynchronous_creation_and_cancel(client):
    answer = client.put("/v1/procedures/slow", json=SLOW, headers={"async": "true"})
    assert answer.status_code == 202
    first = answer.json()["status"]["firstRun"]
    assert first["state"] == "initializing"
    run = f"/v1/procedures/slow/runs/{first['id']}"
    until(lambda: client.get(run).json()["state"] == "executing")
    steps = client.get(run).json()["progress"]["steps"]
    assert [step["name"] for step in steps] == ["step 1", "step 2"]
    assert "started" in steps[0]
    assert "started" not in steps[1]
    begun = time.monotonic()
    cancelled = client.put(f"{run}/state", json={"state": "cancelled"})
    assert (cancelled.status_code, cancelled.text) == (200, "{}")
    assert time.monotonic() - begun < SOON
    assert client.get(run).json()["state"] == "cancelled"
    assert client.put(f"{run}/state", json={"state": "paused"}).status_code == 400
    assert client.post("/v1/procedures", json=SLOW | {"id": "slow2"}, headers={"async": "true"}).status_code == 201
    begun = time.monotonic()
    assert client.delete("/v1/procedures/slow2").status_code == 204
    assert time.monotonic() - begun < SOON


def test_a_running_run_is_not_overwritten(client):
    client.put("/v1/procedures/busy", json={"type": "mock", "params": {"durationMs": 120_000, "runOnCreation": False}})
    assert client.put("/v1/procedures/busy/runs/r", headers={"async": "true"}).status_code == 202
    again = client.put("/v1/procedures/busy/runs/r")
    assert again.status_code == 409
    assert "could not be overwritten because it is being constructed" in again.json()["error"]
    assert client.delete("/v1/procedures/busy/runs/r").status_code == 204


def test_params_of_a_run_are_merged(client):
    client.put(
        "/v1/procedures/merged", json={"type": "mock", "params": {"durationMs": 120_000, "runOnCreation": False}}
    )
    begun = time.monotonic()
    assert client.post("/v1/procedures/merged/runs", json={"params": {"durationMs": 10}}).status_code == 201
    assert time.monotonic() - begun < SOON
    wrong = client.post("/v1/procedures/merged/runs", json={"params": {"nonsense": 10}})
    assert wrong.status_code == 400
    states = [
        client.get(f"/v1/procedures/merged/runs/{id}").json()["state"]
        for id in client.get("/v1/procedures/merged/runs").json()
    ]
    assert sorted(states) == ["error", "finished"]


def test_a_failing_first_run_leaves_the_procedure(client):
    step = {"type": "createEntity", "params": {"kind": "dataset", "type": "nope", "id": "d"}}
    answer = client.put("/v1/procedures/bad", json=step)
    assert answer.status_code == 400
    assert answer.json() == {
        "details": {
            "entry": "bad",
            "runError": {"error": "couldn't find type 'nope' in registry", "httpCode": 400},
        },
        "error": "failed to create the initial run",
        "httpCode": 400,
    }
    assert client.get("/v1/procedures/bad").json()["state"] == "ok"


def test_serial(client):
    steps = [{"type": "null"}, {"id": "kept", "name": "waiting", "type": "mock", "params": {"durationMs": 10}}]
    answer = client.put("/v1/procedures/serial", json={"type": "serial", "params": {"steps": steps}})
    assert answer.status_code == 201
    status = answer.json()["status"]
    assert status["firstRun"]["status"] == {"steps": [None, None]}
    assert len(status["steps"]) == 2
    assert "kept" in client.get("/v1/procedures").json()


def test_details_of_a_serial_run(client):
    script = {"language": "python", "scriptConfig": {"source": "print('hi')\nrequest.set_return(3)"}}
    steps = [{"type": "null"}, {"type": "script.run", "params": script}]
    answer = client.put("/v1/procedures/told", json={"type": "serial", "params": {"steps": steps}})
    first = answer.json()["status"]["firstRun"]
    assert first["status"] == {"steps": [None, 3]}
    details = client.get(f"/v1/procedures/told/runs/{first['id']}/details").json()
    assert details["steps"][0] is None
    assert details["steps"][1]["logs"][0]["c"] == "hi"


@pytest.mark.parametrize("name", ["durationMs", "refreshRateMs"])
def test_times_of_mock(client, name):
    answer = client.put("/v1/procedures/timed", json={"type": "mock", "params": {name: 0}})
    assert answer.status_code == 400
    assert answer.json()["error"].endswith(f"{name} must be >= 1")


def test_serial_shows_and_cancels_its_step(client):
    steps = [{"type": "null"}, {"type": "mock", "params": {"durationMs": 120_000}}]
    answer = client.put(
        "/v1/procedures/chain", json={"type": "serial", "params": {"steps": steps}}, headers={"async": "true"}
    )
    run = f"/v1/procedures/chain/runs/{answer.json()['status']['firstRun']['id']}"

    def inner():
        shown = client.get(run).json().get("progress", {}).get("steps", [])
        return shown[1].get("subProgress") if len(shown) == 2 and "started" in shown[1] else None

    assert [step["name"] for step in until(inner)["steps"]] == ["step 1", "step 2"]
    begun = time.monotonic()
    assert client.put(f"{run}/state", json={"state": "cancelled"}).status_code == 200
    assert time.monotonic() - begun < SOON
    assert client.get(run).json()["state"] == "cancelled"
    assert not [id for id in client.get("/v1/procedures").json() if id.startswith("auto_")]


def test_serial_runs_procedures_that_are_there(client):
    config = {"type": "mock", "params": {"durationMs": 10, "runOnCreation": False}}
    client.put("/v1/procedures/there", json=config).raise_for_status()
    steps = [{"id": "there"}, {"id": "there", "params": {"durationMs": 20}}]
    answer = client.put("/v1/procedures/caller", json={"type": "serial", "params": {"steps": steps}})
    assert answer.json()["status"]["firstRun"]["status"] == {"steps": [None, None]}
    assert len(client.get("/v1/procedures/there/runs").json()) == 2
    missing = client.put("/v1/procedures/caller", json={"type": "serial", "params": {"steps": [{"id": "none"}]}})
    assert missing.status_code == 404


def test_procedures_do_not_contain_themselves(client):
    own = {"type": "serial", "params": {"steps": [{"id": "own"}]}}
    assert client.put("/v1/procedures/own", json=own).json()["error"] == "Procedure contains itself as a child"
    own = {"type": "permuter.run", "params": {"procedure": {"id": "own"}, "permutations": {}}}
    assert client.put("/v1/procedures/own", json=own).json()["error"] == "Procedure contains itself as a child"
    first = {"type": "serial", "params": {"steps": [{"id": "second"}], "runOnCreation": False}}
    second = {"type": "serial", "params": {"steps": [{"id": "first"}], "runOnCreation": False}}
    client.put("/v1/procedures/first", json=first).raise_for_status()
    client.put("/v1/procedures/second", json=second).raise_for_status()
    answer = client.post("/v1/procedures/first/runs", json={})
    assert answer.status_code == 400
    assert "Procedure contains itself as a child" in answer.text


def test_a_failed_run_leaves_no_output(client):
    query = "SELECT 1 AS x NAMED 'same' FROM union((SELECT 1 AS x), (SELECT 2 AS x))"
    output = {"id": "half", "type": "tabular"}
    config = {"type": "transform", "params": {"inputData": query, "outputDataset": output}}
    answer = client.put("/v1/procedures/fails", json=config)
    assert answer.status_code == 400
    assert "Duplicate row name" in answer.json()["details"]["runError"]["error"]
    assert client.get("/v1/datasets/half").status_code == 404


def test_create_entity(client):
    params = {"kind": "procedure", "id": "made", "type": "null", "params": {"runOnCreation": False}}
    answer = client.put("/v1/procedures/maker", json={"type": "createEntity", "params": params})
    assert answer.json()["status"]["firstRun"]["status"]["kind"] == "procedure"
    assert client.get("/v1/procedures/made").json()["state"] == "ok"
    for kind in ("sensor", ["dataset"], None):
        answer = client.put("/v1/procedures/maker", json={"type": "createEntity", "params": params | {"kind": kind}})
        assert answer.status_code == 400
        assert f"Attempt to create unknown entity kind '{kind}'" in answer.json()["error"]


def test_latest_run_of_a_missing_procedure(client):
    assert client.get("/v1/procedures/nobody/latestrun").json()["kind"] == "procedure"


@pytest.mark.parametrize("config", ["[]", '{"x":1}', '{"params":[1]}', "{"])
def test_wrong_run_configs(client, config):
    client.put("/v1/procedures/idle", json={"type": "null", "params": {"runOnCreation": False}})
    answer = client.post("/v1/procedures/idle/runs", content=config)
    assert answer.status_code == 400
    assert set(answer.json()) >= {"error", "httpCode"}


def test_replacing_a_procedure_stops_its_runs(client):
    """Nobody could reach them any more: they are cancelled, and their callers told."""
    client.put(
        "/v1/procedures/swapped", json={"type": "mock", "params": {"durationMs": 120_000, "runOnCreation": False}}
    )
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(client.post, "/v1/procedures/swapped/runs", json={"id": "old"})
        path = "/v1/procedures/swapped/runs/old/state"
        until(lambda: client.get(path).json().get("state") == "executing")
        assert client.put("/v1/procedures/swapped", json={"type": "null"}).status_code == 201
        assert waiting.result(SOON).status_code == 409
    assert "old" not in client.get("/v1/procedures/swapped/runs").json()
