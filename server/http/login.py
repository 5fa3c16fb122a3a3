"""``/login``: the page that asks a browser for the token, and gives it the session cookie."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from server.http.security import LOGIN_PATH, Gate
from server.templating import rendered

_MAX_FORM: Final = 8192  # bytes: a token and the address to go to


def routes(gate: Gate, refused: Callable[[int], None]) -> list[BaseRoute]:
    """Routes for the page application. ``refused`` hears the status of each form that is."""
    return [
        Route(LOGIN_PATH, _form, methods=["GET"]),
        Route(LOGIN_PATH, partial(_sign_in, gate, refused), methods=["POST"]),
    ]


async def _form(request: Request) -> Response:
    return _page(request.query_params.get("next", "/"))


async def _sign_in(gate: Gate, refused: Callable[[int], None], request: Request) -> Response:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MAX_FORM:
            refused(413)
            return PlainTextResponse("the form is too large\n", 413)
    fields = dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=8))
    target = fields.get("next", "/")
    login = gate.sign_in(fields.get("token", "").strip(), target, dict(request.headers))
    if login is None:
        refused(403)
        return _page(target, "That is not the token.", 403)
    return RedirectResponse(login.location, 303, {"Set-Cookie": login.cookie})


def _page(target: str, problem: str = "", status: int = 200) -> Response:
    text = rendered("login.html", action=LOGIN_PATH, target=target, problem=problem)
    return HTMLResponse(text, status, {"Cache-Control": "no-store"})
