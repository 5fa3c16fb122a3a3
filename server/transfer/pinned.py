"""Connections to checked addresses only, and streams that give up on slow servers. Needs httpcore when imported."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterable
from typing import Any

import httpcore

from server.errors import MldbError
from server.transfer.addresses import Resolver, checked_addresses
from server.transfer.limits import WebLimits


class PinnedBackend(httpcore.NetworkBackend):
    """Resolves a host once, checks every address and connects to one of these, in the order of the answer."""

    def __init__(self, limits: WebLimits, deadline: float, *, private: bool, resolver: Resolver) -> None:
        self._limits = limits
        self._deadline = deadline
        self._private = private
        self._resolver = resolver
        self._inner = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        failure: Exception = MldbError(f"Couldn't connect to '{host}'")
        until = min(time.monotonic() + (timeout or self._limits.connect), self._deadline)
        for address in checked_addresses(host, port, private=self._private, resolver=self._resolver):
            left = until - time.monotonic()
            if left <= 0:
                break
            try:
                stream = self._inner.connect_tcp(address, port, left, local_address, socket_options)
                return WatchedStream(stream, self._limits, self._deadline)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure


class WatchedStream(httpcore.NetworkStream):
    """Ends with ``ReadTimeout`` on a slow server. Only the time spent waiting for it counts, not the reader's own."""

    def __init__(self, inner: httpcore.NetworkStream, limits: WebLimits, deadline: float) -> None:
        self._inner = inner
        self._limits = limits
        self._deadline = deadline
        self._waited = 0.0
        self._received = 0

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        begin = time.monotonic()
        allowed = min(timeout or self._limits.read, max(self._deadline - begin, 0.001))
        if self._limits.slow_rate:
            allowed = min(allowed, max(self._limits.slow_window - self._waited, 0.001))
        data = self._inner.read(max_bytes, allowed)
        self._waited += time.monotonic() - begin
        self._received += len(data)
        if data and self._limits.slow_rate:
            self._check_rate()
        return data

    def _check_rate(self) -> None:
        if self._waited < self._limits.slow_window * 0.99:
            return
        if self._received < self._limits.slow_rate * self._waited:
            raise httpcore.ReadTimeout("too slow")
        self._waited, self._received = 0.0, 0

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, timeout)

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        inner = self._inner.start_tls(ssl_context, server_hostname, timeout or self._limits.connect)
        return WatchedStream(inner, self._limits, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)
