"""``GET /v1/events``: what happens to entities, runs and plugins, as server-sent events.

The state is looked at once a second, in a thread, and only while somebody listens; streams are told what differs from
what they were told before. So a burst of changes costs one event, and a slow reader costs one look, never a queue.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Final

from server.entities import jsontext
from server.entities.overview import Overview, changes, overview
from server.entities.routes import Call
from server.errors import MldbError
from server.http.answers import content
from server.http.host import Host
from server.messages import Response

_LOOK_SECONDS: Final = 1.0
_HEARTBEAT_LOOKS: Final = 15  # proxies close what is silent


def register(host: Host) -> None:
    host.resources.add(
        "GET", "/v1/events", partial(_events, Looks(host)), summary="Entities, runs and plugins as they change",
        replies=content("text/event-stream"),
        result="a stream of server-sent events", lenient=True,
    )  # fmt: skip


class Looks:
    """Looks at the registry for all streams together."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.streams = 0
        self._seen: Overview = {}
        self._looking = asyncio.Lock()
        self._taken = float("-inf")

    async def look(self) -> Overview:
        """The state of this second; whoever asks first in it has it taken."""
        async with self._looking:
            now = asyncio.get_running_loop().time()
            if now - self._taken >= _LOOK_SECONDS / 2:
                self._seen = await asyncio.to_thread(overview, self.host.registry, self.host.runner, self._seen)
                self._taken = now
            return self._seen


async def _events(looks: Looks, call: Call) -> Response:
    if call.request.in_process:
        raise MldbError("the stream of events never ends: it is for clients over HTTP")
    most = looks.host.settings.event_streams
    if looks.streams >= most:
        raise MldbError(f"{most} streams of events are open, the most that the setting event-streams allows", code=503)
    headers = [("Cache-Control", "no-cache"), ("X-Accel-Buffering", "no")]
    return Response(200, _stream(looks), "text/event-stream", headers)


async def _stream(looks: Looks) -> AsyncIterator[bytes]:
    """First everything that is there, then what changes; a comment now and then keeps the connection."""
    looks.streams += 1
    try:
        told: Overview = {}
        first = True
        silent = 0
        while not looks.host.shutdown.begun:
            now = await looks.look()
            changed, gone = changes(told, now)
            told = now
            silent += 1
            if first or changed or gone:
                yield _event("all" if first else "change", changed, gone)
                silent, first = 0, False
            elif silent >= _HEARTBEAT_LOOKS:
                yield b": still here\n\n"
                silent = 0
            await asyncio.sleep(_LOOK_SECONDS)
    finally:
        looks.streams -= 1


def _event(name: str, changed: list[bytes], gone: list[tuple[str, str]]) -> bytes:
    keys = jsontext.free_form([list(key) for key in gone])
    return b'event: %s\ndata: {"changed":[%s],"gone":%s}\n\n' % (name.encode(), b",".join(changed), keys)
