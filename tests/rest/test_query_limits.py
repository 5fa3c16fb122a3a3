"""Queries end at once after a cancel, at a limit, or when their client goes, whatever they are busy with."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from urllib.parse import urlencode, urlsplit

import httpx
import psutil
import pytest

from server.app import Server
from server.entities.routes import Call as DispatchCall
from server.errors import MldbError
from server.http import limits
from server.http.security import Gate
from server.messages import Request
from server.settings import Settings
from server.shutdown import Shutdown
from tests.conftest import Client, RunningServer
from tests.waiting import PATIENCE, SOON, until

# Ways of keeping a query busy: DuckDB itself, a script of V8, Python below a user function, slow rows of Python's.
JOIN = "SELECT count(*) FROM (SELECT * FROM many AS a JOIN many AS b ON a.x != b.x JOIN many AS c ON b.x != c.x)"
SCRIPT = "SELECT jseval('while (true) {}', 'x', x) AS y FROM many"
FETCH = "SELECT fetcher(url) AS content FROM (SELECT '%s' AS url FROM many)"

# Each row takes --regex-time: the reference back makes it a pattern that DuckDB's own engine cannot take.
HOSTILE = r"(a|a)+\1x"
PATTERNS = f"SELECT try(regex_search('{'a' * 60}' + x, '{HOSTILE}'), 0) AS y FROM many"
FLAGS = ("--fetch-private", "true", "--jseval-time", "30", "--regex-time", "0.2")


def fill(client: Client) -> None:
    client.put("/v1/datasets/many", json={"type": "tabular"})
    client.post("/v1/datasets/many/multirows", json=[[f"r{n}", [["x", n, 0]]] for n in range(3000)])
    assert client.post("/v1/datasets/many/commit").status_code == 200
    spin = {"type": "sql.expression", "params": {"expression": "jseval('while (true) {}', 'x', x) AS y"}}
    assert client.put("/v1/functions/spin", json=spin).status_code == 201
    pairs = {"left": "many AS a", "right": "many AS b", "on": "a.x != b.x"}
    assert client.put("/v1/datasets/pairs", json={"type": "joined", "params": pairs}).status_code == 201
    triples = {"left": "pairs AS p", "right": "many AS c", "on": "p.a.x != c.x"}
    assert client.put("/v1/datasets/triples", json={"type": "joined", "params": triples}).status_code == 201


@pytest.fixture(scope="module")
def silent():
    """A web server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"


@pytest.fixture(scope="module")
def limited(tmp_path_factory):
    server = RunningServer(tmp_path_factory.mktemp("limited") / "data", "--query-timeout", "1", *FLAGS)
    with server.client() as client:
        fill(client)
        yield client
    server.stop()


@pytest.fixture(scope="module")
def narrow(tmp_path_factory):
    server = RunningServer(tmp_path_factory.mktemp("narrow") / "data", "--result-size", "1")
    with server.client() as client:
        fill(client)
        yield client
    server.stop()


@pytest.fixture(scope="module")
def patient(tmp_path_factory):
    server = RunningServer(tmp_path_factory.mktemp("patient") / "data", *FLAGS)
    with server.client() as client:
        fill(client)
        client.server = server
        yield client
    server.stop()


@pytest.fixture(params=["join", "script", "fetch", "scripts in a function", "slow rows"])
def busy(request, silent):
    texts = {
        "join": JOIN,
        "script": SCRIPT,
        "fetch": FETCH % silent,
        "scripts in a function": "SELECT try(jseval('while (true) {}', 'x', x), 0) AS y FROM many",
        "slow rows": PATTERNS,
    }
    return texts[request.param]


def ask(client: Client, text: str, **headers: str) -> httpx.Response:
    return httpx.get(f"{client.base_url}/v1/query", params={"q": text}, headers=headers, timeout=PATIENCE)


@contextmanager
def asked_and_left(client: Client, path: str) -> Iterator[None]:
    """A request whose client goes away, without the answer, when the block ends."""
    address = urlsplit(str(client.base_url))
    with socket.create_connection((address.hostname, address.port), PATIENCE) as link:
        link.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        yield


def idle(server: RunningServer) -> bool:
    """Whether the host leaves the processor alone."""
    return psutil.Process(server.process.pid).cpu_percent(0.3) < 50


def test_time(limited, busy):
    begun = time.monotonic()
    answer = ask(limited, busy)
    assert answer.status_code == 408, answer.text
    assert "longer than the 1 s that the setting query-timeout allows" in answer.json()["error"]
    assert time.monotonic() - begun < 1 + SOON
    assert limited.get("/v1/queries").json() == []


def test_size(narrow):
    text = f"SELECT '{'x' * 500}' AS a FROM many"
    for headers in ({}, {"accept": "application/vnd.apache.arrow.stream"}):
        small = ask(narrow, f"{text} LIMIT 1000", **headers)
        assert small.status_code == 200
        large = ask(narrow, text, **headers)
        assert large.status_code == 413, large.text[:300]
        assert "more than the 1 MiB that the setting result-size allows" in large.json()["error"]
        assert "LIMIT" in large.json()["error"]


def test_cancel(patient, busy):
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(ask, patient, busy, **{"x-query-id": "mine"})
        until(lambda: patient.get("/v1/queries/mine").status_code == 200)
        time.sleep(0.3)
        assert patient.get("/v1/queries/mine").json()["query"] == busy
        begun = time.monotonic()
        assert patient.delete("/v1/queries/mine").status_code == 204
        answer = asked.result()
        assert time.monotonic() - begun < SOON
    assert (answer.status_code, answer.json()) == (
        409, {"error": "the query was cancelled by DELETE /v1/queries/mine", "httpCode": 409},
    )  # fmt: skip
    gone = patient.get("/v1/queries/mine")
    assert (gone.status_code, gone.json()["details"]) == (404, {"collection": "queries", "entry": "mine"})


def test_client_that_goes(patient, busy):
    """Nobody waits for the answer: the query goes off the list at once, and the processor is idle."""
    with asked_and_left(patient, f"/v1/query?{urlencode({'q': busy})}"):
        until(lambda: len(patient.get("/v1/queries").json()) == 1)
        time.sleep(0.3)  # it is at work
    until(lambda: patient.get("/v1/queries").json() == [], seconds=SOON)
    until(lambda: idle(patient.server))


def test_entries(patient):
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(ask, patient, JOIN, **{"x-query-id": "first"})
        until(lambda: patient.get("/v1/queries/first").status_code == 200)
        taken = ask(patient, "SELECT 1", **{"x-query-id": "first"})
        assert taken.status_code == 409
        assert "another query with this id is running" in taken.json()["error"]
        second = pool.submit(ask, patient, SCRIPT)
        until(lambda: len(patient.get("/v1/queries").json()) == 2)
        until(lambda: (patient.get("/v1/queries/first").json()["progress"] or 0) > 0)
        listed = patient.get("/v1/queries").json()
        assert [entry["query"] for entry in listed] == [JOIN, SCRIPT]
        assert set(listed[0]) == {"id", "query", "started", "elapsed", "progress", "rows"}
        assert 0 < listed[0]["progress"] <= 1
        assert listed[0]["elapsed"] > 0
        for entry in listed:
            assert patient.delete(f"/v1/queries/{entry['id']}").status_code == 204
        assert {first.result().status_code, second.result().status_code} == {409}
    assert patient.query("SELECT count(*) AS n FROM many") == [["_rowName", "n"], ["[]", 3000]]


def test_many_cancels_leave_nothing(patient):
    """Cursors are used again: a cancel that comes late must not hit the next query."""

    def cancel(number: int) -> int:
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(ask, patient, "SELECT count(*) AS n FROM many", **{"x-query-id": f"q{number}"})
            patient.delete(f"/v1/queries/q{number}")
            return asked.result().status_code

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(cancel, range(30))) <= {200, 409}
    assert [ask(patient, "SELECT 1").status_code for _ in range(20)] == [200] * 20


# ── the other ways of asking ──

ROUTES = [
    "/v1/datasets/triples/rows",
    "/v1/datasets/triples/columns",
    "/v1/datasets/triples/columns/c.x/values",
    "/v1/datasets/triples/columns/c.x/valuecounts",
    "/v1/datasets/triples/timestampRange",
    "/v1/datasets/triples/query?select=count(*)",
    "/v1/query/export?q=SELECT%20count(*)%20FROM%20triples",
    "/v1/functions/spin/application?input=%7B%22x%22:1%7D",
    "/v1/functions/spin/batch?input=%5B%7B%22x%22:1%7D%5D",
]


@pytest.mark.parametrize("route", ROUTES)
def test_time_of_routes(limited, route):
    begun = time.monotonic()
    answer = limited.get(route)
    assert answer.status_code == 408, answer.text
    assert "longer than the 1 s that the setting query-timeout allows" in answer.text
    assert time.monotonic() - begun < 1 + SOON
    assert limited.get("/v1/queries").json() == []


@pytest.mark.parametrize("route", ROUTES)
def test_cancel_of_routes(patient, route):
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(httpx.get, f"{patient.base_url}{route}", timeout=PATIENCE)
        until(lambda: len(patient.get("/v1/queries").json()) == 1)
        time.sleep(0.2)
        (entry,) = patient.get("/v1/queries").json()
        if "query" not in route:
            assert entry["query"] == f"GET {route.partition('?')[0]}"
        begun = time.monotonic()
        assert patient.delete(f"/v1/queries/{entry['id']}").status_code == 204
        assert asked.result().status_code == 409
        assert "the query was cancelled by DELETE" in asked.result().text
        assert time.monotonic() - begun < SOON
    until(lambda: idle(patient.server))


@pytest.mark.parametrize("route", ROUTES)
def test_client_of_a_route_that_goes(patient, route):
    with asked_and_left(patient, route):
        until(lambda: len(patient.get("/v1/queries").json()) == 1)
        time.sleep(0.2)  # it is at work
    until(lambda: patient.get("/v1/queries").json() == [], seconds=SOON)
    until(lambda: idle(patient.server))


def test_a_call_that_is_stopped_leaves_those_beside_it(patient):
    """Calls of one function are computed together: a cancel of one must not fail the others."""
    script = "const end = Date.now() + ms; while (Date.now() < end) {} return ms"
    params = {"expression": f"jseval('{script}', 'ms', ms) AS y"}
    assert patient.put("/v1/functions/pick", json={"type": "sql.expression", "params": params}).status_code == 201

    def apply(id: str) -> httpx.Response:
        return httpx.get(
            f"{patient.base_url}/v1/functions/pick/application",
            params={"input": '{"ms": 2500}'}, headers={"x-query-id": id}, timeout=PATIENCE,
        )  # fmt: skip

    with ThreadPoolExecutor(3) as pool:
        calls = [pool.submit(apply, f"call{number}") for number in range(3)]
        until(lambda: len(patient.get("/v1/queries").json()) == 3)
        assert patient.delete("/v1/queries/call1").status_code == 204
        answers = [call.result() for call in calls]
    assert [answer.status_code for answer in answers] == [200, 409, 200]
    assert answers[0].json() == {"output": {"y": 2500}}
    assert patient.get("/v1/queries").json() == []


def test_size_of_routes(narrow):
    rows = [[f"{'r' * 400}{number}", [["x", 1, 0]]] for number in range(3000)]
    narrow.put("/v1/datasets/long", json={"type": "sparse.mutable"})
    narrow.post("/v1/datasets/long/multirows", json=rows)
    narrow.post("/v1/datasets/long/commit")
    assert narrow.get("/v1/datasets/long/rows?limit=100").status_code == 200
    answer = narrow.get("/v1/datasets/long/rows")
    assert answer.status_code == 413
    assert "more than the 1 MiB that the setting result-size allows" in answer.text


# ── patterns that take exponential time ──


@pytest.fixture(scope="module")
def impatient(tmp_path_factory):
    running = RunningServer(tmp_path_factory.mktemp("impatient") / "data", "--regex-time", "0.5")
    yield running
    running.stop()


# A loop that waits for a pattern answers one before it and one after it.
PINGS = 8


def pings_beside(server, work):
    """How many pings were answered while the work was under way; and what it gave."""
    with ThreadPoolExecutor(1) as pool, server.client() as client:
        future = pool.submit(work)
        answered = 0
        while not future.done():
            assert client.get("/ping").status_code == 200
            answered += 1
            time.sleep(0.01)
        return answered, future.result()


def test_hostile_patterns_end(patient):
    def work():
        with patient.server.client() as other:
            text = "a" * 60
            return [
                other.get_json("/v1/query", {"q": f"SELECT {call} AS found"})
                for call in (
                    f"regex_search('{text}', '{HOSTILE}')",
                    f"regex_match('{text}', '{HOSTILE}')",
                    f"regex_replace('{text}', '{HOSTILE}', '')",
                )
            ]

    answered, replies = pings_beside(patient.server, work)
    for reply in replies:
        assert reply.status_code == 400
        assert "regex-time allows" in reply.json()["error"]
    assert answered > PINGS


def test_hostile_patterns_of_imports_end(impatient):
    (impatient.data_dir / "lines.csv").write_text("head\n" + "a" * 60 + "\n")
    params = {"dataFileUrl": "file:///mldb_data/lines.csv", "outputDataset": "lines", "skipLineRegex": HOSTILE}

    def work():
        with impatient.client() as other:
            return other.put("/v1/procedures/lines", json={"type": "import.text", "params": params})

    answered, reply = pings_beside(impatient, work)
    assert reply.status_code == 400
    assert "regex-time allows" in reply.text
    assert answered > PINGS


def spin(running):
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        running.check()
        time.sleep(0.01)


def test_a_query_that_is_begun_again_has_no_more_time(tmp_path):
    """As after a dataset went away under it: the limit counts from the arrival of the request."""
    server = Server(Settings(data_dir=tmp_path, query_timeout=60), Gate(Settings()), Shutdown())
    call = DispatchCall(Request("GET", "/v1/query"), {}, {}, begun=time.monotonic() - 60)
    try:
        with pytest.raises(MldbError, match="query-timeout") as caught, limits.limited(server.host, call) as running:
            spin(running)
        assert caught.value.code == 408
    finally:
        server.database.close()
        server.logs.close()
