"""What who runs a server needs: figures, request ids, traces, backups under load, data roots of earlier versions."""

from __future__ import annotations

import json
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import zstandard
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.rest.test_cli import mldb
from tests.rest.test_survival import wait_restored
from tests.waiting import until


def figures(client) -> dict[str, float]:
    lines = [line for line in client.get("/metrics").text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def test_metrics(client):
    wait_restored(client)
    client.put("/v1/datasets/m", json={"type": "tabular"})
    for _ in range(3):
        client.get("/v1/datasets/m")
    client.get("/v1/datasets/nobody")
    client.put("/v1/procedures/p", json={"type": "mock", "params": {"durationMs": 1}})
    found = figures(client)
    route = 'route="/v1/datasets/{dataset}"'
    assert found[f'mldb_requests_total{{{route},status="200",verb="GET"}}'] == 3
    assert found[f'mldb_requests_total{{{route},status="404",verb="GET"}}'] == 1
    assert found[f'mldb_request_seconds_count{{{route},status="200",verb="GET"}}'] == 3
    assert found[f'mldb_request_seconds_bucket{{le="+Inf",{route},status="404",verb="GET"}}'] == 1
    assert found['mldb_entities{kind="dataset",state="ok"}'] == 1
    assert found['mldb_runs{state="finished"}'] == 1
    assert found["mldb_database_bytes"] > 0
    assert found["process_resident_memory_bytes"] > 0
    assert not any("nobody" in name for name in found)


def test_requests_that_are_refused_are_counted(client):
    before = figures(client).get('mldb_requests_refused_total{status="403"}', 0)
    assert client.get("/v1/datasets", headers={"host": "evil.example"}).status_code == 403
    assert client.put("/v1/datasets/m", content=b"{").status_code == 400
    found = figures(client)
    assert found['mldb_requests_refused_total{status="403"}'] == before + 1


def test_the_log_tells_of_starts_and_stops(start_server):
    server = start_server()
    with server.client() as client:
        ready = f"is ready at {server.url.removeprefix('http://')}, on the data root {server.data_dir}"
        until(lambda: ready in client.get("/logs/mldb", params={"format": "text"}).text)
    server.stop()
    assert "MLDB stops" in (server.data_dir / "logs" / "mldb.log").read_text()


def test_figures_of_plugins(server, client):
    source = {"main": "", "routes": "request.set_return(1)"}
    client.put("/v1/plugins/counted", json={"type": "python", "params": {"source": source}})
    for _ in range(4):
        assert client.get("/v1/plugins/counted/routes/x").json() == 1
    assert figures(client)['mldb_plugin_request_seconds_count{plugin="counted"}'] == 4


def test_request_ids(client):
    made = [client.get(path).headers["x-request-id"] for path in ("/ping", "/v1/nothing", "/logs/mldb", "/v1/types")]
    assert len(set(made)) == 4
    assert client.get("/ping", headers={"x-request-id": "from-the-proxy"}).headers["x-request-id"] == "from-the-proxy"
    for bad in ("a b", "x" * 65, "<script>"):
        assert client.get("/ping", headers={"x-request-id": bad}).headers["x-request-id"] != bad
    source = {"main": "", "routes": "request.set_return(request.headers['x-request-id'])"}
    client.put("/v1/plugins/ids", json={"type": "python", "params": {"source": source}})
    assert client.get("/v1/plugins/ids/routes/x", headers={"x-request-id": "abc"}).json() == "abc"


def test_log_lines_tell_their_request(client):
    answer = client.post(
        "/v1/types/plugins/python/routes/run", json={"source": "1/0"}, headers={"x-request-id": "the-failing-one"}
    )
    assert answer.status_code == 400
    client.put("/v1/procedures/bad", json={"type": "nonsense"}, headers={"x-request-id": "unknown-type"})
    lines = [json.loads(line) for line in client.get("/logs/mldb", params={"format": "jsonl"}).text.splitlines()]
    assert all(line.get("request", "x") for line in lines)


@pytest.fixture
def collector():
    """An OpenTelemetry collector: keeps what is sent to it."""
    spans = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                spans.extend(span for scope in resource.scope_spans for span in scope.spans)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", spans
    server.shutdown()
    server.server_close()


def test_traces_go_through_host_sql_and_workers(start_server, collector):
    address, spans = collector
    server = start_server("--otlp-endpoint", address, environment={"OTEL_BSP_SCHEDULE_DELAY": "100"})
    routes = (
        "asked = mldb.perform('GET', '/v1/query', [['q', 'SELECT 1']])\n"
        "request.set_return([asked['statusCode'], request.headers['traceparent']])"
    )
    with server.client() as client:
        client.put("/v1/plugins/p", json={"type": "python", "params": {"source": {"main": "", "routes": routes}}})
        trace, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
        header = {"traceparent": f"00-{trace}-{parent}-01"}
        status, passed_on = client.get("/v1/plugins/p/routes/x", headers=header).json()
        client.get("/v1/query", params={"q": "SELECT 2"}, headers=header)
        assert status == 200
        assert trace in passed_on

        def mine():
            return {span.name: span for span in spans if span.trace_id.hex() == trace}

        script = {"source": "import time\ntime.sleep(0.05)"}
        client.post("/v1/types/plugins/python/routes/run", json=script, headers=header)
        source = {"main": "1"}
        client.put("/v1/plugins/q", json={"type": "python", "params": {"source": source}}, headers=header)

        until(lambda: {"plugin worker", "routes.py", "script", "main.py", "sql bind", "duckdb"} <= mine().keys())
        request = mine()["GET /v1/plugins/{plugin}/routes/{*}"]
        assert request.parent_span_id.hex() == parent
        assert mine()["plugin worker"].parent_span_id == request.span_id
        code = mine()["routes.py"]
        assert code.parent_span_id == mine()["plugin worker"].span_id
        assert {each.key: each.value.string_value for each in code.attributes}["plugin"] == "p"
        (query,) = (
            each for each in spans if each.parent_span_id == code.parent_span_id and each.name == "GET /v1/query"
        )
        assert code.start_time_unix_nano < query.start_time_unix_nano < query.end_time_unix_nano
        assert query.end_time_unix_nano < code.end_time_unix_nano
        assert mine()["script"].end_time_unix_nano - mine()["script"].start_time_unix_nano > 50_000_000
        queries = [span for span in spans if span.trace_id.hex() == trace and span.name == "GET /v1/query"]
        assert sorted(span.parent_span_id.hex() for span in queries) == sorted(
            [parent, mine()["plugin worker"].span_id.hex()]  # the client's own, and the one that the plugin asked
        )
        assert mine()["duckdb"].parent_span_id in {span.span_id for span in queries}


def test_backup_while_others_write(start_server, tmp_path):
    """Two datasets get the same rows in one order: a consistent copy never has more rows in the second."""
    server = start_server("--file-root", str(tmp_path))
    data = server.data_dir
    (data / "plugins" / "kept").mkdir(parents=True)
    (data / "plugins" / "kept" / "main.py").write_text("mldb.log('kept')\n")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "main.py").write_text("mldb.log('linked')\n")
    (data / "models").mkdir(exist_ok=True)
    (data / "models" / "far").symlink_to(tmp_path / "elsewhere")
    (data / "models" / "near.bin").symlink_to("größe.bin")
    (data / "models" / "größe.bin").write_bytes(b"\0" * 1000)
    for name in ("credentials.json", "credentials.json.new", "uploads/.upload-half"):
        (data / name).parent.mkdir(exist_ok=True)
        (data / name).write_text("{}")
    with server.client() as client:
        linked = {"type": "python", "params": {"address": f"file://{tmp_path / 'elsewhere'}"}}
        assert client.put("/v1/plugins/linked", json=linked).status_code == 201
        for name in ("first", "second"):
            client.put(f"/v1/datasets/{name}", json={"type": "sparse.mutable"})
        stop = threading.Event()
        writer = threading.Thread(target=write_rows, args=(server, stop))
        writer.start()
        until(lambda: client.query("SELECT count(*) AS n FROM second", "atom") > 5)
        done = mldb("backup", str(tmp_path / "b.tar.zst"), "--server", server.url)
        stop.set()
        writer.join()
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "b.tar.zst").stat().st_mode & 0o077 == 0
    assert not any((data / ".scratch").iterdir())
    restored = mldb("restore", str(tmp_path / "b.tar.zst"), "--data-dir", str(tmp_path / "new"))
    assert restored.returncode == 0, restored.stderr
    assert restored.stdout.endswith("left out, as they are links to what is elsewhere: models/far\n")
    assert (tmp_path / "new" / "models" / "near.bin").read_bytes() == b"\0" * 1000
    assert "not empty" in mldb("restore", str(tmp_path / "b.tar.zst"), "--data-dir", str(tmp_path / "new")).stderr
    assert not [*(tmp_path / "new").glob("credentials*"), *(tmp_path / "new").rglob(".upload-*")]
    again = start_server("--file-root", str(tmp_path), data_dir=tmp_path / "new")
    assert (tmp_path / "new" / "models" / "größe.bin").read_bytes() == b"\0" * 1000
    with again.client() as client:
        wait_restored(client)
        first, second = (client.query(f"SELECT count(*) AS n FROM {name}", "atom") for name in ("first", "second"))
        assert first - 1 <= second <= first
        assert second > 5
        assert client.get("/v1/plugins").json() == ["kept", "linked"]


def write_rows(server, stop):
    with server.client() as client:
        number = 0
        while not stop.is_set():
            number += 1
            for name in ("first", "second"):
                row = {"rowName": str(number), "columns": [["x", number, 0]]}
                client.post(f"/v1/datasets/{name}/rows", json=row)
                client.post(f"/v1/datasets/{name}/commit")


def test_what_is_no_backup_is_refused(tmp_path, client):
    (tmp_path / "junk").write_bytes(b"junk")
    done = mldb("restore", str(tmp_path / "junk"), "--data-dir", str(tmp_path / "new"))
    assert (done.returncode, "no backup" in done.stderr) == (1, True)
    assert not (tmp_path / "new").exists()
    with zstandard.open(tmp_path / "junk", "wb") as packed, tarfile.open(fileobj=packed, mode="w|") as archive:
        archive.add(__file__, "models/some.bin")  # and no manifest
    (tmp_path / "new").mkdir()
    done = mldb("restore", str(tmp_path / "junk"), "--data-dir", str(tmp_path / "new"))
    assert (done.returncode, "no backup" in done.stderr) == (1, True)
    assert not list((tmp_path / "new").iterdir())
    nowhere = mldb("backup", str(tmp_path / "no folder" / "b"), "--server", str(client.base_url))
    assert nowhere.stderr == f"mldb: there is no folder {tmp_path / 'no folder'}\n"
    script = {"source": "mldb.script.set_return(mldb.perform('GET', '/v1/backup')['statusCode'])"}
    assert client.post("/v1/types/plugins/python/routes/run", json=script).json()["result"] == 403
