"""Shared fixtures: real servers in processes of their own, and clients for them."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, settings

from tests.waiting import PATIENCE

ROOT = Path(__file__).resolve().parents[1]


# How fast examples are made and run says what else the machine does; a fixture's state is the test's own business.
settings.register_profile(
    "suite", deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
settings.load_profile("suite")


def pytest_configure() -> None:
    """Interrupts work, though whatever started the tests in the background had them ignored: processes inherit that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


class Client(httpx.Client):
    """An httpx client whose ``get`` may carry a JSON body, as MLDB's read routes take it."""

    def get_json(self, path: str, body: Any = None, **params: Any) -> httpx.Response:
        content = None if body is None else json.dumps(body)
        return self.request("GET", path, content=content, params=params or None)

    def ask(self, verb: str, path: str, payload: Any = None) -> tuple[int, Any]:
        """The status and the JSON of an answer."""
        answer = self.request(verb, path, json=payload)
        return answer.status_code, answer.json() if answer.content else None

    def must(self, verb: str, path: str, payload: Any = None) -> Any:
        """The JSON of an answer that is no error."""
        status, found = self.ask(verb, path, payload)
        assert status < 400, (verb, path, found)
        return found

    def query(self, text: str, format: str = "table") -> Any:
        answer = self.get_json("/v1/query", {"q": text, "format": format})
        assert answer.status_code == 200, answer.text
        return answer.json()


class RunningServer:
    """A server process on a free port. ``lines`` is what it printed before it was ready."""

    def __init__(self, data_dir: Path, *flags: str, environment: dict[str, str] | None = None) -> None:
        self.data_dir = data_dir
        command = [sys.executable, "-m", "server", "serve", "--port", "0", "--data-dir", str(data_dir), *flags]
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=os.environ | (environment or {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.errors: list[str] = []
        self._reader = threading.Thread(target=self._drain, daemon=True)
        self._reader.start()
        self.lines = self._until_ready()
        self.url = self.lines[0].partition("?")[0].rstrip("/")

    def _until_ready(self) -> list[str]:
        assert self.process.stdout is not None
        timer = threading.Timer(PATIENCE, self.kill)
        timer.start()
        lines: list[str] = []
        for line in self.process.stdout:
            lines.append(line.strip())
            if line.strip() == "MLDB ready":
                timer.cancel()
                return lines
        timer.cancel()
        self.kill()
        raise AssertionError(f"the server did not start: {lines} {self.errors}")

    def _drain(self) -> None:
        assert self.process.stderr is not None
        with contextlib.suppress(ValueError):
            self.errors.extend(self.process.stderr)

    def client(self, **options: Any) -> Client:
        return Client(base_url=self.url, timeout=PATIENCE, **options)

    def kill(self) -> None:
        """As the power cut does."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self._finish()

    def stop(self) -> int:
        """As the operator does; the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(PATIENCE)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self._finish()
        return self.process.returncode

    def _finish(self) -> None:
        self.process.wait()
        if threading.current_thread() is not self._reader:
            self._reader.join(5)
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[Callable[..., RunningServer]]:
    """Starts servers with flags of the test's own; ``data_dir`` may be given to start on old data."""
    running: list[RunningServer] = []

    def start(*flags: str, data_dir: Path | None = None, environment: dict[str, str] | None = None) -> RunningServer:
        server = RunningServer(data_dir or tmp_path / "data", *flags, environment=environment)
        running.append(server)
        return server

    yield start
    for server in running:
        if server.process.returncode is None:
            server.kill()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A fresh server, shared by the tests of a module."""
    running = RunningServer(tmp_path_factory.mktemp("server") / "data")
    yield running
    running.stop()


@pytest.fixture(scope="module")
def client(server: RunningServer) -> Iterator[Client]:
    with server.client() as client:
        yield client


@pytest.fixture(scope="session")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of small frozen graphs, to be read only: made once for all workers of a run, as TensorFlow is slow.

    A process of its own makes them: TensorFlow stays out of those of the tests.
    """
    own = tmp_path_factory.getbasetemp()
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    folder = shared / "graphs"
    with (shared / "graphs.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            made = tmp_path_factory.mktemp("graphs")
            script = ROOT / "tests" / "images" / "build_graphs.py"
            environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
            subprocess.run([sys.executable, script, made], check=True, capture_output=True, env=environment)
            made.rename(folder)
    return folder
