"""What the host costs: it starts at once, stays small, leaks nothing and never blocks its event loop."""

from __future__ import annotations

import asyncio
import math
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import uvicorn

from benchmarks.processes import answers
from server.entities.jobs import Jobs
from server.http.security import Gate
from server.serve import Application, listen
from server.settings import Settings
from server.shutdown import Shutdown
from tests.conftest import RunningServer
from tests.ports import free_port
from tests.project.loop_watch import LoopWatch
from tests.waiting import PATIENCE, slowness, until

START_SECONDS = 1.0  # of processor time: what else the machine does is not ours
SLOW_SECONDS = 0.1  # in the watch's own measure: what the machine and other threads take does not count
LONG_SECONDS = 10 * SLOW_SECONDS  # the watch is to have its turn meanwhile, whatever else the machine does
CYCLES = 30
IDLE_BYTES = 150 * 10**6


def test_host_answers_at_once(tmp_path: Path):
    assert min(start_seconds(tmp_path / str(number)) for number in range(3)) < START_SECONDS * slowness()


def start_seconds(data: Path) -> float:
    """Seconds of processor time from the start of the process to its first answer."""
    port = free_port()
    command = [sys.executable, "-m", "server", "serve", "--port", str(port), "--data-dir", str(data)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        until(lambda: answers(port, "/healthz"))
        taken = psutil.Process(process.pid).cpu_times()
        return taken.user + taken.system
    finally:
        process.terminate()
        process.wait(PATIENCE)


def test_an_idle_host_is_small(start_server: Callable[..., RunningServer]):
    """Resident, shared pages of libraries included. What only data, queries and models need is not loaded."""
    server = start_server()
    with server.client() as client:
        until(lambda: client.get("/readyz").status_code == 200)
    host = psutil.Process(server.process.pid)
    assert host.memory_info().rss < IDLE_BYTES
    loaded = {Path(each.path).name for each in host.memory_maps()}
    assert any(name.startswith("_duckdb") for name in loaded)
    assert not [name for name in loaded if name.startswith(("libarrow", "_pandas", "libsklearn", "lib_lightgbm"))]


def test_nothing_leaks(start_server: Callable[..., RunningServer]):
    """Open files, threads and processes are as many after thirty rounds as after a few."""
    server = start_server()
    host = psutil.Process(server.process.pid)
    with server.client() as client:
        for number in range(5):
            exercise(client, f"warm{number}")
        before = held(host)
        for number in range(CYCLES):
            exercise(client, f"round{number}")
        # Idle threads and ended processes have their time to go.
        until(
            lambda: all(count <= before[name] + 2 for name, count in held(host).items()),
            lambda: (before, held(host)),
        )


def held(process: psutil.Process) -> dict[str, int]:
    return {
        "files": process.num_fds(),
        "threads": process.num_threads(),
        "processes": len(process.children(recursive=True)),
    }


def ask(client: httpx.Client, verb: str, path: str, body: Any = None) -> Any:
    answer = client.request(verb, path, json=body)
    assert answer.is_success, f"{verb} {path}: {answer.text}"
    return answer


def exercise(client: httpx.Client, name: str) -> None:
    """Make, fill, ask and delete a bit of everything."""
    ask(client, "PUT", f"/v1/datasets/{name}", {"type": "sparse.mutable"})
    rows = [[str(row), [["x", row, 0], ["y", "text", 0]]] for row in range(200)]
    ask(client, "POST", f"/v1/datasets/{name}/multirows", rows)
    ask(client, "POST", f"/v1/datasets/{name}/commit")
    ask(client, "GET", "/v1/query", {"q": f"SELECT sum(x) AS total FROM {name} GROUP BY y"})
    function = {"type": "sql.expression", "params": {"expression": "x + 1 AS y"}}
    ask(client, "PUT", f"/v1/functions/{name}_f", function)
    ask(client, "GET", "/v1/query", {"q": f"SELECT {name}_f({{x}}) AS * FROM {name}"})
    plugin = {"type": "python", "params": {"source": {"main": "", "routes": "request.set_return(1)"}}}
    ask(client, "PUT", f"/v1/plugins/{name}", plugin)
    ask(client, "GET", f"/v1/plugins/{name}/routes/x")
    procedure = {"inputData": f"SELECT x * 2 AS x FROM {name}", "outputDataset": f"{name}_out"}
    ask(client, "PUT", f"/v1/procedures/{name}", {"type": "transform", "params": procedure})
    for path in (f"plugins/{name}", f"functions/{name}_f", f"procedures/{name}", f"datasets/{name}_out"):
        ask(client, "DELETE", f"/v1/{path}")
    ask(client, "DELETE", f"/v1/datasets/{name}")


@dataclass
class Watched:
    """A server in a thread of this process, its loop watched."""

    client: httpx.Client
    watch: LoopWatch
    loop: asyncio.AbstractEventLoop


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    # The place of a process's fork server is for good: other tests start jobs when this folder is gone.
    monkeypatch.setattr(Jobs, "keep_socket_in", lambda *_: None)
    loop, listening, settings = asyncio.new_event_loop(), listen("127.0.0.1", 0), Settings(data_dir=tmp_path)
    loop.set_debug(True)
    loop.slow_callback_duration = math.inf  # the watch tells
    application = Application(settings, Gate(settings), Shutdown(), "")
    config = uvicorn.Config(application, lifespan="on", log_level="warning", ws="none")
    config.load()  # before it serves anybody
    running = uvicorn.Server(config)
    thread = threading.Thread(target=loop.run_until_complete, args=(running.serve([listening]),))
    thread.start()
    watch = LoopWatch(loop, thread, SLOW_SECONDS)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{listening.getsockname()[1]}", timeout=PATIENCE) as client:
            until(lambda: client.get("/readyz").status_code == 200)
            yield Watched(client, watch, loop)
    finally:
        watch.stop()
        running.should_exit = True
        thread.join(PATIENCE)
        loop.close()


def sleep() -> None:
    time.sleep(LONG_SECONDS)


def compute() -> None:
    end = time.thread_time() + LONG_SECONDS
    while time.thread_time() < end:
        continue


def call_into_c() -> None:
    """Keeps the interpreter for itself: no other thread of the process runs."""
    end = time.thread_time() + LONG_SECONDS
    while time.thread_time() < end:
        pow(3, 1_000_000)


def test_event_loop_is_never_blocked(watched: Watched):
    """Work that takes its time goes on elsewhere while the loop turns."""
    client = watched.client
    exercise(client, "small")
    rows = [[str(row), [[f"c{column}", row * column, 0] for column in range(50)]] for row in range(1000)]
    ask(client, "PUT", "/v1/datasets/wide", {"type": "sparse.mutable"})
    ask(client, "POST", "/v1/datasets/wide/multirows", rows)
    ask(client, "POST", "/v1/datasets/wide/commit")
    ask(client, "GET", "/v1/query", {"q": "SELECT * FROM wide"})
    spin = "import time\nend = time.time() + 1\nwhile time.time() < end: pass\nrequest.set_return(1)"
    ask(client, "POST", "/v1/types/plugins/python/routes/run", {"source": spin})
    assert not watched.watch.found, "\n".join(map(str, watched.watch.found))


def test_detector_detects(watched: Watched):
    """A check that cannot fail proves nothing: a callback that holds the loop is seen, and where it was."""
    for block in (sleep, compute, call_into_c):
        watched.loop.call_soon_threadsafe(block)
        # Other callbacks may be seen too, where the machine has much else to do.
        assert until(partial(seen, watched.watch, block.__name__)) == 1


def seen(watch: LoopWatch, name: str) -> int:
    """How many callbacks were seen where a function of this name ran."""
    return sum(f"in {name}" in held.stack for held in watch.found)


@pytest.mark.parametrize(
    ("path", "headers", "early"),
    [
        ("/healthz", {"host": "localhost"}, True),
        ("/ping", {"host": "localhost"}, False),
        ("/ping", {"host": "localhost", "authorization": "Bearer t"}, True),
        ("/healthz", {"host": "evil.example"}, False),
        ("/v1/datasets", {"host": "localhost", "authorization": "Bearer t"}, False),
    ],
)
def test_what_the_gate_refuses_is_not_answered_before_the_parts_are_there(path, headers, early):
    settings = Settings(token="t")
    application = Application(settings, Gate(settings), Shutdown(), "")
    scope = {
        "type": "http", "method": "GET", "path": path, "query_string": b"", "server": ("127.0.0.1", 8080),
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }  # fmt: skip
    assert application._is_early(scope) is early
