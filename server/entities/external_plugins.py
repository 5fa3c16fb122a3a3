"""``experimental.external``: plugins that are HTTP servers of their own, in any language (entity-types.md §5).

The command prints ``MLDB PLUGIN http http://host:port`` once it listens. It answers ``/ping``, ``/status``,
``/routes/…`` and ``/doc/…``, and ends at SIGHUP.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, Final, Literal

import httpx
from pydantic import Field, field_validator

from runtime.capture import RateLimit
from runtime.files import STATUSES
from runtime.incidents import Failure
from runtime.output import time_text
from runtime.traffic import Traffic
from server.declarations import Creation, EntityType, Params
from server.entities.external_process import ExternalProcess
from server.errors import MldbError
from server.messages import Request, Response

_QUICK: Final = 2.0  # seconds for /ping and /status
_LONGEST_TOLD: Final = 1 << 20  # bytes of what /status and /version say
_OF_THE_CONNECTION: Final = frozenset(
    ["connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "proxy-authorization", "host",
     "content-type"]
)  # fmt: skip
# Its visitors' and nobody else's, and what each of its own answers tells.
_OF_THE_SERVER: Final = frozenset(["cookie", "set-cookie", "authorization", "date", "server"])
_PLAIN: Final = {"accept-encoding": "identity"}  # unless the visitor takes others
_UNLIMITED: Final = httpx.Limits(max_connections=None)
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
        self._log = RateLimit(self._log_line)
        self._loop: asyncio.AbstractEventLoop | None = None  # where the client has been used
        self._traffic = Traffic()
        self._last_error: Failure | None = None  # of a request
        settings = creation.services.settings
        self._most_at_once = settings.max_body << 20
        seconds = settings.start_timeout
        if params.setup is not None:
            creation.progress.step("setup")
            self._set_up(creation, params.setup.params.command.commandLine, seconds)
        creation.progress.step("startup")
        self._process = ExternalProcess(params.startup.params.command.commandLine, self._log_output)
        creation.progress.on_cancel(self.close)
        try:
            address = self._process.announced(f"plugin {self.id}", seconds)
            common: Any = {"base_url": address, "trust_env": False, "headers": _PLAIN}
            self._told_by = httpx.Client(timeout=_QUICK, **common)
            self._client = httpx.AsyncClient(
                timeout=settings.request_timeout, cookies=_no_cookies(), limits=_UNLIMITED, **common
            )
            self._ping()
        except BaseException:
            self.close()
            creation.progress.check()
            raise
        self._loaded = time.time()

    def _set_up(self, creation: Creation, command: list[str], seconds: float) -> None:
        process = ExternalProcess(command, self._log_output)
        creation.progress.on_cancel(process.hang_up)
        code = process.finish(seconds)
        creation.progress.check()
        if code is None:
            raise MldbError(f"the setup of the plugin took longer than {seconds:g} seconds (the setting start-timeout)")
        if code:
            raise MldbError(f"the setup of the plugin ended with {code}: the log has what it said")

    def _log_output(self, line: str) -> None:
        self._log("stdout", time.time(), line)

    def _log_line(self, stream: str, _seconds: float, text: str | None) -> None:
        _logger.info("%s", text, extra={"source": self.id, "stream": stream})

    def _ping(self) -> None:
        try:
            code, _ = self._told("/ping")
        except (httpx.HTTPError, ValueError) as error:
            raise MldbError(f"the plugin does not answer GET /ping: {error}") from None
        if code != 200:
            raise MldbError(f"the plugin answers GET /ping with {code}")

    def _told(self, path: str) -> tuple[int, bytes]:
        """Status and body of a short answer; ``httpx.HTTPError`` or ``ValueError`` when there is none."""
        end = time.monotonic() + _QUICK
        content = b""
        with self._told_by.stream("GET", path) as answer:
            for chunk in answer.iter_raw():
                content += chunk
                if len(content) > _LONGEST_TOLD or time.monotonic() > end:
                    raise ValueError(f"its answer to {path} does not end")
        return answer.status_code, content

    def status(self) -> Any:
        """What ``/status`` says, or why it does not."""
        if (code := self._process.code()) is not None:
            return {"state": "ended", "code": code}
        try:
            return json.loads(self._told("/status")[1])
        except (httpx.HTTPError, ValueError, RecursionError) as error:
            return {"state": "silent", "error": str(error)}

    def report(self) -> dict[str, Any]:
        """What the console shows; generations and memory are the plugin's own affair."""
        code = self._process.code()
        report: dict[str, Any] = {
            "state": "serving" if code is None else "ended",
            "requests": self._traffic.plain(),
            "loaded": time_text(self._loaded),
            "source": {},
        }
        if code is not None:
            report["lastFailure"] = Failure(f"the plugin ended with {code}", self._process.ended).plain()
        if self._last_error is not None:
            report["lastError"] = self._last_error.plain()
        return report

    def version(self) -> Any:
        """What ``/version`` says, {} when it has none."""
        with suppress(httpx.HTTPError, ValueError, RecursionError):
            code, content = self._told("/version")
            return json.loads(content) if code == 200 else {}
        return {}

    async def route(self, request: Request) -> Response:
        return await self._hand_on(f"/routes{request.remaining}", request)

    async def documentation(self, request: Request) -> Response:
        return await self._hand_on(f"/doc{request.remaining}", request)

    async def _hand_on(self, path: str, request: Request) -> Response:
        began, failure = time.monotonic(), ""
        try:
            response = await self._answer(path, request)
            failure = f"the plugin answered {response.status}" if response.status >= 500 else ""
        except MldbError as error:
            failure = error.message
            raise
        finally:
            self._traffic.note(began, failed=bool(failure))
            if failure:
                self._last_error = Failure(failure, time.time(), request=f"{request.verb} {path}")
        return response

    async def _answer(self, path: str, request: Request) -> Response:
        """The plugin's answer, as it comes; whole for code in process."""
        if not {".", ".."}.isdisjoint(path.split("/")):
            raise MldbError("a path with . or .. in it leads nowhere: write where it is to lead")
        self._loop = asyncio.get_running_loop()
        headers = _handed_on(request.headers.items())
        if request.content_type:
            headers.append(("content-type", request.content_type))
        params = httpx.QueryParams(list(request.params))
        asked = self._client.build_request(request.verb, path, params=params, content=request.body, headers=headers)
        try:
            answer = await self._client.send(asked, stream=True)
            if answer.status_code not in STATUSES:
                await answer.aclose()
                raise MldbError(f"the plugin answers with {answer.status_code}, which is no HTTP status", code=502)
            body = await self._whole(answer) if request.in_process else _pieces(answer)
        except httpx.TimeoutException:
            limit = self._client.timeout.read
            raise MldbError(f"the plugin did not answer within {limit:g} seconds", code=504) from None
        except httpx.HTTPError as error:
            raise MldbError(f"the plugin cannot be reached: {error}", code=502) from None
        if "transfer-encoding" in answer.headers:
            answer.headers.pop("content-length", None)
        content_type = answer.headers.get("content-type", "")
        return Response(answer.status_code, body, content_type, _handed_on(answer.headers.multi_items()))

    async def _whole(self, answer: httpx.Response) -> bytes:
        content = bytearray()
        async for chunk in _pieces(answer):
            content += chunk
            if len(content) > self._most_at_once:
                await answer.aclose()
                raise MldbError("the plugin's answer is larger than the setting max-body allows", code=502)
        return bytes(content)

    def close(self) -> None:
        """Send SIGHUP; what does not end is killed. Called from a thread."""
        self._process.hang_up()
        if self._loop is not None:
            asyncio.run_coroutine_threadsafe(self._client.aclose(), self._loop)


async def _pieces(answer: httpx.Response) -> AsyncIterator[bytes]:
    try:
        async for chunk in answer.aiter_raw():
            yield chunk
    except httpx.HTTPError as error:
        raise MldbError(f"the plugin left its answer unfinished: {error}", code=502) from None
    finally:
        await answer.aclose()


def _no_cookies() -> CookieJar:
    """Requests of different people must not share what one of them was given."""
    return CookieJar(DefaultCookiePolicy(allowed_domains=()))


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
