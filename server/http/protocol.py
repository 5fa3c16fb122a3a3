"""uvicorn's HTTP protocol with limits on the head of a request, which it reads whole before anybody can refuse it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from server.http.asgi import ASGI, Receive, Scope, Send
from server.settings import Settings

_MAX_FIELDS = 1000  # headers of a request, trailers included: no setting, for no client has a hundred
_TOO_LARGE = "the head of the request is larger than the setting head-size allows"
_NO_HTTP = "this is no HTTP request, or its address is longer than the 65535 bytes that the parser takes"


def protocol(settings: Settings) -> type[asyncio.Protocol]:
    """The protocol class for these settings: uvicorn makes the instances."""
    limits = {
        "head_size": settings.head_size * 1024,
        "wait": settings.body_timeout,
        "most": settings.max_connections,
        "busy": staticmethod(_busy(settings.max_connections)),
    }
    return type("Protocol", (LimitedProtocol,), limits)


def _busy(most: int) -> ASGI:
    """What answers the requests of further connections."""
    told = f"{most} connections are open, the most that the setting max-connections allows: ask again later"
    body = _error(503, told)

    async def busy(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": 503, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return busy


def _error(status: int, message: str) -> bytes:
    return json.dumps({"error": message, "httpCode": status}).encode() + b"\n"


class LimitedProtocol(HttpToolsProtocol):
    """Refuses heads that are too large, and hangs up on those that do not end within ``wait`` seconds."""

    head_size: int
    wait: float
    most: int
    busy: ASGI
    _read = 0  # bytes of a head that has not ended yet
    _come = 0  # and of what came last
    _in_head = True
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._expect_end()

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        self._in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._ended()
        own = self.app
        if len(self.connections) > self.most:
            self.app = self.busy
        super().on_headers_complete()
        self.app = own

    def data_received(self, data: bytes) -> None:
        self._come = self._read + len(data)
        super().data_received(data)
        if self._in_head:
            self._read += len(data)
            self._expect_end()
        if self._read > self.head_size:
            self._refuse(431, _TOO_LARGE)
        elif self.headers is not None and len(self.headers) > _MAX_FIELDS:
            self._refuse(431, f"the request has more than {_MAX_FIELDS} headers")

    def send_400_response(self, msg: str) -> None:
        """What the parser cannot read; of a head that came at once it reads no more than 64 KiB of the address."""
        if self._come > self.head_size:
            self._refuse(431, _TOO_LARGE)
        else:
            self._refuse(400, _NO_HTTP)

    def _expect_end(self) -> None:
        if self._timer is None:
            late = "the head of the request did not arrive in time"
            self._timer = self.loop.call_later(self.wait, self._refuse, 408, late)

    def _ended(self) -> None:
        self._in_head, self._read = False, 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _refuse(self, status: int, message: str) -> None:
        self._ended()
        if self.transport.is_closing():
            return
        body = _error(status, message)
        head = f"HTTP/1.1 {status} \r\ncontent-type: application/json\r\nconnection: close\r\n"
        cycle = self.cycle
        if cycle is None or cycle.response_complete or not (cycle.response_started or self.pipeline):
            self.transport.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        if cycle is not None:
            cycle.disconnected = True  # of a head that came at once the request has begun already
        self.transport.close()
