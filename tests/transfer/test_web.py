"""Reads from the network and the fetcher, against real servers on loopback (entity-types.md §4.4)."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from server.errors import MldbError
from server.settings import Settings
from server.transfer.addresses import checked_addresses, is_public
from server.transfer.fetcher import Fetcher, fetch
from server.transfer.limits import WebLimits
from server.transfer.urls import Urls
from server.transfer.web import WebScheme
from server.values.batches import Column, RowBatch, RowType
from server.values.kinds import Kind
from tests.waiting import SOON

MODIFIED = "Wed, 21 Oct 2015 07:28:00 GMT"


class Handler(BaseHTTPRequestHandler):
    """Answers by path; ``server.hosts`` collects the Host headers that came."""

    def do_GET(self):
        self.server.hosts.append(self.headers["Host"])
        self.server.headers_seen.append(dict(self.headers))
        name, _, argument = self.path.lstrip("/").partition("/")
        getattr(self, f"answer_{name.partition('?')[0]}", self.answer_missing)(argument)

    do_HEAD = do_GET

    def log_message(self, *_):
        """Silence."""

    def send(self, body, status=200, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def answer_ok(self, _):
        self.send(b"hello", Last_Modified=MODIFIED, ETag='"x"')

    def answer_missing(self, _):
        self.send(b"no", 404)

    def answer_broken(self, _):
        self.send(b"no", 500)

    def answer_to(self, target):
        self.send(b"", 302, Location=target if "//" in target else f"/{target}")

    def answer_loop(self, _):
        self.send(b"", 302, Location="/loop")

    def answer_short(self, _):
        self.send_response(200)
        self.send_header("Content-Length", "100")
        self.end_headers()
        self.wfile.write(b"only this")

    def answer_endless(self, _):
        self.send_response(200)
        self.end_headers()
        try:
            while True:
                self.wfile.write(bytes(1 << 16))
        except OSError:
            return

    def answer_drip(self, _):
        self.send_response(200)
        self.end_headers()
        try:
            while not self.server.over.wait(0.05):
                self.wfile.write(b"x")
        except OSError:
            return


@pytest.fixture
def web() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.hosts, server.headers_seen, server.over = [], [], threading.Event()
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server
    server.over.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def base(web):
    return f"http://127.0.0.1:{web.server_port}"


def settings_of(tmp_path, **changes):
    return Settings(data_dir=tmp_path / "data", **{"fetch_private": True, **changes})


@pytest.fixture
def urls(tmp_path):
    return Urls(settings_of(tmp_path))


def refusal(call, *arguments):
    with pytest.raises(MldbError) as caught:
        call(*arguments)
    return caught.value.message


def test_read(urls, base, web):
    found = urls.read(f"{base}/ok?é=ü#part")
    assert (found.content, found.last_modified) == (b"hello", 1445412480.0)
    assert web.hosts == [f"127.0.0.1:{web.server_port}"]
    assert urls.stat(f"{base}/ok").size == 5
    assert urls.stat(f"{base}/ok").etag == '"x"'
    assert not urls.stat(f"{base}/none").exists


def test_credentials_in_the_address(urls, base, web):
    urls.read(base.replace("//", "//me:p%40ss@") + "/ok")
    assert web.headers_seen[-1]["Authorization"] == "Basic bWU6cEBzcw=="
    urls.read(base.replace("//", "//me:pw@") + f"/to/{base}/ok")
    assert "Authorization" not in web.headers_seen[-1]


def test_redirects(urls, base):
    assert urls.read(f"{base}/to/ok").content == b"hello"
    assert urls.read(f"{base}/to/{base}/ok").content == b"hello"
    assert refusal(urls.read, f"{base}/loop") == "Maximum (20) redirects followed"


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://x/y", "gopher://x", "mem://x"])
def test_redirects_to_other_schemes(urls, base, target):
    assert "another scheme than http or https" in refusal(urls.read, f"{base}/to/{target}")


def test_statuses(urls, base):
    assert "HTTP status 404" in refusal(urls.read, f"{base}/none")
    assert "HTTP status 500" in refusal(urls.read, f"{base}/broken")


def test_a_body_that_is_shorter_than_promised(urls, base):
    assert "failed" in refusal(urls.read, f"{base}/short")


def test_a_body_without_end(tmp_path, base):
    urls = Urls(settings_of(tmp_path, fetch_size=1))
    assert "fetch_size" in refusal(urls.read, f"{base}/endless")
    assert "larger than 1000 bytes; the setting is some_size" in refusal(
        lambda: urls.read(f"{base}/endless", limit=1000, setting="some_size")
    )


def test_nobody_listens(urls):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    assert "failed" in refusal(urls.read, f"http://127.0.0.1:{port}/")


@pytest.mark.parametrize(
    "url", ["http://", "http:///x", "http://a b/", "http://[::1", "http://x:99999/", "http://nowhere.invalid/"]
)
def test_addresses_that_are_none(urls, url):
    refusal(urls.read, url)


# ── slow servers ──


def scheme(**limits):
    return WebScheme(private=True, limits=WebLimits(**limits))


def test_a_server_that_never_answers():
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/toto"
        begin = time.monotonic()
        message = refusal(lambda: scheme(slow_rate=10240, slow_window=0.5).open_read(url))
    assert "Timeout was reached" in message
    assert 0.4 < time.monotonic() - begin < SOON


def test_a_server_that_drips(base):
    begin = time.monotonic()
    with scheme(slow_rate=10240, slow_window=0.6).open_read(f"{base}/drip").stream as stream:
        assert "Timeout was reached" in refusal(lambda: stream.read(1 << 20))
    assert time.monotonic() - begin < SOON


def test_a_slow_reader_is_not_a_slow_server(base):
    with scheme(slow_rate=10240, slow_window=1.0).open_read(f"{base}/endless").stream as stream:
        for _ in range(2):
            assert len(stream.read(1 << 17)) == 1 << 17
            time.sleep(1.2)
        assert len(stream.read(1 << 17)) == 1 << 17


def test_total_time(base):
    with scheme(total=0.5).open_read(f"{base}/drip").stream as stream:
        assert "Timeout was reached" in refusal(lambda: stream.read(1 << 20))


# ── addresses ──


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.8.8.8", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
        "224.0.0.1", "255.255.255.255", "240.0.0.1", "192.0.2.1", "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1",
        "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::",
        "2001:db8::1", "nonsense",
    ],
)  # fmt: skip
def test_addresses_that_are_not_public(address):
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_public_addresses(address):
    assert is_public(address)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "localhost", "2130706433", "0x7f000001", "0177.0.0.1", "127.1", "[::]", "[::1]",
        "[::ffff:127.0.0.1]", "0", "0.0.0.0",
    ],
)  # fmt: skip
def test_loopback_in_every_spelling(tmp_path, web, host):
    urls = Urls(settings_of(tmp_path, fetch_private=False))
    message = refusal(urls.read, f"http://{host}:{web.server_port}/ok")
    assert "fetch_private" in message or "resolve" in message
    assert web.hosts == []


def test_mixed_answers_are_refused():
    with pytest.raises(MldbError, match="fetch_private"):
        checked_addresses("x", 80, private=False, resolver=lambda _host, _port: ["8.8.8.8", "10.0.0.1"])


def test_redirects_are_checked_again(tmp_path, web, monkeypatch):
    asked = []

    def resolver(host, port):
        asked.append(host)
        return ["127.0.0.1"]

    monkeypatch.setattr("server.transfer.addresses.is_public", lambda _address: asked[-1] == "good.example")
    urls = Urls(settings_of(tmp_path, fetch_private=False), resolver=resolver)
    port = web.server_port
    assert urls.read(f"http://good.example:{port}/ok").content == b"hello"
    message = refusal(urls.read, f"http://good.example:{port}/to/http://evil.example:{port}/ok")
    assert "evil.example" in message
    assert "fetch_private" in message
    assert asked == ["good.example", "good.example", "evil.example"]
    assert web.hosts == [f"good.example:{port}"] * 2


def test_the_checked_address_is_the_one_connected_to(tmp_path, web):
    answers = iter([["127.0.0.1"], ["127.0.0.2"]])
    urls = Urls(settings_of(tmp_path), resolver=lambda _host, _port: next(answers))
    assert urls.read(f"http://rebind.example:{web.server_port}/ok").content == b"hello"
    assert next(answers) == ["127.0.0.2"]  # resolved once, not again for the connection


# ── fetcher ──


def test_fetch_never_raises(urls, base, tmp_path):
    assert fetch(urls, f"{base}/ok") == (b"hello", None, 1445412480.0)
    for url in (f"{base}/none", "gopher://x", "file:///etc/passwd", "none.txt", "", "http://", "mem://x", "file://a\0"):
        content, error, _ = fetch(urls, url)
        assert content is None
        assert error


def test_a_path_is_a_file(urls, tmp_path, monkeypatch):
    assert "No such file" in (fetch(urls, "non_existant")[1] or "")


def batch_of(names):
    import pyarrow as pa

    type_ = RowType((Column(("url",), Kind.STRING),))
    return RowBatch(type_, len(names), [pa.array(names, pa.string())])


def test_fetcher_function(urls, base):
    function = Fetcher(urls, 4)
    try:
        batch = batch_of([f"{base}/ok", f"{base}/none", None] + [f"{base}/ok"] * 20)
        rows = function.bind(batch.type).apply(batch)
        assert rows.type == function.output
        contents, errors = rows.values
        assert contents.to_pylist() == [b"hello", None, None] + [b"hello"] * 20
        assert [error is None for error in errors.to_pylist()] == [True, False, False] + [True] * 20
        assert rows.timestamp(0).to_pylist()[0] == 1445412480.0
    finally:
        function.close()


def test_fetcher_refuses_what_it_does_not_know(urls):
    function = Fetcher(urls, -1)
    with pytest.raises(MldbError, match="needs the input 'url'"):
        function.bind(RowType())
    function.close()
    with pytest.raises(MldbError, match="maxConcurrentFetch"):
        Fetcher(urls, 0)
