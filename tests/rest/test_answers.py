"""Every route answers as ``/openapi.json`` says: a real server is asked for all of them.

Each answer is held against the schema of its status and media type.
"""

from __future__ import annotations

import io
import json
import re
import threading
import zipfile
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator

from tests.conftest import Client
from tests.waiting import until

# Routes whose answer ends the server, or never ends.
_APART = {"POST /v1/shutdown", "GET /v1/events"}


class Checked:
    """Calls of a server. ``seen`` are the operations that answered as they should, by verb and template."""

    def __init__(self, client: Client, document: dict[str, Any]) -> None:
        self._client = client
        self._document = document
        self._paths = sorted(
            ((re.compile(_pattern(path)), path) for path in document["paths"]), key=lambda pair: pair[1].count("{")
        )
        self.seen: set[str] = set()
        self.failed: set[str] = set()

    def __call__(self, verb: str, path: str, wanted: int = 200, **options: Any) -> httpx.Response:
        answer = self._client.request(verb, path, **options)
        assert answer.status_code == wanted, (verb, path, answer.text)
        self.check(verb, answer)
        return answer

    def check(self, verb: str, answer: httpx.Response) -> None:
        template = next(path for pattern, path in self._paths if pattern.fullmatch(answer.url.raw_path.decode()))
        operation = self._document["paths"][template][verb.lower()]
        good = answer.status_code < 400
        (self.seen if good else self.failed).add(f"{verb} {template}")
        reply = operation["responses"].get(str(answer.status_code))
        if reply is None:
            assert not good, f"{verb} {template} does not say that it answers {answer.status_code}"
            reply = operation["responses"]["default"]
        media = answer.headers.get("content-type", "").partition(";")[0]
        contents = reply.get("content", {})
        if "*/*" in contents:
            return
        if not answer.content:
            assert not contents, f"{verb} {template}: no body, but {list(contents)}"
            return
        assert media in contents, f"{verb} {template}: {media} is none of {list(contents)}"
        if media == "application/json":
            self._validate(contents[media].get("schema", {}), answer.json(), f"{verb} {template}")

    def _validate(self, schema: dict[str, Any], value: Any, where: str) -> None:
        whole = {**schema, "components": self._document["components"]}
        errors = [error.message for error in Draft202012Validator(whole).iter_errors(value)]
        assert not errors, f"{where}: {errors[:3]} in {json.dumps(value)[:600]}"


def _pattern(path: str) -> str:
    tail = path.endswith("/routes/{path}") or path.endswith("/doc/{path}")
    return re.sub(r"\\\{[^}]+\\\}", "[^/?]+", re.escape(path[: -len("/{path}")] if tail else path)) + (
        r"(/.*)?" if tail else r"(\?.*)?"
    )


@pytest.fixture(scope="module")
def ask(client: Client) -> Checked:
    client.must("PUT", "/v1/datasets/small", {"type": "tabular"})
    client.must("POST", "/v1/datasets/small/rows", {"rowName": "r", "columns": [["x", 1, 0]]})
    client.must("POST", "/v1/datasets/small/commit")
    return Checked(client, client.get("/openapi.json").json())


def _zipped() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("main.py", "")
        archive.writestr("routes.py", "request.set_return({})")
        archive.writestr("doc/index.md", "# Packed")
    return content.getvalue()


def _recorded(ask: Checked) -> None:
    one = "/v1/datasets/answers"
    ask("PUT", one, 201, json={"type": "sparse.mutable"})
    ask("POST", "/v1/datasets", 201, json={"type": "sparse.mutable"})
    ask("PUT", "/v1/datasets/", 201, json={"type": "sparse.mutable"})
    ask("PUT", "/v1/datasets/later", 202, json={"type": "sparse.mutable"}, headers={"Async": "true"})
    ask("POST", f"{one}/rows", json={"rowName": "r1", "columns": [["x", 1, 0], ["y", "text", "2020-01-01T00:00:00Z"]]})
    ask("POST", f"{one}/multirows", json=[["r2", [["x", 2.5, 0], ["y", None, 0], ["z", {"num": "Inf"}, 0]]]])
    ask("POST", f"{one}/columns", json={"columnName": "w", "rows": [["r1", {"ts": "2020-01-01T00:00:00Z"}, 0]]})
    ask("POST", f"{one}/multicolumns", json=[["v", [["r1", {"blob": ["abc"]}, 0], ["r2", {"interval": "2D"}, 0]]]])
    ask("POST", f"{one}/commit")


def _inspected(ask: Checked) -> None:
    one = "/v1/datasets/answers"
    for path in ("/v1/datasets", one, f"{one}/rows", f"{one}/columns", f"{one}/profile", f"{one}/timestampRange"):
        ask("GET", path)
    for column in "vwxyz":
        ask("GET", f"{one}/columns/{column}/values")
        ask("GET", f"{one}/columns/{column}/valuecounts")
    ask("POST", f"{one}/routes/saves", json={"dataFileUrl": "mem://answers.parquet"})
    text = "SELECT *, [1, 2] AS e, {a: 1} AS nested FROM answers"
    for name in ("full", "table", "aos", "soa", "sparse"):
        ask("GET", "/v1/query", params={"q": text, "format": name, "rowHashes": "true"})
        ask("GET", f"{one}/query", params={"format": name})
    ask("GET", "/v1/query", params={"q": "SELECT 1 AS x", "format": "atom"})
    ask("GET", "/v1/query", params={"q": text}, headers={"Accept": "application/vnd.apache.arrow.stream"})
    for name in ("csv", "json", "parquet", "arrow"):
        ask("GET", "/v1/query/export", params={"q": text, "format": name})
    ask("GET", "/v1/query/plan", params={"q": text})
    ask("GET", "/v1/query/check", params={"q": text})
    ask("GET", "/v1/query/check", params={"q": "SELECT x FROM nowhere"})


def _queries(ask: Checked, client: Client) -> None:
    """A query that is under way while it is looked at and cancelled."""
    client.must("PUT", "/v1/datasets/many", {"type": "tabular"})
    client.post("/v1/datasets/many/multirows", json=[[f"r{n}", [["x", n, 0]]] for n in range(3000)])
    client.must("POST", "/v1/datasets/many/commit")
    text = "SELECT count(*) FROM (SELECT * FROM many AS a JOIN many AS b ON a.x != b.x JOIN many AS c ON b.x != c.x)"
    asking = threading.Thread(target=lambda: client.get_json("/v1/query", {"q": text}))
    asking.start()
    listed = until(lambda: ask("GET", "/v1/queries").json())
    ask("GET", f"/v1/queries/{listed[0]['id']}")
    ask("DELETE", f"/v1/queries/{listed[0]['id']}", 204)
    asking.join()


def _functions(ask: Checked) -> None:
    one = "/v1/functions/plus"
    config = {"type": "sql.expression", "params": {"expression": "x + 1 AS y, [x, x] AS e, {a: x} AS r"}}
    ask("PUT", one, 201, json=config)
    ask("PUT", "/v1/functions/later", 202, json=config, headers={"Async": "true"})
    ask("POST", "/v1/functions", 201, json=config)
    ask("PUT", "/v1/functions/", 201, json=config)
    for path in ("/v1/functions", one, f"{one}/info", f"{one}/details"):
        ask("GET", path)
    ask("GET", f"{one}/application", params={"input": '{"x": 1}'})
    ask("GET", f"{one}/application", params={"input": '{"x": 1}', "outputFormat": "json"})
    ask("GET", f"{one}/batch", params={"input": '[{"x": 1}]'})
    ask("DELETE", one, 204)


def _procedures(ask: Checked, client: Client) -> None:
    one = "/v1/procedures/made"
    config = {
        "type": "transform",
        "params": {"inputData": "SELECT * FROM answers", "outputDataset": "copied", "runOnCreation": True},
    }
    ask("PUT", one, 201, json=config)
    ask("PUT", "/v1/procedures/later", 202, json=config, headers={"Async": "true"})
    until(lambda: client.must("GET", "/v1/procedures/later")["state"] == "ok")  # all write one dataset
    ask("POST", "/v1/procedures", 201, json=config)
    ask("PUT", "/v1/procedures/", 201, json=config)
    run = ask("POST", f"{one}/runs", 201).json()["id"]
    ask("PUT", f"{one}/runs/named", 201, json={"params": {"runOnCreation": False}})
    ask("PUT", f"{one}/runs/started", 202, json={}, headers={"Async": "true"})
    for path in ("/v1/procedures", one, f"{one}/runs", f"{one}/runs/{run}", f"{one}/runs/{run}/state"):
        ask("GET", path)
    ask("GET", f"{one}/runs/{run}/details")
    ask("GET", f"{one}/latestrun", 307)
    until(lambda: ask("GET", f"{one}/runs/started").json()["state"] == "finished")
    ask("PUT", f"{one}/runs/{run}/state", json={"state": "cancelled"})
    ask("DELETE", f"{one}/runs/{run}", 204)
    broken = {"type": "transform", "params": {"inputData": "SELECT x FROM nowhere", "outputDataset": "lost"}}
    ask("PUT", "/v1/procedures/broken", 404, json=broken)
    for run in client.get("/v1/procedures/broken/runs").json():
        assert ask("GET", f"/v1/procedures/broken/runs/{run}").json()["state"] == "error"
    ask("DELETE", one, 204)


def _plugins(ask: Checked) -> None:
    one = "/v1/plugins/small"
    config = {"type": "python", "params": {"source": {"main": "", "routes": "request.set_return({})"}}}
    ask("PUT", one, 201, json=config)
    ask("POST", "/v1/plugins", 201, json=config)
    ask("PUT", "/v1/plugins/", 201, json=config)
    ask("PUT", "/v1/plugins/later", 202, json=config, headers={"Async": "true"})
    for path in ("/v1/plugins", one, f"{one}/version", f"{one}/report"):
        ask("GET", path)
    for verb in ("GET", "PUT", "POST", "DELETE"):
        ask(verb, f"{one}/routes/x")
    silent = {"type": "python", "params": {"source": {"routes": "from mldb import mldb"}}}
    ask("PUT", "/v1/plugins/fails", 201, json=silent)
    ask("GET", "/v1/plugins/fails/routes/x", 500)
    assert ask("GET", "/v1/plugins/fails/report").json()["lastError"]["request"] == "GET /x"
    ask("POST", f"{one}/stop")
    assert ask("GET", one).json()["status"]["state"] == "stopped"
    ask("POST", f"{one}/reload")
    ask("DELETE", one, 204)
    ask("PUT", "/v1/plugin-folders/packed", 201, content=_zipped())
    ask("POST", "/v1/plugin-folders/fresh", 201)
    ask("POST", "/v1/plugin-folders/fresh", 409)
    ask("GET", "/v1/plugin-folders")
    until(lambda: "packed" in ask("GET", "/v1/plugins").json())
    ask("DELETE", "/v1/plugin-folders/packed", 204)


def _server(ask: Checked) -> None:
    for path in ("/ping", "/info", "/v1/help", "/v1/help?autodoc", "/healthz", "/readyz", "/metrics", "/openapi.json"):
        ask("GET", path)
    ask("GET", "/v1/sensors")
    ask("GET", "/v1/dialect")
    ask("GET", "/v1/backup")
    ask("POST", "/v1/redirect/get", json={"target": "/v1/datasets"})
    ask("POST", "/v1/credentials", 201, json={"store": _credential("a")})
    ask("PUT", "/v1/credentials/b", 201, json={"store": _credential("b")})
    ask("GET", "/v1/credentials")
    ask("GET", "/v1/credentials/b")
    ask("DELETE", "/v1/credentials/b", 204)
    ask("PUT", "/v1/uploads/small.csv", 201, content=b"a,b\n1,2\n")
    ask("GET", "/v1/uploads")
    ask("GET", "/v1/uploads/small.csv/preview")
    ask("DELETE", "/v1/uploads/small.csv", 204)


def _saved(ask: Checked) -> None:
    one = "/v1/saved-queries/those above %C3%BC"
    ask("PUT", one, 201, json={"query": "SELECT 1"})
    ask("GET", "/v1/saved-queries")
    ask("GET", one)
    ask("DELETE", one, 204)
    ask("DELETE", one, 404)


def _credential(name: str) -> dict[str, Any]:
    return {"resource": f"s3://{name}", "resourceType": "aws:s3", "credential": {"id": name, "secret": "s"}}


def _types(ask: Checked) -> None:
    for plural in ask("GET", "/v1/types").json():
        names = ask("GET", f"/v1/types/{plural}").json()
        ask("GET", f"/v1/types/{plural}", params={"details": "true"})
        for name in names:
            ask("GET", f"/v1/types/{plural}/{name}")
            ask("GET", f"/v1/types/{plural}/{name}/info")
            ask("GET", f"/v1/types/{plural}/{name}/doc", 301)
    ask("GET", "/v1/typeInfo", params={"type": "TransformDatasetConfig"})
    ask("GET", "/v1/typeInfo", params={"type": "none"})


def test_every_route_answers_as_described(ask, client):
    _server(ask)
    _saved(ask)
    _recorded(ask)
    _inspected(ask)
    _queries(ask, client)
    _functions(ask)
    _procedures(ask, client)
    _plugins(ask)
    _types(ask)
    ask("DELETE", "/v1/datasets/answers", 204)
    described = {
        f"{verb.upper()} {path}"
        for path, item in client.get("/openapi.json").json()["paths"].items()
        for verb, operation in item.items()
        if "x-mldb-source" not in operation and not _own(operation)
    }
    assert described - ask.seen == _APART


def _own(operation: dict[str, Any]) -> bool:
    """Does another answer here, whatever it likes?"""
    return any("*/*" in reply.get("content", {}) for reply in operation["responses"].values())


@pytest.mark.parametrize(
    ("verb", "path", "code"),
    [
        ("GET", "/v1/datasets/nothing", 404),
        ("GET", "/v1/datasets/nothing/rows", 404),
        ("GET", "/v1/datasets/small/rows?start=-1", 400),
        ("GET", "/v1/query?q=SELECT", 400),
        ("GET", "/v1/query?nonsense=1", 400),
        ("PUT", "/v1/functions/x", 400),
        ("GET", "/v1/procedures/nothing/runs/x", 404),
        ("POST", "/v1/plugins/nothing/reload", 404),
        ("GET", "/v1/uploads/.hidden/preview", 400),
        ("DELETE", "/v1/queries/nothing", 404),
    ],
)
def test_errors_have_the_one_body(ask, verb, path, code):
    ask(verb, path, code)


def test_the_schemas_are_strict(ask):
    """A schema that any answer meets would prove nothing."""
    for name, schema in ask._document["components"]["schemas"].items():
        if name in ("Error", "EntityStatus", "RunStatus", "FunctionInfo", "TypeInfo", "RunningQuery", "ColumnProfile"):
            assert schema["required"]
            assert schema["additionalProperties"] is False
