"""Pages of the server itself: the landing page and the static assets, under the strict policy of security.py."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from server import __version__
from server.entities.registry import encode_id
from server.http.host import Host
from server.http.security import PAGE_POLICY

STATIC = Path(__file__).resolve().parents[2] / "static"
_POLICY = (b"content-security-policy", PAGE_POLICY.encode())
_NOSNIFF = (b"x-content-type-options", b"nosniff")

ASGI = Callable[[Any, Any, Any], Awaitable[None]]


def application(host: Host, more: Sequence[BaseRoute] = ()) -> tuple[ASGI, frozenset[str]]:
    """The pages, and the first path segments that belong to them. ``more`` are routes of other page modules."""

    async def landing(_: Request) -> HTMLResponse:
        return HTMLResponse(await run_in_threadpool(_landing_page, host))

    async def favicon(_: Request) -> FileResponse:
        return FileResponse(STATIC / "icon.svg")

    own = [Route("/", landing), Route("/favicon.ico", favicon), Mount("/static", StaticFiles(directory=STATIC))]
    routes: list[BaseRoute] = [*own, *more]
    roots = frozenset(str(getattr(route, "path", "")).split("/", 2)[1] for route in routes)
    return _guarded(Starlette(routes=routes)), roots


def _guarded(pages: ASGI) -> ASGI:
    """Add the policy to every answer."""

    async def guarded(scope: Any, receive: Any, send: Any) -> None:
        async def send_guarded(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), _POLICY, _NOSNIFF]
            await send(message)

        await pages(scope, receive, send_guarded)

    return guarded


def _landing_page(host: Host) -> str:
    plugins = "".join(
        f'<li><a href="/v1/plugins/{encode_id(id)}/routes/static/index.html">{escape(id)}</a> '
        f'(<a href="/v1/plugins/{encode_id(id)}">status</a>)</li>'
        for id in host.registry.ids("plugin")
    )
    return _PAGE.format(version=escape(__version__), plugins=plugins or "<li>none yet</li>")


_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>MLDB</title>
<link rel="icon" href="/static/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="/static/landing.css">
<main>
<h1>MLDB</h1>
<p>Version {version}. The server is running.</p>
<h2>Plugins</h2>
<ul>{plugins}</ul>
<h2>Addresses</h2>
<ul>
<li><a href="/logs/mldb">Log</a></li>
<li><a href="/v1/datasets">Datasets</a>, <a href="/v1/functions">functions</a>,
<a href="/v1/procedures">procedures</a>, <a href="/v1/plugins">plugins</a>, <a href="/v1/types">types</a></li>
<li><a href="/v1/help">All routes of the API</a></li>
</ul>
</main>
</html>
"""
