"""Who may call (docs/security.md): Host, Origin, token, limits, headers. One named test per refusal."""

from __future__ import annotations

import socket
import time
from urllib.parse import urlsplit

import pytest

from server.http.security import Gate, Login, Refusal, host_name
from server.settings import Settings
from tests.waiting import SOON

WRITES = ("PUT", "POST", "DELETE")


def refused(answer) -> bool:
    return answer.status_code == 403 and set(answer.json()) == {"error", "httpCode"}


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "", "10.0.0.1", "[::2]"]
)
def test_foreign_host_names_are_refused_before_routing(client, host):
    for path in ("/ping", "/", "/v1/datasets", "/static/landing.css", "/nowhere", "/healthz"):
        assert refused(client.get(path, headers={"host": host})), path


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:80", "127.1.2.3", "[::1]:8080"])
def test_own_names_are_served(client, host):
    assert client.get("/ping", headers={"host": host}).status_code == 200


@pytest.mark.parametrize("verb", WRITES)
@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:1"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"},
        {"sec-fetch-site": "same-site"},
        {"origin": "https://evil.example", "content-type": "text/plain"},
    ],
)
def test_cross_site_writes_are_refused(client, verb, headers):
    assert refused(client.request(verb, "/v1/procedures/p", headers=headers, content='{"type":"null"}'))
    assert client.get("/v1/procedures/p").status_code == 404


def test_cross_site_reads_are_refused_but_links_work(client):
    assert refused(client.get("/v1/datasets", headers={"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}))
    link = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    assert client.get("/", headers=link).status_code == 200


def test_own_pages_may_write(client, server):
    headers = {"origin": server.url, "sec-fetch-site": "same-origin"}
    assert client.put("/v1/procedures/own", json={"type": "null"}, headers=headers).status_code == 201
    assert client.put("/v1/procedures/own", json={"type": "null"}, headers={"origin": server.url}).status_code == 201


def test_no_origin_may_read_answers_by_default(client):
    answer = client.get("/ping", headers={"origin": "https://evil.example"})
    assert "access-control-allow-origin" not in answer.headers


def test_allowed_origins(start_server):
    server = start_server("--allowed-origin", "https://app.example")
    with server.client() as client:
        good = {"origin": "https://app.example", "sec-fetch-site": "cross-site"}
        answer = client.put("/v1/procedures/p", json={"type": "null"}, headers=good)
        assert answer.status_code == 201
        assert answer.headers["access-control-allow-origin"] == "https://app.example"
        assert "access-control-allow-credentials" not in answer.headers
        preflight = client.options(
            "/v1/procedures/p",
            headers=good | {"access-control-request-method": "PUT", "access-control-request-headers": "content-type"},
        )
        assert "PUT" in preflight.headers["access-control-allow-methods"]
        for near in ("https://app.example.evil", "http://app.example", "https://APP.example", "https://xapp.example"):
            assert refused(client.put("/v1/procedures/p", json={"type": "null"}, headers={"origin": near})), near


def test_a_given_token_is_needed_everywhere(start_server):
    server = start_server("--token", "sesame")
    with server.client() as client:
        paths = ("/ping", "/", "/v1/datasets", "/v1/plugins/p/routes/x", "/static/logs/logs.css", "/nowhere", "/readyz")
        for path in paths:
            for verb in ("GET", "PUT", "POST", "DELETE", "OPTIONS", "HEAD", "PATCH"):
                assert client.request(verb, path).status_code == 401, (verb, path)
            wrong = client.get(path, headers={"authorization": "Bearer sesam"})
            assert (wrong.status_code, wrong.json()["error"][:21]) == (401, "that is not the token")
            assert client.get(f"{path}?token=wrong").status_code == 401
        assert client.get("/healthz").status_code == client.get("/favicon.ico").status_code == 200
        assert client.get("/ping", headers={"authorization": "Bearer sesame"}).status_code == 200
        assert "sesame" not in client.get("/ping").text


def test_the_token_in_the_address_becomes_a_cookie(start_server):
    server = start_server("--token", "sesame")
    with server.client() as client:
        answer = client.get("/?token=sesame&a=1", follow_redirects=False)
        assert answer.status_code == 303
        assert answer.headers["location"] == "/?a=1"
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        assert "sesame" not in cookie
        assert client.get("/ping").status_code == 200
        assert client.put("/v1/procedures/p?token=sesame", json={"type": "null"}, cookies=None).status_code != 401


def test_listening_beyond_loopback_makes_up_a_token(start_server):
    server = start_server("--host", "0.0.0.0")
    port = urlsplit(server.url).port
    token = server.lines[0].partition("?token=")[2]
    assert len(token) >= 32
    server.url = f"http://127.0.0.1:{port}"
    with server.client() as client:
        assert client.get("/v1/datasets").status_code == 401
        assert client.get("/v1/datasets", headers={"authorization": f"Bearer {token}"}).json() == []
        assert refused(client.get("/v1/datasets", headers={"host": "rebound.example"}))


def test_bodies_beyond_the_limit_are_refused(start_server):
    server = start_server("--max-body", "1")
    with server.client() as client:
        assert client.put("/v1/procedures/p", content=b" " * (1024 * 1024 + 1)).status_code == 413

        def endless():
            for _ in range(64):
                yield b" " * 65536

        assert client.put("/v1/procedures/p", content=endless()).status_code == 413
        assert client.get("/ping").status_code == 200


def test_bodies_that_never_end_are_given_up(start_server):
    server = start_server("--body-timeout", "0.3")
    address = urlsplit(server.url)
    with socket.create_connection((address.hostname, address.port), 10) as slow:
        slow.sendall(b"PUT /v1/procedures/p HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
        begun = time.monotonic()
        assert slow.recv(100).startswith(b"HTTP/1.1 408")
        assert time.monotonic() - begun < SOON


@pytest.mark.parametrize(
    "content",
    [b'{"type":' * 5000, b"[" * 100000 + b"]" * 100000, b'{"type": NaN}', b"\xff\xfe", b'"\\ud800"', b"{,}"],
)
def test_hostile_json_is_a_400(client, content):
    answer = client.put("/v1/procedures/p", content=content)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("JSON Parsing error: [")


@pytest.mark.parametrize("path", ["/v1/datasets/%ff", "/v1/datasets/%C3%28"])
def test_broken_percent_encoding(client, path):
    assert client.get(path).status_code == 400


def test_ids_have_a_length(client):
    assert client.put("/v1/procedures/" + "x" * 1001, json={"type": "null"}).status_code == 400
    assert client.put("/v1/procedures/a%00b", json={"type": "null"}).status_code == 400
    assert client.put("/v1/procedures/" + "x" * 1000, json={"type": "null"}).status_code == 201


def test_pages_have_a_strict_policy(client):
    for path in ("/", "/static/landing.css", "/static/nothing"):
        headers = client.get(path).headers
        assert "script-src 'self'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
    assert client.get("/ping").headers["x-content-type-options"] == "nosniff"
    assert "<script>" not in client.get("/").text


def test_browsers_find_an_icon(client):
    for path in ("/favicon.ico", "/static/icon.svg"):
        answer = client.get(path)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "image/svg+xml")


def test_pages_hold_nothing_of_the_request_or_the_data(client):
    """What the console shows it fetches as JSON and puts in as text: no page is put together from names."""
    client.put("/v1/plugins/%3Cscript%3Ealert(1)%3C%2Fscript%3E", json={"type": "nope"})
    for path in (
        "/",
        "/console/%3Cscript%3Ealert(1)%3C%2Fscript%3E",
        "/console/datasets/x?q=<script>alert(1)</script>",
    ):
        assert "alert(1)" not in client.get(path).text
    client.delete("/v1/plugins/%3Cscript%3Ealert(1)%3C%2Fscript%3E")


@pytest.mark.parametrize(
    "path",
    [
        "/static/../pyproject.toml", "/static/%2e%2e/pyproject.toml", "/static/..%2fpyproject.toml",
        "/static/%2e%2e%2fpyproject.toml", "/static/%252e%252e%252fpyproject.toml", "/static/..\\pyproject.toml",
        "/static//etc/passwd", "/static/%2fetc/passwd", "/static/..%5c..%5cpyproject.toml", "/static/%00",
        "/static/./../pyproject.toml", "/static/" + "a" * 5000, "/static/..%c0%afpyproject.toml",
        "/static/C:/windows", "/static/.../pyproject.toml", "/static/%2e%2e/%2e%2e/etc/passwd",
    ],
)  # fmt: skip
def test_static_files_stay_in_their_folder(server, path):
    address = urlsplit(server.url)
    with socket.create_connection((address.hostname, address.port), 10) as raw:
        raw.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while chunk := raw.recv(65536):
            answer += chunk
    assert answer.split()[1] in (b"404", b"400", b"405"), answer[:200]
    assert b"root:" not in answer
    assert b"build-system" not in answer


@pytest.mark.parametrize(
    ("header", "name"),
    [("LocalHost:80", "localhost"), ("[::1]:80", "::1"), ("[::1]", "::1"), ("::1", "::1"), ("a.b", "a.b"), ("", "")],
)
def test_host_name(header, name):
    assert host_name(header) == name


def test_a_proxy_name_can_be_allowed():
    gate = Gate(Settings(host="0.0.0.0", allowed_host=["mldb.example"], token="t"))
    good = {"host": "mldb.example", "authorization": "Bearer t"}
    assert gate.check("GET", "/ping", "", good) is None
    assert isinstance(gate.check("GET", "/ping", "", good | {"host": "other.example"}), Refusal)
    assert isinstance(gate.check("GET", "/x", "token=t", {"host": "mldb.example"}), Login)


@pytest.mark.parametrize("path", ["//evil.example", "///evil.example/x"])
def test_the_redirect_after_login_stays_here(path):
    gate = Gate(Settings(token="t"))
    login = gate.check("GET", path, "token=t", {"host": "localhost"})
    assert isinstance(login, Login)
    assert login.location.startswith("/evil")


def test_a_browser_signs_in(start_server):
    """A page leads to the form; the form takes the token for a cookie; a wrong token gets nothing."""
    server = start_server("--token", "sésame")
    with server.client() as client:
        asked = client.get("/logs/mldb?level=error", headers={"accept": "text/html"})
        assert (asked.status_code, asked.headers["location"]) == (303, "/login?next=%2Flogs%2Fmldb%3Flevel%3Derror")
        form = client.get(asked.headers["location"])
        assert form.status_code == 200
        assert "form-action 'self'" in form.headers["content-security-policy"]
        assert 'value="/logs/mldb?level=error"' in form.text
        assert client.get("/static/landing.css").status_code == 200
        wrong = client.post("/login", data={"token": "x", "next": '"><script>'})
        assert (wrong.status_code, "set-cookie" in wrong.headers, "<script>" in wrong.text) == (403, False, False)
        evil = {"origin": "https://evil.example"}
        assert refused(client.post("/login", data={"token": "sésame"}, headers=evil))
        assert client.post("/login", data={"token": "x" * 10_000}).status_code == 413
        assert client.get("/?token=x", headers={"accept": "text/html"}).headers["location"] == "/login?next=%2F"
        good = client.post("/login", data={"token": "sésame", "next": "/logs/mldb?level=error"})
        assert (good.status_code, good.headers["location"]) == (303, "/logs/mldb?level=error")
        assert "HttpOnly; SameSite=Strict" in good.headers["set-cookie"]
        assert client.get("/v1/datasets", headers={"authorization": "", "cookie": "mldb_session=x"}).status_code == 401
        assert client.get("/v1/datasets").status_code == 200  # the client kept the cookie
        metrics = client.get("/metrics").text.splitlines()
        # The wrong tokens of the form and of the address, the form from elsewhere, the large one, the wrong cookie.
        counted = sorted(line for line in metrics if line.startswith("mldb_requests_refused_total"))
        assert counted == [
            f'mldb_requests_refused_total{{status="{status}"}} {count}.0'
            for status, count in ((401, 2), (403, 2), (413, 1))
        ]


@pytest.mark.parametrize(
    ("headers", "secure"),
    [
        ({}, False),
        ({"origin": "http://localhost:8080"}, False),
        ({"origin": "https://mldb.example"}, True),
        ({"x-forwarded-proto": "https"}, True),
        ({"x-forwarded-proto": "http"}, False),
    ],
)
def test_the_session_behind_tls_keeps_to_tls(headers, secure):
    gate = Gate(Settings(token="t", allowed_host=["mldb.example"]))
    login = gate.sign_in("t", "/", headers)
    assert login is not None
    assert login.cookie.endswith("; Secure") is secure
    if "origin" not in headers:
        login = gate.check("GET", "/", "token=t", {"host": "mldb.example", **headers})
        assert isinstance(login, Login)
        assert login.cookie.endswith("; Secure") is secure


@pytest.mark.parametrize(
    "target", ["//evil.example", "/\\evil.example", "\\\\evil.example", "https://evil.example", "/a\r\nb: c"]
)
def test_sign_in_goes_to_own_paths_only(target):
    login = Gate(Settings(token="t")).sign_in("t", target, {})
    assert login is not None
    assert login.location.startswith("/")
    assert login.location[1:2] not in ("/", "\\")
    assert not set(login.location) & set("\r\n\\")


@pytest.mark.parametrize(
    "ranges",
    ["bytes=0-0", "bytes=-5", "bytes=" + ",".join("0-" for _ in range(5000)), "bytes=9-1", "bytes=a-b", "lines=1-2"],
)
def test_hostile_ranges(client, ranges):
    """Ranges that overlap a thousand times are no lever: an answer is never larger than the file."""
    whole = client.get("/static/landing.css")
    answer = client.get("/static/landing.css", headers={"range": ranges})
    assert answer.status_code in (200, 206, 400, 416)
    assert len(answer.content) <= len(whole.content)
