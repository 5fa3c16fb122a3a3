"""What the plugins and scripts of one server share: workers, the watcher, the way to the server's own routes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final, TypeVar

from runtime import protocol
from runtime.generation import Answer
from runtime.local_executor import LocalExecutor
from runtime.messages import Call, Limits, LogLine, Reply
from runtime.supervisor import Supervisor
from runtime.watcher import Watcher
from server import tracing
from server.entities.plugin_folders import PluginFolders
from server.entities.services import in_process_request
from server.entities.starts import Starts
from server.entities.stopped_plugins import StoppedPlugins
from server.errors import MldbError
from server.logs import request_id
from server.messages import Request, Response
from server.settings import Settings

if TYPE_CHECKING:
    from server.entities.markdown import Macros
    from server.entities.registry import Registry

Dispatch = Callable[[Request], Awaitable[Response]]
Result = TypeVar("Result")

_LEVELS: Final = {"log": logging.INFO, "stdout": logging.INFO, "stderr": logging.WARNING, "error": logging.ERROR}
_PING_SECONDS: Final = 2.0  # for the answer of a worker that is well
_CLOSING_SECONDS: Final = 5.0  # for requests in flight when the server stops
_logger = logging.getLogger("mldb.plugins")


class PluginHost:
    """What plugins and scripts of one server share. ``attach`` comes before the first plugin."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.executor = LocalExecutor()
        self.watcher = Watcher()
        self.stopped = StoppedPlugins(settings.data_dir / "stopped_plugins.json")
        self.macros: Macros = lambda _name, _arguments: None
        self._dispatch: Dispatch | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._serving: dict[Supervisor, str] = {}  # with the ids of their plugins
        self._restoring = True

    async def attach(self, dispatch: Dispatch, macros: Macros) -> None:
        """``dispatch`` answers what plugin code asks of the server, ``macros`` are those of its documentation."""
        self._loop, self._dispatch, self.macros = asyncio.get_running_loop(), dispatch, macros
        await asyncio.to_thread(self.watcher.start)  # it waits for its threads

    def load_folders(self, registry: Registry, starts: Starts) -> None:
        """Create the plugins of folders and manifests and keep them in step; returns when all plugins have started."""
        PluginFolders(self.settings, registry, self.watcher).load(starts)
        starts.wait()
        self._restoring = False
        self.stopped.keep_only(registry.ids("plugin"))

    def stays_stopped(self, id: str) -> bool:
        """Was this plugin stopped when the server ended? What is made later is to be served. Called from a thread."""
        if self._restoring:
            return id in self.stopped
        self.stopped.discard(id)
        return False

    @property
    def address(self) -> str:
        """The server's own URL."""
        host = self.settings.host
        return f"http://[{host}]:{self.settings.port}" if ":" in host else f"http://{host}:{self.settings.port}"

    @property
    def data_root(self) -> str:
        """The folder that ``file:///mldb_data/`` names."""
        return str(self.settings.data_dir.resolve())

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            raise MldbError("the server is still starting", code=503)
        return self._loop

    def limits(self, *, script: bool = False) -> Limits:
        settings = self.settings
        return Limits(
            memory=settings.worker_memory * 2**20,
            request_seconds=settings.request_timeout,
            start_seconds=settings.script_timeout if script else settings.start_timeout,
            restart_seconds=settings.restart_wait,
        )

    def call(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Run a coroutine on the event loop, from a worker thread."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result()

    async def perform(self, call: Call) -> Reply:
        """What plugin code asks of the server; enters the same resource table as HTTP does."""
        assert self._dispatch is not None
        request = in_process_request(call.verb, call.path, call.params, call.body, call.headers.items())
        request_id.set(call.headers.get("x-request-id", ""))
        with tracing.span(f"{request.verb} {request.path}", call.headers) as span:
            response = await self._dispatch(request)
            if span is not None:
                span.update_name(f"{request.verb} {request.route}")
        return Reply(response.status, await collected(response), response.content_type, response.headers)

    def log(self, source: str) -> Callable[[LogLine], None]:
        """A writer of server log lines for one plugin or for scripts."""

        def write(line: LogLine) -> None:
            level = _LEVELS.get(line.stream, logging.INFO)
            of = {"source": source, "stream": line.stream, "request": line.request}
            _logger.log(level, "%s", line.text or "", extra=of)

        return write

    def register(self, supervisor: Supervisor, id: str) -> None:
        """Count a plugin among those that ``health`` asks and ``close`` ends."""
        self._serving[supervisor] = id

    def forget(self, supervisor: Supervisor) -> None:
        self._serving.pop(supervisor, None)

    async def health(self) -> dict[str, Any]:
        """Whether every plugin's worker answers, by a real round trip to each."""
        serving = dict(self._serving)
        answers = await asyncio.gather(*(supervisor.healthy(_PING_SECONDS) for supervisor in serving))
        silent = sorted(id for id, healthy in zip(serving.values(), answers, strict=True) if not healthy)
        return {"ok": not silent, "plugins": len(serving), **({"silent": silent} if silent else {})}

    async def close(self) -> None:
        """Stop watching and end all workers."""
        await asyncio.to_thread(self.watcher.stop)
        await asyncio.gather(*(supervisor.stop(_CLOSING_SECONDS) for supervisor in self._serving))
        await self.executor.close()


async def collected(response: Response) -> bytes:
    """The whole body of an answer."""
    if isinstance(response.body, bytes):
        return response.body
    return b"".join([chunk async for chunk in response.body])


def traced(code: str, answer: Answer, of: str) -> None:
    """A span of what plugin code has run, by its worker's own watch."""
    tracing.past(code, answer.begun, answer.ended, plugin=of, raised=answer.kind == protocol.RAISED)
