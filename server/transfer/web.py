"""``http:`` and ``https:`` reads: checked and pinned addresses, redirects, limits of size, time and slowness.

The host name is resolved once, by us; the connection goes to the address that was checked, so a second answer of
the name server cannot change where it leads. TLS still verifies the name of the URL. Proxies of the environment
are not used: behind one the address could not be checked.
"""

from __future__ import annotations

import io
import ssl
import time
from base64 import b64encode
from collections.abc import Iterable, Iterator
from dataclasses import replace
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import TYPE_CHECKING, BinaryIO, cast
from urllib.parse import quote, unquote, urljoin, urlsplit, urlunsplit

from server.errors import MldbError, NotFound
from server.transfer.addresses import Resolver, resolve
from server.transfer.limits import WebLimits
from server.transfer.schemes import Scheme, UrlStat
from server.transfer.streams import MIB, LimitedReader, Source
from server.values.atoms import NEVER

if TYPE_CHECKING:
    import httpcore

TIMEOUT = "Timeout was reached"
_REDIRECTS = (301, 302, 303, 307, 308)
_SAFE = "/:?#[]@!$&'()*+,;=%~-._"


class WebScheme(Scheme):
    """GET and HEAD with the policy above. ``private`` lets requests reach loopback and private addresses."""

    def __init__(self, *, private: bool, limits: WebLimits, resolver: Resolver = resolve) -> None:
        self._private = private
        self._limits = limits
        self._resolver = resolver

    def open_read(self, url: str, *, patient: bool = False) -> Source:
        """The body of the answer after redirects; ``MldbError`` for any status but 2xx and for each limit."""
        limits = replace(self._limits, slow_rate=0) if patient else self._limits
        deadline = time.monotonic() + limits.total
        exchange = self._follow("GET", url, limits, deadline)
        size = _length(exchange.headers)
        stream = LimitedReader(
            cast(BinaryIO, io.BufferedReader(_Body(exchange, deadline), MIB)), size=limits.size, setting="fetch_size"
        )
        return Source(cast(BinaryIO, io.BufferedReader(stream, MIB)), size, _modified(exchange.headers))

    def stat(self, url: str) -> UrlStat:
        try:
            exchange = self._follow("HEAD", url, self._limits, time.monotonic() + self._limits.read)
        except NotFound:
            return UrlStat(False)
        exchange.close()
        size = _length(exchange.headers)
        etag = exchange.headers.get("etag", "")
        return UrlStat(True, -1 if size is None else size, _modified(exchange.headers), etag)

    def _follow(self, verb: str, url: str, limits: WebLimits, deadline: float) -> _Exchange:
        for _ in range(limits.redirects + 1):
            exchange = self._send(verb, url, limits, deadline)
            target = exchange.headers.get("location")
            if exchange.status in _REDIRECTS and target is not None:
                exchange.close()
                url = _redirected(url, target)
                continue
            if 200 <= exchange.status < 300:
                return exchange
            exchange.close()
            kind = NotFound if exchange.status in (404, 410) else MldbError
            raise kind(f"request to '{url}' was answered with HTTP status {exchange.status}", code=400)
        raise MldbError(f"Maximum ({limits.redirects}) redirects followed")

    def _send(self, verb: str, url: str, limits: WebLimits, deadline: float) -> _Exchange:
        import httpcore

        from server.transfer import pinned  # it needs httpcore when it is imported, which takes its time

        location = _ascii_url(url)
        backend = pinned.PinnedBackend(limits, deadline, private=self._private, resolver=self._resolver)
        pool = httpcore.ConnectionPool(ssl_context=_tls(), network_backend=backend, max_connections=1)
        timeouts = {"connect": limits.connect, "read": limits.read, "write": limits.read, "pool": limits.connect}
        request = httpcore.Request(
            verb,
            location,
            headers=_headers(url, location),
            extensions={"timeout": timeouts},
        )
        try:
            return _Exchange(pool, pool.handle_request(request), url)
        except Exception as error:
            pool.close()
            raise _web_error(error, url) from None


class _Exchange:
    """An answer whose body has not been read."""

    def __init__(self, pool: httpcore.ConnectionPool, response: httpcore.Response, url: str) -> None:
        self._pool = pool
        self._response = response
        self.url = url
        self.status = response.status
        self.headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}

    def chunks(self) -> Iterator[bytes]:
        stream = cast("Iterable[bytes]", self._response.stream)
        try:
            yield from stream
        except Exception as error:
            raise _web_error(error, self.url) from None

    def close(self) -> None:
        # The pool's connection is shut at once: draining the body of a refused answer would wait for its sender.
        self._response.close()
        self._pool.close()


class _Body(io.RawIOBase):
    def __init__(self, exchange: _Exchange, deadline: float) -> None:
        self._exchange = exchange
        self._chunks = exchange.chunks()
        self._deadline = deadline
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object, /) -> int:
        view = memoryview(buffer)  # type: ignore[arg-type]
        while not self._rest:
            if time.monotonic() > self._deadline:
                raise MldbError(f"{TIMEOUT}: '{self._exchange.url}' took too long; the setting is fetch_time")
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._rest = memoryview(chunk)
        count = min(len(view), len(self._rest))
        view[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._exchange.close()


@lru_cache(maxsize=1)
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


def _web_error(error: Exception, url: str) -> Exception:
    import httpcore

    if isinstance(error, httpcore.TimeoutException):
        return MldbError(f"{TIMEOUT}: '{url}'")
    if isinstance(error, (httpcore.NetworkError, httpcore.ProtocolError, httpcore.UnsupportedProtocol, OSError)):
        return MldbError(f"request to '{url}' failed: {str(error) or type(error).__name__}")
    return error


def _redirected(url: str, location: str) -> str:
    # A redirect to file:, ftp: or anything else would leave the policy of this scheme.
    target = urljoin(url, location)
    if urlsplit(target).scheme.lower() not in ("http", "https"):
        raise MldbError(f"redirect of '{url}' to another scheme than http or https is refused", code=403)
    return target


def _ascii_url(url: str) -> str:
    """Percent-encode what is not ASCII, and the host by IDNA; checks what a request needs."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise MldbError(f"'{url}' is not a valid URL: {error}") from None
    if not host or any(character <= " " for character in host):
        raise MldbError(f"'{url}' has no valid host")
    host = f"[{host}]" if ":" in host else _ascii_host(host)
    location = host if port is None else f"{host}:{port}"
    return urlunsplit((parts.scheme, location, quote(parts.path or "/", _SAFE), quote(parts.query, _SAFE), ""))


def _ascii_host(host: str) -> str:
    if host.isascii():
        return host
    try:
        return host.encode("idna").decode("ascii")
    except UnicodeError:
        raise MldbError(f"'{host}' is not a valid host name") from None


def _headers(url: str, location: str) -> list[tuple[str, str]]:
    parts = urlsplit(url)
    headers = [("Host", urlsplit(location).netloc), ("User-Agent", "mldb"), ("Accept", "*/*"), ("Connection", "close")]
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers.append(("Authorization", "Basic " + b64encode(pair.encode()).decode()))
    return headers


def _length(headers: dict[str, str]) -> int | None:
    text = headers.get("content-length", "")
    return int(text) if text.isascii() and text.isdigit() else None


def _modified(headers: dict[str, str]) -> float:
    """The time of the Last-Modified header in seconds, -inf when it lacks."""
    text = headers.get("last-modified")
    if text is None:
        return NEVER
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):
        return NEVER
