"""The worker's side of the socket: frames out from any thread, host calls that wait for their answer."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from contextvars import ContextVar
from itertools import count
from typing import Any, Final

from runtime import protocol
from runtime.jsontext import to_bytes
from runtime.messages import Reply

_READ_SIZE: Final = 256 * 1024
_LONGEST_LINE: Final = 64 * 1024  # characters of a line for the server log, which shows fewer

# The request whose code is running; 0 in main.py, scripts and threads of their own.
current_request: ContextVar[int] = ContextVar("request", default=0)


class RequestCancelled(BaseException):
    """Raised by host calls of a request whose client is gone."""


class Connection:
    """A connected socket to the host."""

    def __init__(self, link: socket.socket) -> None:
        self._socket = link
        self._lock = threading.Lock()
        self._calls = count(1)
        self._waiting: dict[int, _Waiter] = {}
        self._cancelled: set[int] = set()
        self._before_calls: Callable[[], None] = lambda: None
        self._owner = os.getpid()
        os.register_at_fork(after_in_child=self._disown)

    def _disown(self) -> None:
        # A child that plugin code forked must not speak for the worker.
        self._lock = threading.Lock()
        self._socket.close()

    def send(self, frame: protocol.Frame) -> None:
        """Write a frame; ``RuntimeError`` in a forked child, ``OSError`` when the host is gone."""
        if self.is_forked():
            raise RuntimeError("the host can be reached from the plugin's own process only, not from a fork of it")
        large = protocol.in_parts(frame, 0, protocol.FROM_WORKER)
        if large is None:
            data = protocol.encode(frame, protocol.FROM_WORKER)
            with self._lock:
                self._socket.sendall(data)
            return
        parts, last = large
        with self._lock:  # for all of them: the host keeps one body at a time
            for part in parts:
                self._socket.sendall(part)
            self._socket.sendall(last)

    def log(self, stream: str, seconds: float, text: str | None) -> None:
        """A line for the server log; that of a forked child takes the way of native libraries' output."""
        if text is not None and len(text) > _LONGEST_LINE:
            text = f"{text[:_LONGEST_LINE]}… ({len(text)} characters)"
        if not self.is_forked():
            self.send([protocol.LOG, stream, seconds, text, current_request.get()])
        else:
            with suppress(OSError):
                os.write(2, to_bytes(f"{text or ''}\n"))

    def declare(self, verb: str, path: str, summary: str, arguments: list[list[Any]]) -> None:
        """Tell the host of a route, for the API reference."""
        self.send([protocol.DECLARE, verb, path, summary, arguments])

    def is_forked(self) -> bool:
        """Whether this is a child that plugin code forked."""
        return os.getpid() != self._owner

    def frames(self, attend: Callable[[], None]) -> Iterator[list[Any]]:
        """Frames as they arrive; ends when the host closes. Answers to calls are handed to their callers.

        ``attend`` is called before each wait for more.
        """
        reader = protocol.FrameReader()
        while True:
            attend()
            data = self._socket.recv(_READ_SIZE)
            if not data:
                return
            for frame in reader.feed(data):
                if frame[0] == protocol.RETURN:
                    self._answer(frame)
                else:
                    yield frame

    def call(self, verb: str, path: str, params: list[tuple[str, str]], body: bytes, headers: dict[str, str]) -> Reply:
        """An in-process request to the host; waits for the answer."""
        return self._ask(lambda number, request: [
            protocol.CALL, number, request, verb, path, params, body, list(headers.items())
        ])  # fmt: skip

    def offer(self, kind: str, route: str, folder: str) -> Reply:
        """Ask the host to serve a folder."""
        return self._ask(lambda number, _request: [protocol.OFFER, number, kind, route, folder])

    def before_calls(self, work: Callable[[], None]) -> None:
        """Have something done before the host is asked for anything."""
        self._before_calls = work

    def heed_cancel(self) -> None:
        """``RequestCancelled`` when nobody waits for the request any more."""
        if current_request.get() in self._cancelled:
            raise RequestCancelled

    def _ask(self, frame: Any) -> Reply:
        self.heed_cancel()
        self._before_calls()
        request = current_request.get()
        number = next(self._calls)
        waiter = self._waiting[number] = _Waiter()
        try:
            self.send(frame(number, request))
            return waiter.wait()
        finally:
            self._waiting.pop(number, None)

    def _answer(self, frame: list[Any]) -> None:
        _, number, status, body, content_type, headers = frame
        waiter = self._waiting.get(number)
        if waiter is not None:
            waiter.answer(Reply(status, body, content_type, [(name, value) for name, value in headers]))

    @property
    def waiting(self) -> int:
        """How many threads wait for the host."""
        return len(self._waiting)

    def cancel(self, request: int) -> None:
        self._cancelled.add(request)

    def forget(self, request: int) -> None:
        """The request has ended."""
        self._cancelled.discard(request)


class _Waiter:
    """One thread waiting for one answer. A bare lock wakes faster than an Event."""

    __slots__ = ("_lock", "_reply")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()
        self._reply: Reply | None = None

    def answer(self, reply: Reply) -> None:
        self._reply = reply
        self._lock.release()

    def wait(self) -> Reply:
        self._lock.acquire()
        assert self._reply is not None
        return self._reply
