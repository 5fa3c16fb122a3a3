"""Bodies of requests: read within their limits, into memory or into files."""

from __future__ import annotations

import asyncio
import io
import os
import tempfile
from collections.abc import AsyncIterator
from concurrent.futures import Executor, Future
from contextlib import suppress
from pathlib import Path
from typing import IO

from server.entities.routes import DRAFT, Spool
from server.http.asgi import Receive
from server.http.security import Headers
from server.settings import Settings

_SPOOLED_AT_ONCE = 1 << 20  # bytes


class TooLarge(Exception):
    """Raised while a body is read that is larger than a setting allows, which it names."""


class Departed(Exception):
    """Raised while a body is read when the client hangs up."""


class BodyReader:
    """Reads bodies. Raises ``TooLarge``, ``TimeoutError`` when they come too slowly, ``Departed``."""

    def __init__(self, settings: Settings, threads: Executor) -> None:
        self._max_body = settings.max_body * 1024 * 1024
        self._body_timeout = settings.body_timeout
        self._threads = threads

    async def read(self, headers: Headers, receive: Receive) -> bytes:
        """The body; none is empty."""
        if not has_body(headers):
            return b""
        body = io.BytesIO()  # joining many chunks at once would hold up the event loop
        async for chunk in self._chunks(headers, receive, self._max_body, "max-body"):
            body.write(chunk)
        return body.getvalue()

    async def spooled(self, spool: Spool, headers: Headers, receive: Receive) -> Path:
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
        opening = self._threads.submit(_draft, folder)
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


def has_body(headers: Headers) -> bool:
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
