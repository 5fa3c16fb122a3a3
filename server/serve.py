"""Runs the server: socket, uvicorn, start-up message, graceful stop.

The socket answers before the large libraries are loaded: ``/ping`` and ``/healthz`` at once, everything else as soon
as the parts are there.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import resource
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn

from server import __version__
from server.http.protocol import protocol
from server.http.security import Gate
from server.settings import Settings
from server.shutdown import Shutdown

if TYPE_CHECKING:
    from server.app import Server
    from server.declarations import Services
    from server.http.asgi import Receive, Scope, Send
    from server.start_script import StartScript

_log = logging.getLogger("mldb.server")

_STOP_SECONDS = 10  # for requests in flight; then connections are closed
# The address is announced when entities and plugins are back, or after so long if a main.py takes its time.
_RESTORE_SECONDS = 10.0
# New objects between two collections. An answer of many rows makes millions that all live until it is sent: with
# Python's 700, walking through them takes longer than making them.
_COLLECT_AFTER = 10_000
_OTHER_FILES = 2048  # than connections: the database's, plugins', what is imported
_FEWEST_OTHERS = 64  # with which a server can do anything
_EARLY = {"/ping": b'"1"\n', "/healthz": b'{"alive":true}\n'}


class Application:
    """The ASGI application. ``failure`` says why the parts could not be loaded."""

    def __init__(
        self,
        settings: Settings,
        gate: Gate,
        shutdown: Shutdown,
        announcement: str,
        script: StartScript | None = None,
    ) -> None:
        self._settings = settings
        self._gate = gate
        self._shutdown = shutdown
        self._announcement = announcement
        self._script = script
        self._server: Server | None = None
        self._loaded = asyncio.Event()
        self._running_script: asyncio.Task[None] | None = None
        self.failure: Exception | None = None
        self.code = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif self._server is None and self._is_early(scope):
            await self._answer_early(scope, send)
        else:
            await self._loaded.wait()
            if self._server is not None:
                await self._server.gateway(scope, receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        loading = asyncio.create_task(self._load())
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await loading
        if self._running_script is not None:
            self._running_script.cancel()
        if self._server is not None:
            _log.info("MLDB stops")
            await self._server.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _load(self) -> None:
        try:
            server = await asyncio.to_thread(_build, self._settings, self._gate, self._shutdown)
            await server.start()
        except Exception as error:
            self.failure = error
            self._shutdown.begin()
        else:
            gc.freeze()  # what has been loaded stays: the collector need not walk through it
            gc.set_threshold(_COLLECT_AFTER)
            self._server = server
            self._loaded.set()
            # Who opens the address that is printed should find the plugins of the last time there.
            await asyncio.to_thread(server.host.registry.restored.wait, _RESTORE_SECONDS)
            print(self._announcement, flush=True)  # noqa: T201
            place = f"{self._settings.host}:{self._settings.port}"
            _log.info("MLDB %s is ready at %s, on the data root %s", __version__, place, self._settings.data_dir)
        finally:
            self._loaded.set()
        if self._server is not None and self._script is not None:
            self._running_script = asyncio.create_task(self._run(self._script, self._server.services))

    async def _run(self, script: StartScript, services: Services) -> None:
        code = await asyncio.to_thread(script.run, services)
        if code is not None:
            self.code = code
            self._shutdown.begin()

    def _is_early(self, scope: Scope) -> bool:
        """Whether it can be answered already. What the gate refuses waits for the parts that say how."""
        if scope["type"] != "http" or scope["method"] != "GET" or scope["path"] not in _EARLY:
            return False
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        query = scope["query_string"].decode("latin-1")
        return self._gate.check("GET", scope["path"], query, headers, scope["server"][1]) is None

    async def _answer_early(self, scope: Scope, send: Send) -> None:
        body = _EARLY[scope["path"]]
        fields = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": fields})
        await send({"type": "http.response.body", "body": body})


def _build(settings: Settings, gate: Gate, shutdown: Shutdown) -> Server:
    from server.app import Server

    server = Server(settings, gate, shutdown)
    server.jobs.keep_socket_in(settings.scratch)
    return server


def serve(settings: Settings, script: StartScript | None = None) -> int:
    """Serve until told to stop; the exit code."""
    _allow_files(settings)
    asked = settings.port
    try:
        listening = listen(settings.host, asked)
    except OSError as error:
        place = f"{settings.host}:{asked}: {error.strerror}"
        raise OSError(f"{place}: stop what listens there, or choose another by --port (0 takes a free one)") from None
    address = listening.getsockname()
    settings.port = address[1]
    gate = Gate(settings)
    sockets = [listening, *_plugin_sockets(settings, gate, free=asked == 0)]
    shutdown = Shutdown()
    application = Application(settings, gate, shutdown, announcement(gate, address), script)
    server = uvicorn.Server(_configuration(application, settings))
    shutdown.attach(server)
    write_port_file(address[1])
    # uvicorn raises the signal that stopped it once more when it is done; a stop that was asked for is no failure.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    server.run(sockets)
    if application.failure is not None:
        print(f"mldb: {application.failure}", file=sys.stderr, flush=True)  # noqa: T201
    sys.stdout.flush()
    # A thread that hangs in a library must not keep a stopped server alive: everything is closed by now.
    os._exit(application.code if application.failure is None else 1)


def _allow_files(settings: Settings) -> None:
    """Raise the soft limit of open files, which most systems set to 1024, as far as the hard one lets us.

    Where that is too low there are fewer connections: what is refused gets an answer, and the server keeps files.
    """
    wanted = settings.max_connections + _OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        most = max(1, soft - _FEWEST_OTHERS)
        if most < settings.max_connections:
            settings.max_connections = most
            told = (
                f"max-connections is {most}, as the system lets the server open {hard} files: raise that (ulimit -Hn)"
            )
            print(f"mldb: {told}", file=sys.stderr, flush=True)  # noqa: T201


def _plugin_sockets(settings: Settings, gate: Gate, free: bool) -> list[socket.socket]:
    """The port of plugin pages, if there is a token to keep from them; next to the main one unless that is ``free``."""
    if not gate.token or settings.plugin_origin:
        return []
    wanted = settings.plugin_port or (0 if free else settings.port + 1)
    try:
        listening = listen(settings.host, wanted)
    except OSError as error:
        raise OSError(f"port {wanted} for the pages of plugins: {error.strerror}; choose one by plugin-port") from None
    settings.plugin_port = listening.getsockname()[1]
    return [listening]


def _configuration(application: Application, settings: Settings) -> uvicorn.Config:
    return uvicorn.Config(
        application,
        loop="uvloop",
        http=protocol(settings),
        ws="none",
        lifespan="on",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=_STOP_SECONDS,
    )


def listen(host: str, port: int) -> socket.socket:
    """A bound socket; OSError when the port is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind((host, port))
    return listening


def announcement(gate: Gate, address: tuple[str, int]) -> str:
    """What is printed once requests are answered."""
    host = f"[{address[0]}]" if ":" in address[0] else address[0]
    base = f"http://{host}:{address[1]}"
    query = f"/?token={gate.token}" if gate.generated else "/"
    lines = [f"{base}{query}", f"{base}/logs/mldb", "MLDB ready"]
    return "\n".join(lines)


def write_port_file(port: int) -> None:
    """MLDB's test launchers wait for ``{"port": n}`` in the file that this variable names."""
    name = os.environ.get("LITERATE_DOC_BIND_FILENAME")
    if name:
        Path(name).write_text(json.dumps({"port": port}), encoding="utf-8")
