"""From ASGI to the resource table and back: reads the request within its limits, asks the gate, sends the answer.

Kept thin on purpose: no framework stands between the socket and ``Resources.dispatch``. Pages (HTML and assets) are
another ASGI application, chosen by the first segment of the path.
"""

from __future__ import annotations

import asyncio
import io
import itertools
import logging
import os
import re
import secrets
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import IO, Any
from urllib.parse import parse_qsl

from server import tracing
from server.entities import jsontext
from server.entities.dispatch import DRAFT, Resources, Spool, encode, error_answer
from server.entities.metrics import Metrics
from server.errors import MldbError, from_defect
from server.http.security import LOGIN_PATH, Gate, Headers, Login, Refusal
from server.logs import request_id
from server.messages import Request, Response
from server.settings import Settings

log = logging.getLogger("mldb.server")

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Field = tuple[bytes, bytes]
ASGI = Callable[[Scope, Receive, Send], Awaitable[None]]

_MAX_QUERY_FIELDS = 10_000
_PLAIN_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_PATIENCE = 0.1  # seconds
_SPOOLED_AT_ONCE = 1 << 20  # bytes
_SENT_AT_ONCE = 1 << 20  # bytes: a large body is copied by parts, and kept once, not twice


class TooLarge(Exception):
    """Raised while a body is read that is larger than a setting allows, which it names."""


class Departed(Exception):
    """Raised while a body is read when the client hangs up."""


class Connection:
    """The waiting client; implements ``messages.Client``."""

    __slots__ = ("_callbacks", "_receive", "_watch")

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._watch: asyncio.Task[None] | None = None
        self._callbacks: list[Callable[[], object]] = []

    def on_gone(self, callback: Callable[[], object]) -> None:
        self._callbacks.append(callback)

    def listen(self) -> None:
        """Wait for the client to hang up, if anybody wants to know."""
        if self._callbacks and self._watch is None:
            self._watch = asyncio.create_task(self._wait())

    async def _wait(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            continue
        for callback in self._callbacks:
            callback()

    def close(self) -> None:
        if self._watch is not None:
            self._callbacks.clear()
            self._watch.cancel()


class Connections:
    """The clients that wait.

    They are looked at now and then only: most requests are over by then, and waking the event loop from the thread of
    a small query would cost as much as the query.
    """

    def __init__(self) -> None:
        self._waiting: set[Connection] = set()
        self._timer: asyncio.TimerHandle | None = None

    def open(self, receive: Receive) -> Connection:
        connection = Connection(receive)
        self._waiting.add(connection)
        if self._timer is None:
            self._look_later()
        return connection

    def close(self, connection: Connection) -> None:
        self._waiting.discard(connection)
        connection.close()

    def _look_later(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(_PATIENCE, self._look)

    def _look(self) -> None:
        self._timer = None
        for connection in self._waiting:
            connection.listen()
        if self._waiting:
            self._look_later()


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
        self._max_body = settings.max_body * 1024 * 1024
        self._body_timeout = settings.body_timeout
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
            await _send(send, _verdict_answer(verdict), mark, [])
            return
        cors = self._gate.preflight(headers) if verb == "OPTIONS" else self._gate.cors(headers)
        if self._is_page(path) and (verb in ("GET", "HEAD") or path == LOGIN_PATH):
            await self._pages(scope, receive, _marked(send, mark))
            return
        file = None
        try:
            spool = self._resources.spool(verb, path) if _has_body(headers) else None
            if spool is None:
                body = await self._body(headers, receive)
            else:
                body, file = b"", await self._spooled(spool, headers, receive)
            request = _request(verb, path, query, self._gate.without_credentials(headers), body)
        except Departed:
            return
        except (TooLarge, TimeoutError, ValueError, OSError, MldbError) as error:
            if file is not None:
                await asyncio.to_thread(file.unlink, missing_ok=True)
            await _send(send, _bad_request(verb, path, error), mark, cors)
            return
        request.file = file
        connection = request.client = self._connections.open(receive)
        try:
            answer = await self._answer(request)
            await _send(send, answer, mark, cors, connection)
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

    async def _body(self, headers: Headers, receive: Receive) -> bytes:
        if not _has_body(headers):
            return b""
        body = io.BytesIO()  # joining many chunks at once would hold up the event loop
        async for chunk in self._chunks(headers, receive, self._max_body, "max-body"):
            body.write(chunk)
        return body.getvalue()

    async def _spooled(self, spool: Spool, headers: Headers, receive: Receive) -> Path:
        """The body as a file of its own, which is the caller's to remove. Nothing stays of one that is refused."""
        file, sink = await self._opened(spool.folder)
        waiting: list[bytes] = []
        size = 0
        try:
            async for chunk in self._chunks(headers, receive, spool.limit, spool.setting):
                waiting.append(chunk)
                size += len(chunk)
                if size >= _SPOOLED_AT_ONCE:
                    await asyncio.to_thread(sink.writelines, waiting)
                    waiting, size = [], 0
            await asyncio.to_thread(sink.writelines, waiting)
            await asyncio.to_thread(sink.close)
        except BaseException:
            with suppress(OSError):  # a full disk refuses what is left in the buffer too
                sink.close()
            file.unlink(missing_ok=True)
            raise
        return file

    async def _opened(self, folder: Path) -> tuple[Path, IO[bytes]]:
        """A draft. None stays when who asked for it is cancelled meanwhile."""
        opening = self._resources.threads.submit(_draft, folder)
        try:
            return await asyncio.wrap_future(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(_throw_away)
            raise

    async def _chunks(self, headers: Headers, receive: Receive, limit: int, setting: str) -> AsyncIterator[bytes]:
        length = headers.get("content-length")
        if length is not None and int(length) > limit:
            raise TooLarge(setting)
        size = 0
        more = True
        while more:
            async with asyncio.timeout(self._body_timeout):
                message = await receive()
            if message["type"] == "http.disconnect":
                raise Departed
            chunk: bytes = message.get("body", b"")
            size += len(chunk)
            if size > limit:
                raise TooLarge(setting)
            yield chunk
            more = message.get("more_body", False)


def _has_body(headers: Headers) -> bool:
    return "content-length" in headers or "transfer-encoding" in headers


def _draft(folder: Path) -> tuple[Path, IO[bytes]]:
    folder.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=DRAFT, dir=folder)
    return Path(name), os.fdopen(handle, "wb")


def _throw_away(opening: Future[tuple[Path, IO[bytes]]]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        file, sink = opening.result()
        sink.close()
        file.unlink(missing_ok=True)


class RequestIds:
    """Ids for requests: what the caller or a proxy gave when it is a plain word, else one of our own."""

    def __init__(self) -> None:
        self._prefix = secrets.token_hex(4)
        self._numbers = itertools.count(1)

    def choose(self, given: str | None) -> str:
        return given if given and _PLAIN_ID.fullmatch(given) else f"{self._prefix}-{next(self._numbers):x}"


def _marked(send: Send, mark: Field) -> Send:
    """Answers carry the id of their request."""

    async def marked(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), mark]
        await send(message)

    return marked


def _request(verb: str, path: str, query: str, headers: Headers, body: bytes) -> Request:
    params: list[tuple[str, str]] = []
    if query:
        params = parse_qsl(query, keep_blank_values=True, max_num_fields=_MAX_QUERY_FIELDS)
    content_type = headers.pop("content-type", "")
    content_length = int(headers.pop("content-length", -1))
    headers.pop("transfer-encoding", None)
    return Request(verb, path, params, body, headers, content_type, content_length)


def _bad_request(verb: str, path: str, error: Exception) -> Response:
    if isinstance(error, TooLarge):
        status, text = 413, f"the request body is larger than the setting {error} allows"
    elif isinstance(error, TimeoutError):
        status, text = 408, "the request body did not arrive in time"
    elif isinstance(error, MldbError):
        return encode(error_answer(error), Request(verb, path))
    elif isinstance(error, OSError):
        log.error("%s %s failed", verb, path, exc_info=error)
        return encode(error_answer(from_defect(error)), Request(verb, path))
    else:
        body = {"error": f"exception processing request {verb} {path}", "exception": str(error)}
        return Response(400, jsontext.free_form(body) + b"\n")
    return _error(status, text)


def _error(status: int, text: str, headers: tuple[tuple[str, str], ...] = ()) -> Response:
    return Response(status, jsontext.free_form({"error": text, "httpCode": status}) + b"\n", headers=list(headers))


def _verdict_answer(verdict: Refusal | Login) -> Response:
    if isinstance(verdict, Refusal):
        return _error(verdict.status, verdict.message, verdict.headers)
    cookie = [("Set-Cookie", verdict.cookie)] if verdict.cookie else []
    return Response(303, b"", "", [("Location", verdict.location), *cookie])


_NOSNIFF = (b"x-content-type-options", b"nosniff")


async def _send(
    send: Send, answer: Response, mark: Field, extra: list[tuple[str, str]], connection: Connection | None = None
) -> None:
    headers = [_NOSNIFF, mark]
    if answer.headers:
        headers += [(name.encode("latin-1", "replace"), value.encode("utf-8")) for name, value in answer.headers]
    if extra:
        headers += [(name.encode("latin-1"), value.encode("latin-1")) for name, value in extra]
    if answer.content_type:
        headers.append((b"content-type", answer.content_type.encode("latin-1")))
    body = answer.body
    if isinstance(body, bytes):
        if answer.status not in (204, 304):
            headers.append((b"content-length", b"%d" % len(body)))
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        sent = 0
        while len(body) - sent > _SENT_AT_ONCE:
            part = body[sent : sent + _SENT_AT_ONCE]
            await send({"type": "http.response.body", "body": part, "more_body": True})
            sent += len(part)
        await send({"type": "http.response.body", "body": body[sent:] if sent else body})
        return
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await _stream(send, answer, connection)


async def _stream(send: Send, answer: Response, connection: Connection | None) -> None:
    """Send chunks until they end or the client goes away. An answer that breaks off is left unfinished: uvicorn hangs
    up, and the client sees that something is missing."""
    task = asyncio.current_task()
    gone = False

    def stop() -> None:
        nonlocal gone
        gone = True
        if task is not None:
            task.cancel()

    if connection is not None:
        connection.on_gone(stop)
    assert not isinstance(answer.body, bytes)
    try:
        async for chunk in answer.body:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
    except asyncio.CancelledError:
        if not gone:
            raise
        if task is not None:
            task.uncancel()
    except MldbError as error:
        log.warning("an answer broke off: %s", error.message)
