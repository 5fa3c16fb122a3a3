"""Pages of plugins and the token: they come from an origin of their own, with a session that opens what pages need."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import httpx
import pytest

from server.http.plugin_origin import PluginOrigin, page_may
from server.http.security import Gate, Login, Refusal
from server.settings import Settings
from tests.waiting import PATIENCE, until

ROUTES = "request.set_return(request.headers)"
PAGE = {"accept": "text/html,*/*"}
INDEX = "/v1/plugins/app/routes/static/index.html"


def add_plugin(data_dir, page):
    folder = data_dir / "plugins" / "app"
    (folder / "static").mkdir(parents=True)
    (folder / "main.py").write_text("mldb.plugin.serve_static_folder('/static', 'static')\n")
    (folder / "routes.py").write_text(ROUTES)
    (folder / "static" / "index.html").write_text(page)


def ready(client):
    until(lambda: client.get("/readyz").status_code == 200 and client.get("/v1/plugins").json() == ["app"])


@pytest.fixture
def with_token(start_server, tmp_path):
    add_plugin(tmp_path / "data", "<p>hello")
    server = start_server("--token", "secret")
    with server.client() as client:
        client.headers["authorization"] = "Bearer secret"
        ready(client)
    return server


@pytest.fixture
def console(with_token):
    """A browser that is signed in; cookies go to every port of the host, as in browsers."""
    with httpx.Client(base_url=with_token.url, timeout=PATIENCE) as client:
        assert client.post("/login", data={"token": "secret", "next": "/"}).status_code == 303
        yield client


def entered(console):
    """The browser has opened the plugin's page; the address of the plugin origin."""
    gone = console.get(INDEX, headers=PAGE)
    assert gone.status_code == 303
    first = console.get(gone.headers["location"], headers=PAGE)
    assert (first.status_code, first.headers["location"]) == (303, INDEX)
    address = urlsplit(gone.headers["location"])
    return f"{address.scheme}://{address.netloc}"


def test_a_page_of_a_plugin_leads_to_its_own_origin(console, with_token):
    origin = entered(console)
    assert origin != with_token.url
    assert urlsplit(origin).hostname == urlsplit(with_token.url).hostname
    assert console.get(origin + INDEX, headers=PAGE).text == "<p>hello"
    assert console.get(f"{origin}/v1/query", params={"q": "SELECT 1 AS x"}).status_code == 200
    assert console.post(f"{origin}/v1/plugins/app/routes/any").status_code == 200


def test_the_page_session_opens_what_pages_need_and_no_more(console):
    origin = entered(console)
    for verb, path in [
        ("PUT", "/v1/procedures/p"), ("PUT", "/v1/plugins/evil"), ("POST", "/v1/plugins"),
        ("DELETE", "/v1/plugins/app"),
        ("POST", "/v1/types/plugins/python/routes/run"), ("GET", "/v1/credentials"), ("POST", "/v1/shutdown"),
        ("POST", "/v1/plugins/app/reload"), ("GET", "/logs/mldb"), ("PUT", "/v1/datasets/d"), ("GET", "/"),
        ("POST", "/login"), ("GET", "/login"), ("GET", "/v1/redirect/get"), ("GET", "/nowhere"),
    ]:  # fmt: skip
        answer = console.request(verb, origin + path)
        assert answer.status_code == 403, (verb, path)
        assert "pages of plugins may" in answer.json()["error"]
    assert console.get(f"{origin}/favicon.ico").status_code == 200  # which browsers ask for beside each page


def test_neither_session_counts_at_the_other_origin(console, with_token):
    origin = entered(console)
    page = {"cookie": f"mldb_page={console.cookies['mldb_page']}"}
    session = {"cookie": f"mldb_session={console.cookies['mldb_session']}"}
    for base, cookie in ((with_token.url, page), (origin, session), (origin, {})):
        assert httpx.get(f"{base}/v1/datasets", headers=cookie).status_code == 401
    assert httpx.get(f"{origin}/v1/datasets", headers=page).status_code == 200
    assert httpx.get(f"{with_token.url}/v1/datasets", headers=session).status_code == 200
    from_page = session | {"origin": origin}
    assert httpx.post(f"{with_token.url}/v1/plugins", headers=from_page, json={}).status_code == 403


def test_who_is_not_signed_in_is_led_to_the_console(with_token):
    with httpx.Client(base_url=with_token.url, timeout=PATIENCE) as client:
        asked = client.get(INDEX, headers=PAGE)
        assert asked.headers["location"].startswith("/login?next=")
        client.post("/login", data={"token": "secret", "next": "/"})
        origin = re.match(r"http://[^/]+", client.get(INDEX, headers=PAGE).headers["location"])
        assert origin is not None
        back = httpx.get(f"{origin[0]}{INDEX}?a=1", headers=PAGE)
        assert (back.status_code, back.headers["location"]) == (303, f"{with_token.url}{INDEX}?a=1")


def test_plugin_code_sees_no_credentials_of_its_visitors(console, with_token):
    origin = entered(console)
    console.cookies.set("own", "kept")
    for base in (origin, with_token.url):
        answer = console.get(f"{base}/v1/plugins/app/routes/x", headers={"authorization": "Bearer secret", "x-a": "b"})
        seen = answer.json()
        assert seen["cookie"] == "own=kept"
        assert seen["x-a"] == "b"
        assert "authorization" not in seen
        assert "secret" not in answer.text


def test_without_a_token_all_is_one_origin(start_server, tmp_path):
    add_plugin(tmp_path / "data", "<p>hello")
    server = start_server()
    with server.client() as client:
        ready(client)
        assert client.get(INDEX, headers=PAGE).text == "<p>hello"
        assert client.get("/v1/plugins/app/routes/x", headers={"cookie": "a=b"}).json()["cookie"] == "a=b"


def test_a_port_that_is_taken_is_told(start_server, with_token):
    taken = urlsplit(with_token.url).port
    with pytest.raises(AssertionError, match=f"port {taken} for the pages of plugins.*plugin-port"):
        start_server("--token", "t", "--plugin-port", str(taken), data_dir=with_token.data_dir / "other")


def test_a_name_of_its_own_behind_a_proxy():
    settings = Settings(token="t", allowed_host=["mldb.example"], plugin_origin="https://apps.example")
    gate = Gate(settings)
    signed_in = gate.sign_in("t", "/", {})
    assert signed_in is not None
    session = {"cookie": signed_in.cookie.partition(";")[0], "accept": "text/html"}
    entrance = gate.check("GET", "/v1/plugins/a/routes/x", "k=v", {"host": "mldb.example", **session})
    assert isinstance(entrance, Login)
    assert entrance.location.startswith("https://apps.example/v1/plugins/a/routes/x?k=v&mldb_ticket=")
    query = entrance.location.partition("?")[2]
    opened = gate.check("GET", "/v1/plugins/a/routes/x", query, {"host": "apps.example"})
    assert isinstance(opened, Login)
    assert opened.location == "/v1/plugins/a/routes/x?k=v"
    assert "Secure" in opened.cookie
    page = {"host": "apps.example", "cookie": opened.cookie.partition(";")[0]}
    assert gate.check("GET", "/v1/plugins/a/routes/x", "", page) is None
    assert isinstance(gate.check("PUT", "/v1/plugins/a", "", page), Refusal)
    assert isinstance(gate.check("GET", "/v1/plugins/a", "", page | {"host": "mldb.example"}), Refusal)


@pytest.mark.parametrize("ticket", ["", ".", "1.x", "page.{page}", "99999999999.{page}", "é.é", "%00.%00", "0.{zero}"])
def test_tickets_that_are_none(ticket):
    origin = PluginOrigin(Settings(token="t"), "t")
    old = origin.entrance("localhost:1", "/x", "").partition("mldb_ticket=")[2].partition(".")[2]
    forged = ticket.format(page=origin.session, zero=old)
    assert origin.redeemed("/x", f"mldb_ticket={forged}") is None


@pytest.mark.parametrize("path", ["//evil.example/x", "/\\evil.example", "/v1/plugins/a/routes/x\r\ny", "/é\udcff"])
def test_redirects_stay_here(path):
    origin = PluginOrigin(Settings(token="t", plugin_port=9), "t")
    entrance = origin.entrance("localhost:1", path, "")
    assert entrance.startswith("http://localhost:9/")
    assert "\r" not in entrance
    assert entrance.isascii()
    clean = origin.redeemed(path, entrance.partition("?")[2])
    assert clean is not None
    assert not clean.startswith(("//", "/\\"))


@pytest.mark.parametrize(
    "path",
    ["//v1/query", "/v1//query", "/v1/plugins", "/v1/plugins/a", "/v1/plugins/a/", "/v1/plugins//routes", "/v1/%71uery",
     "/v1/plugins/a/%72outes/x", "/V1/query", "/v1/query/../credentials", "/v1/functions/f/application/x", "", "/v1"],
)  # fmt: skip
def test_no_spelling_lets_a_page_write(path):
    assert not page_may("BREW", path) or path == "/v1/plugins//routes"
    assert not page_may("POST", path) or path == "/v1/plugins//routes"  # which is no plugin's
