"""Requests that are shaped to cost more than they say: heads, chunks and parts without number."""

from __future__ import annotations

import json
import resource
import socket
import subprocess
import sys
import time
from urllib.parse import urlsplit

import psutil
import pytest

from tests.conftest import ROOT
from tests.waiting import SOON

GROWTH = 60 * 2**20  # bytes that the host may take for any of these


@pytest.fixture(scope="module")
def connect(server, client):
    client.get("/v1/query", params={"q": "SELECT 1"})  # what is loaded once is not the attack's doing
    address = urlsplit(server.url)
    return lambda: socket.create_connection((address.hostname, address.port), 20)


@pytest.fixture
def small(server, client):
    """The host does not grow, and still answers."""
    host = psutil.Process(server.process.pid)
    before = host.memory_info().rss
    yield
    assert host.memory_info().rss - before < GROWTH
    assert client.get("/ping").status_code == 200


def sent(raw, pieces) -> bytes:
    """Send until the server has had enough; its answer, b"" when it just hung up."""
    try:
        for piece in pieces:
            raw.sendall(piece)
        return raw.recv(65536)
    except (BrokenPipeError, ConnectionResetError):
        return b""


HEAD = b"GET /ping HTTP/1.1\r\nHost: localhost\r\n"


@pytest.mark.parametrize(("verb", "status"), [("GET", 404), ("OPTIONS", 400), ("POST", 404)])
def test_a_target_that_is_no_path(connect, verb, status):
    with connect() as raw:
        answer = sent(raw, [f"{verb} * HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()])
    assert answer.startswith(b"HTTP/1.1 %d " % status), answer


@pytest.mark.parametrize(
    ("request_", "status", "told"),
    [
        (HEAD + b"".join(b"x-%d: 1\r\n" % number for number in range(1001)) + b"\r\n", 431, "more than 1000 headers"),
        (b"GET /ping?" + b"x" * 70_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 431, "the setting head-size"),
        (b"hello\r\n\r\n", 400, "no HTTP request"),
    ],
)
def test_what_is_refused_as_a_whole_gets_the_canonical_error(connect, request_, status, told):
    with connect() as raw:
        answer = sent(raw, [request_])
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status), answer
    error = json.loads(body)
    assert (error["httpCode"], told in error["error"]) == (status, True)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    "pieces",
    [
        [HEAD, *[b"".join(b"x-%d: %s\r\n" % (number, b"a" * 40) for number in range(1000))] * 2000],
        [HEAD, b"x: ", *[b"a" * 2**20] * 200],
        [b"GET /", *[b"a" * 2**20] * 200],
        [HEAD, b"x: a\r\n" * 1200, b"\r\n"],
        [
            b"POST /ping HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
            *[b"x: a\r\n" * 1200] * 100,
        ],
    ],
    ids=["headers", "long header", "long address", "many small headers", "trailers"],
)
def test_endless_heads_are_cut_off(connect, pieces):
    with connect() as raw:
        answer = sent(raw, pieces)
    assert answer == b"" or answer.startswith((b"HTTP/1.1 431", b"HTTP/1.1 400", b"HTTP/1.1 404"))


def test_a_head_that_never_ends_is_given_up(start_server):
    server = start_server("--body-timeout", "1")
    address = urlsplit(server.url)
    with socket.create_connection((address.hostname, address.port), 20) as silent:
        with socket.create_connection((address.hostname, address.port), 20) as slow:
            start = time.monotonic()
            slow.sendall(HEAD)
            assert slow.recv(100).startswith(b"HTTP/1.1 408")
            assert time.monotonic() - start < SOON
        assert silent.recv(100).startswith(b"HTTP/1.1 408")


@pytest.mark.usefixtures("small")
def test_chunks_of_single_bytes(connect):
    """100 000 chunks of a byte each are a body like any other."""
    body = b'"' + b"a" * 99_998 + b'"'
    head = (
        b"PUT /v1/procedures/p HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    )
    with connect() as raw:
        answer = sent(raw, [head, b"".join(b"1\r\n%c\r\n" % byte for byte in body), b"0\r\n\r\n"])
    assert answer.startswith(b"HTTP/1.1 400")


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    "framing",
    [
        b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n", b"Transfer-Encoding: chunked\r\n\r\n-1\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", b"Content-Length: -5\r\n\r\n",
        b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", b"Content-Length: 99999999999999999999\r\n\r\n",
        b"Transfer-Encoding: gzip, chunked, x\r\n\r\n0\r\n\r\n", b"Content-Length: +5\r\n\r\nhello",
        b"Transfer-Encoding: chunked\r\n\r\n1;" + b"e" * 200_000 + b"\r\na\r\n0\r\n\r\n",
    ],
)  # fmt: skip
def test_framing_that_lies(connect, framing):
    """Refused or read as one request; never read as two."""
    with connect() as raw:
        request = b"PUT /v1/procedures/framed HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" + framing
        raw.settimeout(5)
        try:
            answer = sent(raw, [request + b"GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"])
        except TimeoutError:
            return  # it waits for the rest of the body
    assert answer.count(b"HTTP/1.1 ") <= 1
    assert b"smuggled" not in answer


@pytest.mark.usefixtures("small")
def test_very_many_parts(client):
    """Bodies in parts go to plugins as they are: nothing in the host takes them apart."""
    source = {"main": "", "routes": "request.set_return(len(request.payload))"}
    client.put("/v1/plugins/parts", json={"type": "python", "params": {"source": source}})
    part = b'--b\r\nContent-Disposition: form-data; name="x"\r\n\r\ny\r\n'
    body = part * 100_000 + b"--b--\r\n"
    headers = {"content-type": "multipart/form-data; boundary=b"}
    start = time.monotonic()
    answer = client.post("/v1/plugins/parts/routes/x", content=body, headers=headers)
    assert answer.json() == len(body)
    assert client.post("/v1/procedures", content=body, headers=headers).status_code == 400
    assert client.post("/login", content=body, headers=headers).status_code in (403, 413)
    assert time.monotonic() - start < 2 * SOON


def test_further_connections_are_told_of_the_setting(start_server):
    server = start_server("--max-connections", "3")
    address = urlsplit(server.url)
    idle = [socket.create_connection((address.hostname, address.port), 20) for _ in range(3)]
    with socket.create_connection((address.hostname, address.port), 20) as further:
        further.sendall(HEAD + b"\r\n")
        head, _, body = b"".join(iter(lambda: further.recv(65536), b"")).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 ")
    assert json.loads(body) == {
        "error": "3 connections are open, the most that the setting max-connections allows: ask again later",
        "httpCode": 503,
    }
    for each in idle:
        each.sendall(HEAD + b"\r\n")
        assert each.recv(100).startswith(b"HTTP/1.1 200 ")
        each.close()
    with server.client() as client:
        assert client.get("/ping").status_code == 200


def test_connections_are_not_held_to_the_soft_limit_of_open_files(start_server):
    """Most systems let a process open 1024 files unless it asks for more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, hard))
    try:
        server = start_server()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    address = urlsplit(server.url)
    idle = [socket.create_connection((address.hostname, address.port), 20) for _ in range(200)]
    for each in idle:
        each.sendall(HEAD + b"\r\n")
        assert each.recv(100).startswith(b"HTTP/1.1 200 ")
        each.close()


_ALLOWED = """
import resource
from server.serve import _allow_files
from server.settings import Settings
resource.setrlimit(resource.RLIMIT_NOFILE, (100, 150))
settings = Settings()
_allow_files(settings)
print(settings.max_connections, *resource.getrlimit(resource.RLIMIT_NOFILE))
"""


def test_there_are_no_more_connections_than_the_system_has_files_for():
    done = subprocess.run([sys.executable, "-c", _ALLOWED], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "86 150 150\n"
    assert "max-connections is 86, as the system lets the server open 150 files" in done.stderr
