"""A plugin route that does nothing, and a function over REST, against bare frameworks."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import quote

from benchmarks.load import requests_per_second
from benchmarks.processes import PEERS, Client, mldb, peer, uvicorn_peer
from benchmarks.runner import Comparison, Contender, compare

NOOP = "request.set_return({'hello': 'world'})\n"
ROUTE = "/v1/plugins/noop/routes/noop"
INPUT = "?input=" + quote('{"x":1,"y":2}')


def noop_routes() -> Iterator[Comparison]:
    """Requests a second at 1 and at 32 connections."""
    with ExitStack() as stack:
        servers = {
            "MLDB plugin `routes.py`": (_with_plugin(stack), ROUTE),
            "bare Starlette": (stack.enter_context(uvicorn_peer("bare_starlette:app")), "/noop"),
            "Flask, gunicorn, 1 worker × 8 threads": (stack.enter_context(_flask(1)), "/noop"),
            "Flask, gunicorn, 2 workers × 8 threads": (stack.enter_context(_flask(2)), "/noop"),
            "Datasette plugin route": (stack.enter_context(_datasette()), "/noop"),
        }
        for connections, goal in ((1, ""), (32, "0.6 of bare Starlette, 2 of Flask and Datasette")):
            contenders = [
                Contender(name, lambda c=client, p=path, n=connections: requests_per_second(c.port, p, n))
                for name, (client, path) in servers.items()
            ]
            title = f"No-op route, {connections} connection{'s' * (connections > 1)}"
            yield compare(title, "requests/s", contenders, goal=goal, better="more")


def function_application() -> Iterator[Comparison]:
    """`GET /v1/functions/add/application` against a Starlette route that adds."""
    with ExitStack() as stack:
        ours = _server(stack)
        ours.request("PUT", "/v1/functions/add", {"type": "sql.expression", "params": {"expression": "x + y AS sum"}})
        bare = stack.enter_context(uvicorn_peer("bare_starlette:app"))
        for connections in (1, 32):
            contenders = [
                Contender(
                    "MLDB function application",
                    lambda n=connections: requests_per_second(ours.port, "/v1/functions/add/application" + INPUT, n),
                ),
                Contender("bare Starlette", lambda n=connections: requests_per_second(bare.port, "/add" + INPUT, n)),
            ]
            title = f"Function application, {connections} connection{'s' * (connections > 1)}"
            yield compare(title, "requests/s", contenders, goal="0.35 of bare Starlette", better="more")


def _server(stack: ExitStack) -> Client:
    return stack.enter_context(mldb(_folder(stack)))


def _with_plugin(stack: ExitStack) -> Client:
    """A plugin in a folder, so that each request looks at its file as it does in real life."""
    data = _folder(stack)
    plugin = data / "noop"
    plugin.mkdir()
    (plugin / "main.py").write_text("")
    (plugin / "routes.py").write_text(NOOP)
    client = stack.enter_context(mldb(data))
    client.request("PUT", "/v1/plugins/noop", {"type": "python", "params": {"address": f"file://{plugin}"}})
    return client


def _folder(stack: ExitStack) -> Path:
    return Path(stack.enter_context(tempfile.TemporaryDirectory()))


def _flask(workers: int) -> object:
    words = ["gunicorn", "bare_flask:app", "--bind", "127.0.0.1:{port}", "--workers", str(workers)]
    return peer(*words, "--worker-class", "gthread", "--threads", "8", "--log-level", "warning")


def _datasette() -> object:
    folder = str(PEERS / "datasette_plugins")
    return peer("datasette", "serve", "--port", "{port}", "--plugins-dir", folder)
