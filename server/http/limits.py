"""What a query over HTTP may take: it is listed while it runs, and a cancel, a limit or its client going ends it.

Queries are asked for in several ways: by a text, by the routes of a dataset, by applying a function.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from threading import Timer
from typing import Any

from server import tasks
from server.entities.queries import RunningQuery
from server.entities.routes import Call
from server.errors import Cancelled, MldbError
from server.http.host import Host

ID_HEADER = "x-query-id"  # by which a caller may name the query, to ask after it and to cancel it
_GONE = MldbError("the query was stopped: its client has gone", code=499)
_QUICK = 0.05  # seconds: calls on the event loop that end sooner are not listed, which would cost as much as they do


@contextmanager
def limited(host: Host, call: Call, query: str | Mapping[str, Any] | None = None) -> Iterator[RunningQuery]:
    """What this thread does here is a query; without a text of its own it is listed by its request.

    Raises why it was stopped.
    """
    with _listed(host, call, query) as running:
        seconds = host.settings.query_timeout
        timer = Timer(_left(seconds, call), running.stop, [_late(seconds)]) if seconds else None
        if timer is not None:
            timer.daemon = True
            timer.start()
        try:
            with tasks.acting_for(running):
                yield running
        except Cancelled:
            raise running.reason() from None
        finally:
            if timer is not None:
                timer.cancel()


@contextmanager
def _listed(host: Host, call: Call, query: str | Mapping[str, Any] | None) -> Iterator[RunningQuery]:
    text = f"{call.request.verb} {call.request.path}" if query is None else query
    limit = host.settings.result_size << 20
    with host.queries.running(text, call.request.headers.get(ID_HEADER, ""), limit) as running:
        if call.request.client is not None:
            call.request.client.on_gone(lambda: running.stop(_GONE))
        yield running


def _left(seconds: float, call: Call) -> float:
    """Of the time that a call may take, which may have been begun again (``dispatch``)."""
    return max(0.0, seconds - (time.monotonic() - call.begun))


def _late(seconds: float) -> MldbError:
    text = f"the query was stopped: it took longer than the {seconds:g} s that the setting query-timeout allows"
    return MldbError(text, code=408)


class Awaited:
    """A query whose answer a coroutine waits for: when it is stopped, the future that it waits for fails.

    Used on the event loop. It is listed when it is not quick.
    """

    def __init__(self, host: Host, call: Call) -> None:
        self._host = host
        self._call = call
        self._loop = asyncio.get_running_loop()
        self._timers: list[asyncio.TimerHandle] = []
        self._stack: ExitStack | None = None

    def __enter__(self) -> Callable[[asyncio.Future[Any]], None]:
        return self._watch

    def __exit__(self, *error: object) -> None:
        for timer in self._timers:
            timer.cancel()
        if self._stack is not None:
            self._stack.close()

    def _watch(self, future: asyncio.Future[Any]) -> None:
        if ID_HEADER in self._call.request.headers:
            self._list(future)
        else:
            self._timers.append(self._loop.call_later(_QUICK, self._list, future))
        seconds = self._host.settings.query_timeout
        if seconds:
            self._timers.append(self._loop.call_later(_left(seconds, self._call), _fail, future, _late(seconds)))

    def _list(self, future: asyncio.Future[Any]) -> None:
        self._stack = ExitStack()
        running = self._stack.enter_context(_listed(self._host, self._call, None))
        running.on_cancel(lambda: self._loop.call_soon_threadsafe(_fail, future, running.reason()))


def _fail(future: asyncio.Future[Any], error: MldbError) -> None:
    if not future.done():
        future.set_exception(error)
