"""The clients that wait for an answer: who wants to know hears that one has hung up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from server.http.asgi import Receive

_PATIENCE = 0.1  # seconds


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
