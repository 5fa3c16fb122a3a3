"""uvicorn's HTTP protocol with limits on the head of a request, which it reads whole before anybody can refuse it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from server.settings import Settings

_MAX_FIELDS = 1000  # headers of a request, trailers included


def protocol(settings: Settings) -> type[asyncio.Protocol]:
    """The protocol class for these settings: uvicorn makes the instances."""
    return type("Protocol", (LimitedProtocol,), {"head_size": settings.head_size * 1024, "wait": settings.body_timeout})


class LimitedProtocol(HttpToolsProtocol):
    """Refuses heads that are too large, and hangs up on those that do not end within ``wait`` seconds."""

    head_size: int
    wait: float
    _read = 0  # bytes of a head that has not ended yet
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
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._in_head:
            self._read += len(data)
            self._expect_end()
        if self._read > self.head_size or (self.headers is not None and len(self.headers) > _MAX_FIELDS):
            self._refuse(431, "the head of the request is larger than the setting head-size allows")

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
        body = json.dumps({"error": message, "httpCode": status}) + "\n"
        head = f"HTTP/1.1 {status} \r\ncontent-type: application/json\r\nconnection: close\r\n"
        if self.cycle is None or self.cycle.response_complete:
            self.transport.write(f"{head}content-length: {len(body)}\r\n\r\n{body}".encode())
        self.transport.close()
