"""``GET /logs/mldb``: the server log as a page with a live tail, as plain text, as JSON lines, as an event stream."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable
from functools import partial
from typing import Final

from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from server.logs import LEVELS, RING_LINES, Entry, Filter, LogStore
from server.shutdown import Shutdown
from server.templating import rendered

_DEFAULT_LINES: Final = 500
_WAIT_SECONDS: Final = 1.0  # between looks whether the server stops
_HEARTBEAT_WAITS: Final = 15  # proxies close what is silent

# A browser that cannot follow misses lines rather than making the server keep them.
_BEHIND_LINES: Final = 2000


def routes(store: LogStore, shutdown: Shutdown) -> list[BaseRoute]:
    """Routes for the page application; streams end with the server."""
    return [
        Route("/logs/mldb", partial(_log, store)),
        Route("/logs/mldb/events", partial(_events, store, shutdown)),
    ]


async def _log(store: LogStore, request: Request) -> Response:
    form = _form(request)
    if form == "html":
        return HTMLResponse(_page(), headers={"Cache-Control": "no-cache"})
    try:
        count = int(request.query_params.get("n", RING_LINES))
        wanted = _filter(request)
    except ValueError as error:
        return PlainTextResponse(f"{error}\n", 400)
    entries = store.last(count, wanted)
    if form == "jsonl":
        lines, kind = [entry.json() for entry in entries], "application/x-ndjson"
    else:
        lines, kind = [entry.text() for entry in entries], "text/plain"
    return Response("".join(f"{line}\n" for line in lines).encode("utf-8", "replace"), media_type=kind)


def _form(request: Request) -> str:
    """html, jsonl or text: by ``format``, else by what is accepted (curl accepts anything: text)."""
    asked = request.query_params.get("format")
    if asked in ("html", "jsonl", "text"):
        return asked
    accepted = request.headers.get("accept", "")
    if "application/x-ndjson" in accepted:
        return "jsonl"
    return "html" if "text/html" in accepted else "text"


def _filter(request: Request) -> Filter:
    """The filter of the query string; ``ValueError`` for an unknown level."""
    level = request.query_params.get("level", "")
    if level and level not in LEVELS:
        raise ValueError(f"level must be one of {', '.join(LEVELS)}")
    return Filter(request.query_params.get("source", ""), level, request.query_params.get("q", ""))


async def _events(store: LogStore, shutdown: Shutdown, request: Request) -> Response:
    try:
        count = int(request.query_params.get("n", _DEFAULT_LINES))
        wanted = _filter(request)
        # A browser that reconnects says which line it saw last.
        seen = int(request.headers.get("last-event-id", 0))
    except ValueError as error:
        return PlainTextResponse(f"{error}\n", 400)
    return StreamingResponse(
        _tail(store, shutdown, wanted, count, seen),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
    )


async def _tail(store: LogStore, shutdown: Shutdown, wanted: Filter, count: int, seen: int) -> AsyncIterator[bytes]:
    """The last lines, then every new one as it comes."""
    waiting: deque[Entry] = deque(maxlen=_BEHIND_LINES)
    arrived = asyncio.Event()
    loop = asyncio.get_running_loop()

    def listener(entry: Entry) -> None:
        if wanted.wants(entry):
            waiting.append(entry)
            loop.call_soon_threadsafe(arrived.set)

    def unseen(entries: Iterable[Entry]) -> bytes:
        nonlocal seen
        fresh = [entry for entry in entries if entry.number > seen]
        seen = max([seen, *(entry.number for entry in fresh)])
        return b"".join(map(_event, fresh))

    stop = store.listen(listener)
    try:
        yield b": live\n\n" + unseen(store.last(count, wanted))
        silent = 0
        while not shutdown.begun:
            if not waiting and not await _set_within(arrived, _WAIT_SECONDS):
                silent += 1
                if silent % _HEARTBEAT_WAITS == 0:
                    yield b": still here\n\n"
                continue
            silent = 0
            arrived.clear()
            if batch := unseen(waiting.popleft() for _ in range(len(waiting))):
                yield batch
    finally:
        stop()


async def _set_within(event: asyncio.Event, seconds: float) -> bool:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return False
    return True


def _event(entry: Entry) -> bytes:
    return f"id: {entry.number}\ndata: {entry.json()}\n\n".encode("utf-8", "replace")


def _page() -> str:
    return rendered("logs.html", levels=LEVELS[1:])
