"""``experimental.external``: plugins that are HTTP servers of their own, in any language (entity-types.md §5).

The command prints ``MLDB PLUGIN http http://host:port`` once it listens. It answers ``/ping``, ``/status``,
``/routes/…`` and ``/doc/…``, and ends at SIGHUP.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterable
from contextlib import suppress
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import IO, Any, Final, Literal
from urllib.parse import urlsplit

import httpx
from pydantic import Field, field_validator

from server.declarations import Creation, EntityType, Params
from server.errors import MldbError
from server.messages import Request, Response

_ANNOUNCEMENT: Final = ["MLDB", "PLUGIN", "http"]
_PROJECT: Final = Path(__file__).resolve().parent.parent.parent
_QUICK: Final = 2.0  # seconds for /ping and /status
_LONGEST_LINE: Final = 64 * 1024
_OF_THE_CONNECTION: Final = frozenset(
    ["connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "proxy-authorization", "host",
     "content-length", "content-type", "content-encoding", "accept-encoding"]
)  # fmt: skip
_OF_THE_SERVER: Final = frozenset(["cookie", "set-cookie", "authorization"])  # its visitors' and nobody else's
_logger = logging.getLogger("mldb.plugins")


class Command(Params):
    """A command."""

    commandLine: list[str] = Field(description="The program and its arguments", min_length=1)


class SubprocessParams(Params):
    """Parameters of a subprocess."""

    command: Command = Field(description="What to run")

    @field_validator("command", mode="before")
    @classmethod
    def _plain(cls, given: Any) -> Any:
        return {"commandLine": given} if isinstance(given, list) else given


class Subprocess(Params):
    """How something is run."""

    type: Literal["subprocess"] = Field(description="subprocess")
    params: SubprocessParams = Field(description="The command")


class ExternalPluginParams(Params):
    """Parameters of experimental.external."""

    setup: Subprocess | None = Field(None, description="A command that is run to its end before the plugin is started")
    startup: Subprocess = Field(description="The command that is the plugin")


class ExternalPlugin:
    """The plugin entity: a process, and the address at which it answers."""

    def __init__(self, creation: Creation) -> None:
        params: ExternalPluginParams = creation.params
        self.id = creation.id
        settings = creation.services.settings
        if params.setup is not None:
            self._set_up(params.setup.params.command.commandLine)
        self._process = _start(params.startup.params.command.commandLine)
        creation.progress.on_cancel(self.close)
        try:
            address = self._announced(settings.start_timeout)
            self._client = httpx.Client(
                base_url=address, timeout=settings.request_timeout, trust_env=False, cookies=_no_cookies()
            )
            self._ping()
        except BaseException:
            self.close()
            raise

    def _set_up(self, command: list[str]) -> None:
        process = _start(command)
        for line in _lines(process.stdout):
            self._log(logging.INFO, "stdout", line)
        if code := process.wait():
            raise MldbError(f"the setup of the plugin ended with {code}: the log has what it said")

    def _announced(self, seconds: float) -> str:
        """The address that it prints. Everything else that it prints, then and later, goes to the log."""
        found: SimpleQueue[str | None] = SimpleQueue()
        threading.Thread(target=self._follow, args=(found,), name=f"plugin {self.id}", daemon=True).start()
        try:
            address = found.get(timeout=seconds)
        except Empty:
            raise MldbError(
                f"the plugin did not print 'MLDB PLUGIN http <address>' within {seconds:g} seconds "
                "(the setting start-timeout)"
            ) from None
        if address is None:
            raise MldbError(
                f"the plugin ended with {self._process.wait()} before it listened: the log has what it said"
            )
        if urlsplit(address).scheme != "http":
            raise MldbError(f"the plugin prints an address that is not http: {address}")
        return address

    def _follow(self, found: SimpleQueue[str | None]) -> None:
        for line in _lines(self._process.stdout):
            words = line.split()
            if words[:3] == _ANNOUNCEMENT and len(words) == 4:
                found.put(words[3])
            else:
                self._log(logging.INFO, "stdout", line)
        found.put(None)

    def _log(self, level: int, stream: str, text: str) -> None:
        _logger.log(level, "%s", text, extra={"source": self.id, "stream": stream})

    def _ping(self) -> None:
        try:
            answer = self._client.get("/ping", timeout=_QUICK)
        except httpx.HTTPError as error:
            raise MldbError(f"the plugin does not answer GET /ping: {error}") from None
        if answer.status_code != 200:
            raise MldbError(f"the plugin answers GET /ping with {answer.status_code}")

    def status(self) -> Any:
        """What ``/status`` says, or why it does not."""
        if (code := self._process.poll()) is not None:
            return {"state": "ended", "code": code}
        try:
            return self._client.get("/status", timeout=_QUICK).json()
        except (httpx.HTTPError, ValueError) as error:
            return {"state": "silent", "error": str(error)}

    def version(self) -> Any:
        """What ``/version`` says, {} when it has none."""
        with suppress(httpx.HTTPError, ValueError):
            answer = self._client.get("/version", timeout=_QUICK)
            return answer.json() if answer.status_code == 200 else {}
        return {}

    def route(self, request: Request) -> Response:
        return self._hand_on(f"/routes{request.remaining}", request)

    def documentation(self, request: Request) -> Response:
        return self._hand_on(f"/doc{request.remaining}", request)

    def _hand_on(self, path: str, request: Request) -> Response:
        headers = _handed_on(request.headers.items())
        if request.content_type:
            headers.append(("content-type", request.content_type))
        try:
            answer = self._client.request(
                request.verb,
                path,
                params=httpx.QueryParams(list(request.params)),
                content=request.body,
                headers=headers,
            )
        except httpx.TimeoutException:
            limit = self._client.timeout.read
            raise MldbError(f"the plugin did not answer within {limit:g} seconds", code=504) from None
        except httpx.HTTPError as error:
            raise MldbError(f"the plugin cannot be reached: {error}", code=502) from None
        content_type = answer.headers.get("content-type", "")
        return Response(answer.status_code, answer.content, content_type, _handed_on(answer.headers.multi_items()))

    def close(self) -> None:
        """Send SIGHUP; what does not end is killed."""
        if self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.close()


def _start(command: list[str]) -> subprocess.Popen[bytes]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLDB_")}
    return subprocess.Popen(  # noqa: S603 - who may make plugins may run code
        [sys.executable, "-m", "runtime.companion", *command],
        cwd=_PROJECT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def _no_cookies() -> CookieJar:
    """Requests of different people must not share what one of them was given."""
    return CookieJar(DefaultCookiePolicy(allowed_domains=()))


def _lines(stream: IO[bytes] | None) -> Iterable[str]:
    assert stream is not None
    with stream:
        while line := stream.readline(_LONGEST_LINE):
            yield line.decode("utf-8", "replace").rstrip("\r\n")


def _handed_on(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(name, value) for name, value in headers if name.lower() not in _OF_THE_CONNECTION | _OF_THE_SERVER]


TYPES = [
    EntityType(
        kind="plugin",
        name="experimental.external",
        params=ExternalPluginParams,
        summary="A plugin that is an HTTP server of its own, in any language",
        create=ExternalPlugin,
        doc="The command prints `MLDB PLUGIN http <address>` once it listens there; it answers `/ping`, `/status`, "
        "`/routes/…` and `/doc/…`, and ends at SIGHUP.",
    ),
]
