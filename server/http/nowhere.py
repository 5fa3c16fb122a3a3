"""What a browser is shown at an address where nothing is; who does not ask for a page gets the error as it is."""

from __future__ import annotations

import json
from difflib import get_close_matches
from typing import Final

from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response

from server import messages
from server.entities.types import KINDS
from server.http.security import wants_page
from server.templating import rendered

REASON: Final = "mldb.reason"  # in the scope: what the API answers at the address

ADDRESSES: Final = {
    "/": "the console: plugins",
    "/console/query": "SQL over the datasets",
    "/console/datasets": "datasets, and files to import",
    "/console/functions": "functions and models",
    "/console/procedures": "procedures and their runs",
    "/logs/mldb": "the log",
    "/reference": "the REST API, each route to be tried",
    "/doc/": "the documentation",
    "/v1/help": "the REST API as JSON",
}
_COLLECTIONS: Final = tuple(f"/v1/{plural}" for plural in KINDS)
_LIKE: Final = 0.65  # of 1: the same address
_NEAREST: Final = 2
_UNKNOWN: Final = "unknown resource"  # which the page says in its own words


def reason(answer: messages.Response) -> str:
    """Why there is nothing, where the API knows more than that."""
    error = json.loads(answer.body)["error"] if isinstance(answer.body, bytes) and answer.body else ""
    return "" if error.startswith(_UNKNOWN) else error


async def not_found(request: Request, _: Exception) -> Response:
    """The answer of the pages' application to what it does not have."""
    headers = {"Cache-Control": "no-store"}
    if not wants_page(request.method, dict(request.headers)):
        return PlainTextResponse("Not Found", 404, headers)
    path = request.url.path
    near = get_close_matches(path.lower(), (*ADDRESSES, *_COLLECTIONS), _NEAREST, _LIKE)
    told = request.scope.get(REASON, "")
    text = rendered("nowhere.html", path=path, reason=told, near=near, addresses=ADDRESSES)
    return HTMLResponse(text, 404, headers)
