"""From ASGI to the resource table and back: reads the request within its limits, asks the gate, sends the answer.

Kept thin on purpose: no framework stands between the socket and ``Resources.dispatch``. Pages (HTML and assets) are
another ASGI application, chosen by the first segment of the path.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import re
import secrets
import time
from urllib.parse import parse_qsl

from server import tracing
from server.entities import jsontext
from server.entities.dispatch import Resources
from server.entities.json_answers import encode, error_answer
from server.entities.metrics import Metrics
from server.errors import MldbError, from_defect
from server.http import nowhere
from server.http.asgi import ASGI, Receive, Scope, Send
from server.http.bodies import BodyReader, Departed, TooLarge, has_body
from server.http.clients import Connections
from server.http.security import LOGIN_PATH, Gate, Headers, Login, Refusal, wants_page
from server.http.sending import marked, send_answer
from server.logs import request_id
from server.messages import Request, Response
from server.settings import Settings

log = logging.getLogger("mldb.server")

_MAX_QUERY_FIELDS = 10_000  # no setting: an address of head-size holds few more
_PLAIN_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class Gateway:
    """The server's ASGI application. ``pages`` serves paths whose first segment is in ``page_roots``."""

    def __init__(
        self,
        settings: Settings,
        resources: Resources,
        gate: Gate,
        pages: ASGI,
        page_roots: frozenset[str],
        metrics: Metrics,
    ) -> None:
        self._resources = resources
        self._gate = gate
        self._pages = pages
        self._page_roots = page_roots
        self._bodies = BodyReader(settings, resources.threads)
        self._metrics = metrics
        self._ids = RequestIds()
        self._connections = Connections()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 4404})

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        id = headers["x-request-id"] = self._ids.choose(headers.get("x-request-id"))
        request_id.set(id)
        mark = (b"x-request-id", id.encode())
        verb: str = scope["method"]
        path: str = scope["raw_path"].decode("utf-8", "surrogateescape")
        query: str = scope["query_string"].decode("utf-8", "surrogateescape")
        verdict = self._gate.check(verb, path, query, headers, scope["server"][1])
        if verdict is not None:
            if status := verdict.status if isinstance(verdict, Refusal) else verdict.refused:
                self._metrics.refuse(status)
            await send_answer(send, _verdict_answer(verdict), mark, [])
            return
        cors = self._gate.preflight(headers) if verb == "OPTIONS" else self._gate.cors(headers)
        if self._is_page(path) and (verb in ("GET", "HEAD") or path == LOGIN_PATH):
            await self._pages(scope, receive, marked(send, mark))
            return
        file = None
        try:
            spool = self._resources.spool(verb, path) if has_body(headers) else None
            if spool is None:
                body = await self._bodies.read(headers, receive)
            else:
                body, file = b"", await self._bodies.spooled(spool, headers, receive)
            request = _request(verb, path, query, self._gate.without_credentials(headers), body)
        except Departed:
            return
        except (TooLarge, TimeoutError, ValueError, OSError, MldbError) as error:
            if file is not None:
                await asyncio.to_thread(file.unlink, missing_ok=True)
            answer = _bad_request(verb, path, error)
            self._metrics.refuse(answer.status)
            await send_answer(send, answer, mark, cors)
            return
        request.file = file
        connection = request.client = self._connections.open(receive)
        try:
            answer = await self._answer(request)
            if answer.status == 404 and not request.route and wants_page(verb, headers):
                scope[nowhere.REASON] = nowhere.reason(answer)
                await self._pages(scope, receive, marked(send, mark))
            else:
                await send_answer(send, answer, mark, cors, connection)
        finally:
            self._connections.close(connection)
            if file is not None:
                await asyncio.to_thread(file.unlink, missing_ok=True)

    async def _answer(self, request: Request) -> Response:
        started = time.perf_counter()
        self._metrics.in_flight += 1
        try:
            with tracing.span(request.verb, request.headers) as span:
                answer = await self._resources.dispatch(request)
                if span is not None:
                    span.update_name(f"{request.verb} {request.route}")
                    span.set_attribute("http.response.status_code", answer.status)
                    span.set_attribute("url.path", request.path)
        finally:
            self._metrics.in_flight -= 1
        self._metrics.observe(request, answer.status, time.perf_counter() - started)
        return answer

    def _is_page(self, path: str) -> bool:
        root = path.removeprefix("/").partition("/")[0]
        return root in self._page_roots if root else path == "/"


class RequestIds:
    """Ids for requests: what the caller or a proxy gave when it is a plain word, else one of our own."""

    def __init__(self) -> None:
        self._prefix = secrets.token_hex(4)
        self._numbers = itertools.count(1)

    def choose(self, given: str | None) -> str:
        return given if given and _PLAIN_ID.fullmatch(given) else f"{self._prefix}-{next(self._numbers):x}"


def _request(verb: str, path: str, query: str, headers: Headers, body: bytes) -> Request:
    params: list[tuple[str, str]] = []
    if query:
        params = parse_qsl(query, keep_blank_values=True, max_num_fields=_MAX_QUERY_FIELDS)
    content_type = headers.pop("content-type", "")
    content_length = int(headers.pop("content-length", -1))
    headers.pop("transfer-encoding", None)
    return Request(verb, path, params, body, headers, content_type, content_length)


def _bad_request(verb: str, path: str, error: Exception) -> Response:
    match error:
        case TooLarge():
            return _error(413, f"the request body is larger than the setting {error} allows")
        case TimeoutError():
            return _error(408, "the request body did not arrive in time")
        case MldbError():
            return encode(error_answer(error), Request(verb, path))
        case OSError():
            log.error("%s %s failed", verb, path, exc_info=error)
            return encode(error_answer(from_defect(error)), Request(verb, path))
    body = {"error": f"exception processing request {verb} {path}", "exception": str(error)}
    return Response(400, jsontext.free_form(body) + b"\n")


def _error(status: int, text: str, headers: tuple[tuple[str, str], ...] = ()) -> Response:
    return Response(status, jsontext.free_form({"error": text, "httpCode": status}) + b"\n", headers=list(headers))


def _verdict_answer(verdict: Refusal | Login) -> Response:
    if isinstance(verdict, Refusal):
        return _error(verdict.status, verdict.message, verdict.headers)
    cookie = [("Set-Cookie", verdict.cookie)] if verdict.cookie else []
    return Response(303, b"", "", [("Location", verdict.location), *cookie])
