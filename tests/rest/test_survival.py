"""What was committed survives ``kill -9`` and restarts; nothing half-made is ever seen."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import httpx
import pytest

from tests.waiting import until

COUNT = 400


def restart(start_server, server):
    return start_server(data_dir=server.data_dir)


def wait_restored(client):
    until(lambda: client.get("/readyz").status_code == 200)


def fill(client, name, rows=3):
    client.put(f"/v1/datasets/{name}", json={"type": "sparse.mutable"})
    body = [[f"r{index}", [["x", index, 0], ["y", "text", 0]]] for index in range(rows)]
    client.post(f"/v1/datasets/{name}/multirows", json=body)
    assert client.post(f"/v1/datasets/{name}/commit").status_code == 200


def test_entities_come_back_in_their_order(start_server):
    server = start_server()
    with server.client() as client:
        fill(client, "kept")
        client.put("/v1/procedures/p", json={"type": "mock", "params": {"durationMs": 5}})
        client.put("/v1/procedures/session", json={"type": "null", "persistent": False})
        client.put("/v1/procedures/gone", json={"type": "null"})
        client.delete("/v1/procedures/gone")
        client.put("/v1/procedures/failed", json={"type": "nope"})
        client.put("/v1/credentials/c", json={"store": {"resource": "s3://b", "credential": {"secret": "hush"}}})
    assert server.stop() == 0
    server = restart(start_server, server)
    with server.client() as client:
        wait_restored(client)
        assert client.get("/v1/procedures").json() == ["p"]
        assert client.get("/v1/procedures/p").json()["config"]["params"] == {"durationMs": 5}
        assert len(client.get("/v1/procedures/p/runs").json()) == 1
        assert client.get("/v1/datasets/kept").json()["status"]["rowCount"] == 3
        assert sorted(client.get("/v1/datasets/kept/rows").json()) == ["r0", "r1", "r2"]
        assert client.get("/v1/credentials").json() == ["c"]
    assert (server.data_dir / "credentials.json").stat().st_mode & 0o077 == 0


def test_a_slow_plugin_does_not_hold_up_what_comes_after_it(start_server, tmp_path):
    server = start_server()
    brake = tmp_path / "brake"
    main = f"import os, time\nwhile os.path.exists({str(brake)!r}): time.sleep(0.1)"

    def make(client, id, main=""):
        source = {"main": main, "routes": "request.set_return('here')"}
        client.must("PUT", f"/v1/plugins/{id}", {"type": "python", "params": {"source": source}})

    with server.client() as client:
        make(client, "slow", main)
        make(client, "slow too", main)
        fill(client, "later")
        make(client, "quick")
        folder = server.data_dir / "plugins" / "dropped"
        folder.mkdir(parents=True)
        (folder / "main.py").write_text("")
        (folder / "routes.py").write_text("request.set_return('here')")
    server.kill()
    brake.write_text("")
    server = restart(start_server, server)
    with server.client() as client:
        until(lambda: client.get("/v1/plugins/dropped/routes/x").status_code == 200)
        assert client.get("/v1/datasets/later").json()["status"]["rowCount"] == 3
        assert client.get("/v1/plugins/quick/routes/x").json() == "here"
        assert client.get("/v1/plugins/slow").json()["state"] == "initializing"
        assert client.get("/readyz").status_code == 503
        brake.unlink()
        wait_restored(client)
        assert client.get("/v1/plugins/slow%20too/routes/x").json() == "here"


SCRIPT = "mldb.script.set_return({'half': 0.5, 'whole': 2.0, 'text': 'é\\u0000', 'nothing': None})"


def make_runs(client):
    """A procedure with a run of each end."""
    params = {"scriptConfig": {"source": SCRIPT}, "runOnCreation": False}
    client.put("/v1/procedures/p", json={"type": "script.run", "params": params, "persistent": True})
    assert client.put("/v1/procedures/p/runs/good").status_code == 201
    bad = {"params": {"language": "ruby"}}
    assert client.put("/v1/procedures/p/runs/bad", json=bad).status_code == 400
    assert client.put("/v1/procedures/p/runs/gone").status_code == 201
    assert client.delete("/v1/procedures/p/runs/gone").status_code == 204
    client.put("/v1/procedures/slow", json={"type": "mock", "params": {"durationMs": 60000, "runOnCreation": False}})
    client.put("/v1/procedures/slow/runs/stopped", headers={"async": "true"})
    client.put("/v1/procedures/slow/runs/stopped/state", json={"state": "cancelled"})
    client.put("/v1/procedures/slow/runs/underway", headers={"async": "true"})
    client.put("/v1/procedures/session", json={"type": "null", "persistent": False})


RUN_PATHS = [
    f"/v1/procedures/{run}{route}"
    for run in ("p/runs/good", "p/runs/bad", "slow/runs/stopped")
    for route in ("", "/state", "/details")
]


def test_runs_survive_a_kill(start_server):
    """Status, details, errors and times word for word; what is under way, deleted or of the session only is gone."""
    server = start_server()
    with server.client() as client:
        make_runs(client)
        before = {path: client.get(path).text for path in RUN_PATHS}
    assert '"state":"cancelled"' in before["/v1/procedures/slow/runs/stopped"]
    assert '"exception"' in before["/v1/procedures/p/runs/bad"]
    server.kill()
    server = restart(start_server, server)
    with server.client() as client:
        wait_restored(client)
        assert {path: client.get(path).text for path in RUN_PATHS} == before
        assert "good" in client.get("/v1/procedures/p/latestrun", follow_redirects=False).headers["location"]
        assert client.get("/v1/procedures/slow/runs").json() == ["stopped"]
        assert client.get("/v1/procedures").json() == ["p", "slow"]
        assert client.get("/v1/procedures/p/runs").json() == ["bad", "good"]
        client.put("/v1/procedures/p", json={"type": "null", "params": {"runOnCreation": False}})
    server.kill()
    server = restart(start_server, server)
    with server.client() as client:
        wait_restored(client)
        assert client.get("/v1/procedures/p/runs").json() == []


def test_runs_are_kept_up_to_the_setting(start_server):
    server = start_server("--run-history", "3")
    with server.client() as client:
        client.put("/v1/procedures/p", json={"type": "null", "params": {"runOnCreation": False}})
        for number in range(6):
            client.put(f"/v1/procedures/p/runs/r{number}")
        client.put("/v1/procedures/p/runs/r3")  # again: now it is the last one
        assert client.get("/v1/procedures/p/runs").json() == ["r3", "r4", "r5"]
        client.put("/v1/procedures/p/runs/r6")
    server.kill()
    server = start_server("--run-history", "3", data_dir=server.data_dir)
    with server.client() as client:
        wait_restored(client)
        assert client.get("/v1/procedures/p/runs").json() == ["r3", "r5", "r6"]


def test_every_run_that_was_answered_survives_a_kill(start_server):
    server = start_server()
    answered: list[str] = []

    def work():
        try:
            with server.client() as client:
                client.put("/v1/procedures/p", json={"type": "null", "params": {"runOnCreation": False}})
                for number in range(1000):
                    client.put(f"/v1/procedures/p/runs/r{number}").raise_for_status()
                    answered.append(f"r{number}")
        except httpx.HTTPError:
            return

    thread = threading.Thread(target=work)
    thread.start()
    until(lambda: len(answered) > 20)
    server.kill()
    thread.join()
    server = restart(start_server, server)
    with server.client() as client:
        wait_restored(client)
        there = client.get("/v1/procedures/p/runs").json()
        assert answered
        assert set(answered) <= set(there)
        assert len(there) <= len(answered) + 1


def test_a_killed_server_keeps_what_was_committed(start_server):
    server = start_server()
    with server.client() as client:
        fill(client, "kept")
        client.post("/v1/datasets/kept/rows", json={"rowName": "late", "columns": [["x", 9, 0]]})
    server.kill()
    server = restart(start_server, server)
    with server.client() as client:
        wait_restored(client)
        assert sorted(client.get("/v1/datasets/kept/rows").json()) == ["r0", "r1", "r2"]


@pytest.mark.parametrize("delay", [0.0, 0.01, 0.03, 0.06, 0.1])
def test_killed_during_a_commit(start_server, delay):
    """All rows of the commit, or none."""
    server = start_server()
    with server.client() as client:
        fill(client, "big", 5)
        body = [[f"n{index}", [[f"c{column}", index, 0] for column in range(5)]] for index in range(COUNT * 20)]
        client.post("/v1/datasets/big/multirows", json=body)
        answered = []

        def commit():
            try:
                answered.append(httpx.post(f"{server.url}/v1/datasets/big/commit", timeout=30).status_code)
            except httpx.HTTPError:
                return

        thread = threading.Thread(target=commit)
        thread.start()
        time.sleep(delay)
        server.kill()
        thread.join()
    server = restart(start_server, server)
    with server.client() as client:
        wait_restored(client)
        rows = len(client.get("/v1/datasets/big/rows").json())
        assert rows in ((5 + COUNT * 20,) if answered else (5, 5 + COUNT * 20))


@pytest.mark.parametrize("delay", [0.0, 0.002, 0.005, 0.01, 0.02])
def test_killed_while_entities_are_made_and_replaced(start_server, delay):
    """What was answered 201 is there, what was answered 204 is not, and all that is there is whole."""
    server = start_server()
    made: list[str] = []
    deleted: list[str] = []

    def work():
        try:
            with server.client() as client:
                for index in range(1000):
                    name = f"d{index}"
                    client.put(f"/v1/datasets/{name}", json={"type": "sparse.mutable"}).raise_for_status()
                    made.append(name)
                    client.put("/v1/datasets/same", json={"type": "sparse.mutable"}).raise_for_status()
                    if index % 3 == 0:
                        made.remove(name)
                        client.delete(f"/v1/datasets/{name}").raise_for_status()
                        deleted.append(name)
        except httpx.HTTPError:
            return

    thread = threading.Thread(target=work)
    thread.start()
    until(lambda: len(deleted) > 2)
    time.sleep(delay)
    server.kill()
    thread.join()
    server = restart(start_server, server)
    with server.client() as client:
        wait_restored(client)
        names = client.get("/v1/datasets").json()
        assert set(made) <= set(names)
        assert not set(deleted) & set(names)
        for name in names:
            assert client.get(f"/v1/datasets/{name}").json()["state"] == "ok", name
            assert client.get(f"/v1/datasets/{name}/rows").json() == []


def test_a_second_server_on_the_same_data_says_why_it_stops(start_server, tmp_path: Path):
    server = start_server()
    with pytest.raises(AssertionError, match="in use by another process"):
        start_server(data_dir=server.data_dir)
    with server.client() as client:
        assert client.get("/ping").status_code == 200
