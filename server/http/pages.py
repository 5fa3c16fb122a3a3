"""Pages of the server itself and their static assets, under the strict policy of security.py."""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from server.http import console, nowhere
from server.http.asgi import ASGI, Receive, Scope, Send
from server.http.security import PAGE_POLICY

STATIC = Path(__file__).resolve().parents[2] / "static"
_POLICY = (b"content-security-policy", PAGE_POLICY.encode())
_NOSNIFF = (b"x-content-type-options", b"nosniff")


def application(more: Sequence[BaseRoute]) -> tuple[ASGI, frozenset[str]]:
    """The pages, and the first path segments that belong to them. ``more`` are routes of other page modules."""

    async def favicon(_: Request) -> FileResponse:
        return FileResponse(STATIC / "icon.svg")

    own = [*console.routes(STATIC / "console" / "dist"), Route("/favicon.ico", favicon)]
    routes: list[BaseRoute] = [*own, *more, Mount("/static", StaticFiles(directory=STATIC))]
    roots = frozenset(str(getattr(route, "path", "")).split("/", 2)[1] for route in routes)
    return _guarded(Starlette(routes=routes, exception_handlers={404: nowhere.not_found})), roots


def _guarded(pages: ASGI) -> ASGI:
    """Add the policy to every answer."""

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_guarded(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), _POLICY, _NOSNIFF]
            await send(message)

        await pages(scope, receive, send_guarded)

    return guarded
