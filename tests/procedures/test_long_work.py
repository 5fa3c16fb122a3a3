"""Whatever takes long says how far it is, and a cancel ends it at once, with nothing half-made left behind."""

from __future__ import annotations

import time
from contextlib import suppress

import psutil
import pytest

from server.builtin_types import BUILTIN_TYPES
from tests.conftest import RunningServer
from tests.learning.test_training_processes import job_processes
from tests.procedures.long_work import csv_line, works, write_lines
from tests.waiting import SOON, until

WORKS = works()
# Those that need a service, those that read one small file, and the one that does nothing.
OTHERS = {"mongodb.import", "postgresql.import", "experimental.statsTable.derivedColumnsGenerator", "null"}


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    """A server with a dataset ``big``; its temporary files lie in a folder of its own."""
    folder = tmp_path_factory.mktemp("long")
    temporary = folder / "tmp"
    temporary.mkdir()
    server = RunningServer(folder / "data", environment={"TMPDIR": str(temporary)})
    files = server.data_dir.resolve() / "files"
    files.mkdir()
    write_lines("big.csv", csv_line)(files)
    load = {
        "dataFileUrl": f"file://{files}/big.csv",
        "headers": ["x", "y", "z", "label", "kind", "text"],
        "outputDataset": "big",
    }
    with server.client() as client:
        answer = client.put("/v1/procedures/load", json={"type": "import.text", "params": load})
        assert answer.status_code == 201, answer.text
    yield server, files, temporary
    server.stop()


def test_every_type_is_here():
    assert {work.type for work in WORKS.values()} | OTHERS == set(BUILTIN_TYPES["procedure"])


def begun(client, name, files):
    """Start a run; its address."""
    work = WORKS[name]
    work.prepare(files)
    params = filled(work.params, files)
    for parameter in work.output:
        params[parameter] = {"output": {"id": "out", "type": "tabular"}, "outputDatasets": ["out_1", "out_2"]}.get(
            parameter, f"out_{parameter}"
        )
    if work.model:
        params[work.model] = f"file://{files}/made.model"
    if work.model and work.type.endswith(".train"):
        params["functionName"] = "made"
    config = {"type": work.type, "params": params | {"runOnCreation": False}}
    answer = client.put("/v1/procedures/long", json=config)
    assert answer.status_code == 201, answer.text
    return client.post("/v1/procedures/long/runs", json={}, headers={"async": "true"}).headers["location"]


def filled(value, files):
    if isinstance(value, str):
        return value.replace("{folder}", f"file://{files}")
    if isinstance(value, dict):
        return {name: filled(member, files) for name, member in value.items()}
    return [filled(item, files) for item in value] if isinstance(value, list) else value


def risen(client, run):
    """Whether a second step has begun, or the value of a step has risen."""
    status = client.get(run).json()
    assert status["state"] in ("initializing", "executing"), status
    steps = status.get("progress", {}).get("steps", [])
    assert all(step["name"] for step in steps)
    inner = [each for step in steps for each in step.get("subProgress", {}).get("steps", [])]
    begun = [step for step in steps + inner if "started" in step]
    return len(begun) > 1 or any(step["value"] > 0 for step in begun)


def processor_seconds(server):
    total = 0.0
    for process in [psutil.Process(server.process.pid), *psutil.Process(server.process.pid).children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system
    return total


def at_rest(server):
    before = processor_seconds(server)
    time.sleep(0.3)
    return processor_seconds(server) - before < 0.15


# Scripts tell nobody how far they are; what they print is in the details of the run.
SILENT = {"script.run", "experimental.external.procedure"}


@pytest.mark.parametrize("name", WORKS)
def test_progress_rises_and_a_cancel_ends_it(host, name):
    server, files, temporary = host
    with server.client() as client:
        run = begun(client, name, files)
        if name in SILENT:
            until(lambda: client.get(run).json()["state"] == "executing")
        else:
            until(lambda: risen(client, run))
        asked = time.monotonic()
        client.put(f"{run}/state", json={"state": "cancelled"}).raise_for_status()
        assert time.monotonic() - asked < SOON  # 0.1 to 0.8 s on a machine that does nothing else
        assert client.get(run).json()["state"] == "cancelled"
        assert not job_processes(server)
        until(lambda: at_rest(server), "work goes on after the cancel", SOON)
        # The entity that createEntity was making is the caller's, and says that it was cancelled.
        assert set(client.get("/v1/procedures").json()) - {"inner"} == {"load", "long"}
        assert client.get("/v1/datasets").json() == ["big"]
        assert client.get("/v1/functions").json() == []
        assert not list(files.glob("*.model*")) + list(files.glob("*.cls*"))
        assert not list(temporary.glob("mldb-*"))
