"""A training under way: cancelling ends its process, and the death of its process harms nothing else."""

from __future__ import annotations

import psutil
import pytest

from tests.learning.test_classifier_rest import make_rows
from tests.waiting import until

# Far more than any test waits for.
ENDLESS = {"type": "bagging", "num_bags": 1_000_000, "weak_learner": {"type": "glz"}}


def job_processes(server) -> set[int]:
    """Processes that the server's fork server for jobs has forked."""
    found = set()
    for process in psutil.Process(server.process.pid).children(recursive=True):
        if "forkserver" in " ".join(process.parent().cmdline()) and process.parent().pid != server.process.pid:
            found.add(process.pid)
    return found


@pytest.fixture
def training(client, server):
    """A training that would never end: the address of its run, and its process."""
    make_rows(client, "points", {f"r{n}": {"x": n, "y": n % 7, "label": n % 2} for n in range(200)})
    others = job_processes(server)
    params = {
        "trainingData": "SELECT {x, y} AS features, label FROM points",
        "modelFileUrl": f"file://{server.data_dir.resolve()}/endless.cls",
        "configuration": ENDLESS,
        "runOnCreation": False,
    }
    client.put("/v1/procedures/endless", json={"type": "classifier.train", "params": params}).raise_for_status()
    answer = client.post("/v1/procedures/endless/runs", json={}, headers={"async": "true"})
    run = answer.headers["location"]
    (pid,) = until(lambda: job_processes(server) - others)
    until(lambda: client.get(run).json()["state"] == "executing")
    return run, pid


def test_a_cancel_ends_the_process(client, training):
    run, pid = training
    client.put(f"{run}/state", json={"state": "cancelled"}).raise_for_status()
    until(lambda: not psutil.pid_exists(pid))
    until(lambda: client.get(run).json()["state"] == "cancelled")


def test_a_cancelled_experiment_leaves_nothing_of_its_folds(client, server):
    make_rows(client, "folded", {f"r{n}": {"x": n, "y": n % 7, "label": n % 2} for n in range(200)})
    folder = server.data_dir.resolve()
    params = {
        "experimentName": "stopped",
        "inputData": "SELECT {x, y} AS features, label FROM folded",
        "datasetFolds": [{"trainingWhere": "x < 100", "testingWhere": "x > 90"}] * 500,
        "configuration": {"type": "decision_tree"},
        "modelFileUrlPattern": f"file://{folder}/$runid.cls",
        "runOnCreation": False,
    }
    client.put("/v1/procedures/stopped", json={"type": "classifier.experiment", "params": params}).raise_for_status()
    run = client.post("/v1/procedures/stopped/runs", json={}, headers={"async": "true"}).headers["location"]
    until(lambda: "stopped_results_0" in client.get("/v1/datasets").json())
    assert (folder / "stopped-0.cls").exists()
    client.put(f"{run}/state", json={"state": "cancelled"}).raise_for_status()
    until(lambda: client.get(run).json()["state"] == "cancelled")
    until(lambda: not list(folder.glob("stopped-*.cls")))
    until(lambda: not [name for name in client.get("/v1/functions").json() if name.startswith("stopped")])
    until(lambda: not [name for name in client.get("/v1/datasets").json() if name.startswith("stopped")])


def test_a_killed_process_is_an_error_of_its_run_only(client, server, training):
    run, pid = training
    psutil.Process(pid).kill()
    until(lambda: client.get(run).json()["state"] == "error")
    assert "the job process of server.learning.classifier_job:train died" in client.get(run).text
    assert client.query("SELECT 1 AS one")[1][1] == 1
    params = {
        "trainingData": "SELECT {x, y} AS features, label FROM points",
        "modelFileUrl": f"file://{server.data_dir.resolve()}/after.cls",
        "configuration": {"type": "decision_tree"},
    }
    again = client.put("/v1/procedures/after", json={"type": "classifier.train", "params": params})
    assert again.status_code == 201, again.text
