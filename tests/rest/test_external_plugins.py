"""``experimental.external``: plugins that are HTTP servers of their own (entity-types.md §5)."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from tests.rest.test_plugin_folders import told
from tests.waiting import SOON, until

SERVER = """
import json, os, signal, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    def handle_any(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
        answers = {"/ping": "pong", "/status": {"pid": os.getpid()}, "/version": {"revision": "7"}}
        if self.path in answers:
            answer, code = answers[self.path], 200
        elif self.path.startswith("/doc/"):
            answer, code = "read me", 200
        elif self.path == "/routes/short":
            self.wfile.write(b"HTTP/1.1 200 OK\\r\\ncontent-length: 100\\r\\n\\r\\nshort")
            self.close_connection = True
            return
        elif self.path == "/routes/both":
            head = b"HTTP/1.1 200 OK\\r\\ncontent-length: 9\\r\\ntransfer-encoding: chunked\\r\\n\\r\\n"
            self.wfile.write(head + b"3\\r\\nabc\\r\\n0\\r\\n\\r\\n")
            return
        elif self.path == "/routes/999":
            self.wfile.write(b"HTTP/1.1 999 What\\r\\ncontent-length: 0\\r\\n\\r\\n")
            return
        elif self.path.startswith("/routes/stream"):
            return self.stream()
        elif self.path == "/routes/flood":
            os.write(1, b"flood\\n" * 30_000)
            answer, code = "done", 200
        else:
            seen = {name.lower(): value for name, value in self.headers.items()}
            answer, code = {"path": self.path, "verb": self.command, "body": body, "seen": seen}, 202
        sent = json.dumps(answer).encode()
        self.send_response(code)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(sent)))
        self.send_header("x-mine", "yes")
        self.send_header("set-cookie", "a=b")
        self.end_headers()
        self.wfile.write(sent)

    def stream(self):
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("content-encoding", "none")
        self.end_headers()
        try:
            for number in range(int(self.path.rpartition("/")[2])):
                self.wfile.write(b"%-1048576d" % number)
        except OSError:
            print("the visitor of the stream has gone", flush=True)

    do_GET = do_POST = do_PUT = do_DELETE = handle_any
    def log_message(self, *_): pass

def hang_up(*_):
    open(sys.argv[1], "w").write("hung up")
    os._exit(0)

signal.signal(signal.SIGHUP, hang_up)
server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print("some words first", sorted(name for name in os.environ if name.startswith("MLDB_")), flush=True)
print(f"MLDB PLUGIN http http://127.0.0.1:{server.server_port}", flush=True)
print("and later", flush=True)
server.serve_forever()
"""


def config(*command: str, **params) -> dict:
    startup = {"type": "subprocess", "params": {"command": {"commandLine": list(command)}}}
    return {"type": "experimental.external", "params": {"startup": startup, **params}}


@pytest.fixture
def script(tmp_path) -> Path:
    (tmp_path / "server.py").write_text(SERVER)
    return tmp_path / "server.py"


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_its_life(client, script, tmp_path):
    goodbye = tmp_path / "goodbye"
    assert client.put("/v1/plugins/own", json=config(sys.executable, str(script), str(goodbye))).status_code == 201
    shown = client.get("/v1/plugins/own").json()
    assert shown["type"] == "experimental.external"
    pid = shown["status"]["pid"]
    answer = client.post(
        "/v1/plugins/own/routes/a/b?x=1", content="é", headers={"cookie": "secret=1", "x-asked": "this"}
    )
    assert answer.status_code == 202
    assert (answer.headers["x-mine"], "set-cookie" in answer.headers) == ("yes", False)
    seen = answer.json()
    assert (seen["path"], seen["verb"], seen["body"]) == ("/routes/a/b?x=1", "POST", "é")
    assert seen["seen"]["x-asked"] == "this"
    assert "cookie" not in seen["seen"]
    assert client.get("/v1/plugins/own/doc/index.html").json() == "read me"
    assert client.get("/v1/plugins/own/version").json() == {"revision": "7"}
    log = until(lambda: (text := client.get("/logs/mldb", params={"source": "own", "format": "text"}).text)
                and "and later" in text and text)  # fmt: skip
    assert "some words first []" in log
    assert client.delete("/v1/plugins/own").status_code == 204
    until(goodbye.exists)
    until(lambda: not is_alive(pid))


def test_consoles_are_told_how_it_is(client, script, tmp_path):
    client.put("/v1/plugins/shown", json=config(sys.executable, str(script), str(tmp_path / "end")))
    assert client.get("/v1/plugins/shown/routes/x").status_code == 202
    report = told(client, "shown", lambda report: report["requests"]["total"] == 1)
    assert (report["state"], report["requests"]["failed"], "lastError" in report) == ("serving", 0, False)
    os.kill(client.get("/v1/plugins/shown").json()["status"]["pid"], signal.SIGKILL)
    until(lambda: client.get("/v1/plugins/shown/routes/y").status_code == 502)
    report = told(client, "shown", lambda report: report["state"] == "ended" and "lastError" in report)
    assert report["lastFailure"]["message"].startswith("the plugin ended with ")
    assert report["lastError"]["request"] == "GET /routes/y"
    assert "cannot be reached" in report["lastError"]["message"]


def test_it_ends_with_a_killed_server(start_server, script, tmp_path):
    server = start_server()
    with server.client() as client:
        client.must("PUT", "/v1/plugins/own", config(sys.executable, str(script), str(tmp_path / "goodbye")))
        pid = client.get("/v1/plugins/own").json()["status"]["pid"]
    server.kill()
    until((tmp_path / "goodbye").exists)
    until(lambda: not is_alive(pid))


def test_one_that_dies_is_told(client, script, tmp_path):
    client.must("PUT", "/v1/plugins/dies", config(sys.executable, str(script), str(tmp_path / "goodbye")))
    os.kill(client.get("/v1/plugins/dies").json()["status"]["pid"], signal.SIGKILL)
    until(lambda: client.get("/v1/plugins/dies").json()["status"].get("state") == "ended")
    assert client.get("/v1/plugins/dies/routes/x").status_code == 502
    assert client.delete("/v1/plugins/dies").status_code == 204


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (["/no/such/program"], "ended with 127"),
        ([sys.executable, "-c", "raise SystemExit(3)"], "ended with 3"),
        ([sys.executable, "-c", "print('MLDB PLUGIN http ftp://x', flush=True); input()"], "not http"),
        (["sh", "-c", "echo MLDB PLUGIN http http://127.0.0.1:9; sleep 60"], "does not answer GET /ping"),
    ],
)  # fmt: skip
def test_what_cannot_be_started(client, command, reason):
    answer = client.put("/v1/plugins/fails", json=config(*command))
    assert answer.status_code == 400
    assert reason in answer.json()["error"]


def test_one_that_never_says_where_it_listens(start_server):
    server = start_server("--start-timeout", "1")
    with server.client() as client:
        answer = client.put("/v1/plugins/mute", json=config("sleep", "60"))
        assert answer.status_code == 400
        assert "start-timeout" in answer.json()["error"]


def test_the_setup_comes_first(client, script, tmp_path):
    made = tmp_path / "made"
    setup = {"type": "subprocess", "params": {"command": ["touch", str(made)]}}
    client.must("PUT", "/v1/plugins/ready", config(sys.executable, str(script), str(tmp_path / "bye"), setup=setup))
    assert made.exists()
    client.must("DELETE", "/v1/plugins/ready")
    setup = {"type": "subprocess", "params": {"command": ["false"]}}
    answer = client.put("/v1/plugins/ready", json=config("true", setup=setup))
    assert "the setup of the plugin ended with 1" in answer.json()["error"]


def test_a_setup_can_be_cancelled(client):
    sleep = f"120.{os.getpid()}"  # known from those of other runs of the tests
    setup = {"type": "subprocess", "params": {"command": ["sh", "-c", f"echo setting up; exec sleep {sleep}"]}}
    answer = client.put("/v1/plugins/slow", json=config("true", setup=setup), headers={"async": "true"})
    assert answer.status_code == 202
    log = {"source": "slow", "format": "text"}
    until(lambda: "setting up" in client.get("/logs/mldb", params=log).text)
    assert client.get("/v1/plugins/slow").json()["state"] == "executing"
    began = time.monotonic()
    assert client.delete("/v1/plugins/slow").status_code == 204
    assert time.monotonic() - began < SOON
    until(lambda: not running(["sleep", sleep]))


def running(command: list[str]) -> bool:
    wanted = "\0".join([*command, ""])
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if process.read_text() == wanted:
                return True
    return False


def test_metrics_do_not_ask_it(client, script, tmp_path):
    """It may be slow to tell its status."""
    config_ = config(sys.executable, str(script), str(tmp_path / "bye"))
    pid = client.must("PUT", "/v1/plugins/stopped", config_)["status"]["pid"]
    os.kill(pid, signal.SIGSTOP)

    def seconds():
        began = time.monotonic()
        assert 'mldb_entities{kind="plugin",state="ok"}' in client.get("/metrics").text
        return time.monotonic() - began

    try:
        assert min(seconds() for _ in range(3)) < 1.9  # its status is waited for two seconds
    finally:
        os.kill(pid, signal.SIGCONT)
    client.must("DELETE", "/v1/plugins/stopped")


def test_a_setup_that_never_ends(start_server):
    sleep = f"121.{os.getpid()}"
    server = start_server("--start-timeout", "1")
    with server.client() as client:
        setup = {"type": "subprocess", "params": {"command": ["sleep", sleep]}}
        answer = client.put("/v1/plugins/slow", json=config("true", setup=setup))
        assert answer.status_code == 400
        assert "start-timeout" in answer.json()["error"]
    until(lambda: not running(["sleep", sleep]))


def test_answers_are_handed_on_as_they_come(client, script, tmp_path):
    client.must("PUT", "/v1/plugins/streams", config(sys.executable, str(script), str(tmp_path / "bye")))
    routes = "/v1/plugins/streams/routes"
    whole = client.get(f"{routes}/stream/40")
    assert (len(whole.content), whole.headers["content-type"]) == (40 << 20, "text/event-stream")
    with client.stream("GET", f"{routes}/stream/1000000000") as endless:
        first = next(endless.iter_bytes())
    assert first.startswith(b"0  ")
    log = {"source": "streams", "format": "text"}
    until(lambda: "the visitor of the stream has gone" in client.get("/logs/mldb", params=log).text)
    client.must("DELETE", "/v1/plugins/streams")


def test_one_that_is_deleted_while_it_streams(client, script, tmp_path):
    client.must("PUT", "/v1/plugins/gone", config(sys.executable, str(script), str(tmp_path / "bye")))
    with client.stream("GET", "/v1/plugins/gone/routes/stream/1000000000") as endless:
        pieces = endless.iter_bytes()
        next(pieces)
        client.must("DELETE", "/v1/plugins/gone")
        with pytest.raises(httpx.HTTPError):
            sum(map(len, pieces))
    log = {"source": "server", "format": "text"}
    text = until(lambda: (text := client.get("/logs/mldb", params=log).text) and "broke off" in text and text)
    assert "Traceback" not in text


def test_code_in_process_takes_answers_whole(start_server, script, tmp_path):
    server = start_server("--max-body", "8")
    with server.client() as client:
        client.must("PUT", "/v1/plugins/streams", config(sys.executable, str(script), str(tmp_path / "bye")))
        ask = (
            "answer = mldb.perform('GET', '/v1/plugins/streams/routes/stream/' + mldb.script.args)\n"
            "mldb.script.set_return([answer['statusCode'], len(answer['response']), answer['response'][-100:]])"
        )
        run = "/v1/types/plugins/python/routes/run"
        assert client.post(run, json={"source": ask, "args": "2"}).json()["result"][:2] == [200, 2 << 20]
        code, _, text = client.post(run, json={"source": ask, "args": "1000000000"}).json()["result"]
        assert (code, "max-body" in text) == (502, True)


def test_odd_answers_and_paths(client, script, tmp_path):
    client.must("PUT", "/v1/plugins/odd", config(sys.executable, str(script), str(tmp_path / "bye")))

    def get(path):
        url = client.base_url.copy_with(raw_path=f"/v1/plugins/odd/routes{path}".encode())
        return client.get(httpx.URL(url))

    with pytest.raises(httpx.RemoteProtocolError, match="complete message body"):
        get("/short")
    log = {"source": "server", "format": "text"}
    text = until(lambda: (text := client.get("/logs/mldb", params=log).text) and "broke off" in text and text)
    assert "Traceback" not in text
    both = get("/both")
    assert (both.text, len(both.headers.get_list("date")), "server" in both.headers) == ("abc", 1, False)
    assert (get("/999").status_code, get("/a%2Fb%23c").json()["path"]) == (502, "/routes/a%2Fb%23c")
    client.must("DELETE", "/v1/plugins/odd")


def test_paths_do_not_lead_out_of_the_routes(client, script, tmp_path):
    client.must("PUT", "/v1/plugins/odd", config(sys.executable, str(script), str(tmp_path / "bye")))
    with socket.create_connection((client.base_url.host, client.base_url.port)) as link:
        link.sendall(b"GET /v1/plugins/odd/routes/../status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert b"leads nowhere" in link.makefile("rb").read()
    client.must("DELETE", "/v1/plugins/odd")


def test_a_flood_of_output(client, script, tmp_path):
    client.must("PUT", "/v1/plugins/floods", config(sys.executable, str(script), str(tmp_path / "bye")))
    assert client.get("/v1/plugins/floods/routes/flood").json() == "done"
    log = {"source": "floods", "format": "text", "limit": "100000"}
    text = until(lambda: (text := client.get("/logs/mldb", params=log).text) and "were dropped" in text and text)
    assert text.count("flood") < 20000
    client.must("DELETE", "/v1/plugins/floods")


@pytest.mark.parametrize("type_", ["sharedLibrary", "experimental.docker"])
def test_types_that_cannot_be_had_say_what_to_use_instead(client, type_):
    answer = client.put("/v1/plugins/no", json={"type": type_, "params": {"address": "x"}})
    assert answer.status_code == 400
    assert "experimental.external" in answer.json()["error"]
