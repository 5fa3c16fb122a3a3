"""Servers under measurement: ours and those it is compared with, each a process of its own on a free port."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import httptools
import orjson

PEERS = Path(__file__).parent / "peers"
START_SECONDS = 60.0
TIMEOUT_SECONDS = 900.0
IDLE_SECONDS = 2.0  # servers close idle connections after 5: a contender may take longer than that


class Client:
    """One kept-alive connection to a server on loopback.

    It parses with httptools: what ``http.client`` spends on a request more than that, a tenth of a millisecond once
    caches are cold, would count as the server's.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self._socket: socket.socket | None = None
        self._used = 0.0

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def request(self, verb: str, path: str, body: Any = None, accept: str = "*/*") -> bytes:
        """The body of the answer; ``RuntimeError`` with it unless the status is below 300."""
        return self.send(verb, path, None if body is None else orjson.dumps(body), "application/json", accept)

    def send(self, verb: str, path: str, payload: bytes | None, content: str = "", accept: str = "*/*") -> bytes:
        """``request`` with a body as it is."""
        lines = [
            f"{verb} {quote(path, safe='/?&=%,:')} HTTP/1.1",
            f"Host: 127.0.0.1:{self.port}",
            f"Accept: {accept}",
            f"Content-Length: {len(payload or b'')}",
            *([f"Content-Type: {content}"] if payload and content else []),
        ]
        if time.monotonic() - self._used > IDLE_SECONDS:
            self.close()
        if self._socket is None:
            self._socket = socket.create_connection(("127.0.0.1", self.port), TIMEOUT_SECONDS)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.sendall(("\r\n".join(lines) + "\r\n\r\n").encode() + (payload or b""))
        answer = _Answer()
        while not answer.complete:
            data = self._socket.recv(1 << 20)
            if not data:
                raise ConnectionError(f"{verb} {path}: the server closed the connection")
            answer.parser.feed_data(data)
        self._used = time.monotonic()
        body = b"".join(answer.parts)
        if answer.parser.get_status_code() >= 300:
            raise RuntimeError(
                f"{verb} {path}: {answer.parser.get_status_code()} {body[:2000].decode(errors='replace')}"
            )
        return body

    def json(self, verb: str, path: str, body: Any = None) -> Any:
        return orjson.loads(self.request(verb, path, body) or b"null")

    def query(self, sql: str) -> Any:
        return self.json("GET", "/v1/query?" + urlencode({"q": sql, "format": "table"}, quote_via=quote))

    def arrow(self, sql: str) -> bytes:
        """The answer as an Arrow stream."""
        path = "/v1/query?" + urlencode({"q": sql}, quote_via=quote)
        return self.request("GET", path, accept="application/vnd.apache.arrow.stream")


class _Answer:
    """What the parser tells of one answer."""

    def __init__(self) -> None:
        self.parser = httptools.HttpResponseParser(self)
        self.parts: list[bytes] = []
        self.complete = False

    def on_body(self, part: bytes) -> None:
        self.parts.append(part)

    def on_message_complete(self) -> None:
        self.complete = True


@contextmanager
def mldb(data: Path, *arguments: str) -> Iterator[Client]:
    """Our server on a data root."""
    port = free_port()
    command = [sys.executable, "-m", "server", "serve", "--port", str(port), "--data-dir", str(data), *arguments]
    with _process(command, port, "/readyz"), closing(Client(port)) as client:
        yield client


@contextmanager
def peer(*command: str, environment: Mapping[str, str] | None = None) -> Iterator[Client]:
    """A server of ``peers/``: ``{port}`` in the command is replaced."""
    port = free_port()
    words = [word.replace("{port}", str(port)) for word in command]
    variables = {"PYTHONPATH": str(PEERS), **(environment or {})}
    command_line = [sys.executable, "-m", *words]
    with _process(command_line, port, "/", variables), closing(Client(port)) as client:
        yield client


def uvicorn_peer(application: str, environment: Mapping[str, str] | None = None) -> Any:
    """An ASGI application of ``peers/`` under uvicorn with the same loop and parser as ours."""
    words = ("uvicorn", application, "--port", "{port}", "--loop", "uvloop", "--http", "httptools")
    return peer(*words, "--no-access-log", "--log-level", "warning", environment=environment)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _process(
    command: Sequence[str], port: int, path: str, environment: Mapping[str, str] | None = None
) -> Iterator[None]:
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command, env={**os.environ, **(environment or {})}, stdout=log, stderr=log, start_new_session=True
        )
        try:
            _wait(process, port, path)
            yield
        except BaseException:
            log.seek(0)
            sys.stderr.buffer.write(log.read()[-4000:])
            raise
        finally:
            _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait(process: subprocess.Popen[bytes], port: int, path: str) -> None:
    """Until the server answers below 500 (a peer may have nothing at ``/``)."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args} ended with {process.returncode}")
        if answers(port, path):
            return
        time.sleep(0.05)
    raise TimeoutError(f"{process.args} did not answer within {START_SECONDS:.0f} s")


def answers(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status < 500
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
