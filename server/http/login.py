"""``/login``: the page that asks a browser for the token, and gives it the session cookie."""

from __future__ import annotations

from functools import partial
from html import escape
from typing import Final
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from server.http.security import LOGIN_PATH, Gate

_MAX_FORM: Final = 8192  # bytes: a token and the address to go to


def routes(gate: Gate) -> list[BaseRoute]:
    """Routes for the page application."""
    return [
        Route(LOGIN_PATH, _form, methods=["GET"]),
        Route(LOGIN_PATH, partial(_sign_in, gate), methods=["POST"]),
    ]


async def _form(request: Request) -> Response:
    return _page(request.query_params.get("next", "/"))


async def _sign_in(gate: Gate, request: Request) -> Response:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MAX_FORM:
            return PlainTextResponse("the form is too large\n", 413)
    fields = dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=8))
    target = fields.get("next", "/")
    login = gate.sign_in(fields.get("token", "").strip(), target, dict(request.headers))
    if login is None:
        return _page(target, "That is not the token.", 403)
    return RedirectResponse(login.location, 303, {"Set-Cookie": login.cookie})


def _page(target: str, problem: str = "", status: int = 200) -> Response:
    alert = f'<p role="alert">{escape(problem)}</p>' if problem else ""
    text = _PAGE.format(action=LOGIN_PATH, target=escape(target), alert=alert)
    return HTMLResponse(text, status, {"Cache-Control": "no-store"})


_PAGE: Final = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Sign in · MLDB</title>
<link rel="stylesheet" href="/static/landing.css">
<main>
<h1>MLDB</h1>
<p>This server asks for a token: it was printed when the server started, or is the setting <code>token</code>.</p>
{alert}
<form method="post" action="{action}">
<input type="hidden" name="next" value="{target}">
<label>Token <input type="password" name="token" required autofocus autocomplete="current-password"></label>
<button>Sign in</button>
</form>
</main>
</html>
"""
