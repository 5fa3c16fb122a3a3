"""Answers on their way out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import MutableMapping
from typing import Any

from server.errors import MldbError
from server.http.asgi import Send
from server.http.clients import Connection
from server.messages import Response

log = logging.getLogger("mldb.server")

Field = tuple[bytes, bytes]

_SENT_AT_ONCE = 1 << 20  # bytes: a large body is copied by parts, and kept once, not twice
_NOSNIFF = (b"x-content-type-options", b"nosniff")


def marked(send: Send, mark: Field) -> Send:
    """Answers carry the id of their request."""

    async def marked(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), mark]
        await send(message)

    return marked


async def send_answer(
    send: Send, answer: Response, mark: Field, extra: list[tuple[str, str]], connection: Connection | None = None
) -> None:
    """``mark`` and ``extra`` are further headers. A stream ends when the client of the ``connection`` is gone."""
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
