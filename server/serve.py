"""Runs the server: socket, uvicorn, start-up message, graceful stop."""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path

import uvicorn

from server.app import Application, Server
from server.settings import Settings

_STOP_SECONDS = 10  # for requests in flight; then connections are closed


class _Uvicorn(uvicorn.Server):
    """Says when it is ready."""

    def __init__(self, config: uvicorn.Config, announce: str) -> None:
        super().__init__(config)
        self._announcement = announce

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            print(self._announcement, flush=True)  # noqa: T201


def serve(settings: Settings) -> int:
    """Serve until told to stop; the exit code."""
    listening = listen(settings.host, settings.port)
    address = listening.getsockname()
    running: list[_Uvicorn] = []

    def stop() -> None:
        for each in running:
            each.should_exit = True

    server = Server(settings, stop)
    config = uvicorn.Config(
        Application(server),
        loop="uvloop" if sys.platform != "win32" else "asyncio",
        http="httptools",
        ws="none",
        lifespan="on",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=settings.max_connections,
        timeout_graceful_shutdown=_STOP_SECONDS,
    )
    running.append(_Uvicorn(config, announcement(server, address)))
    write_port_file(address[1])
    running[0].run([listening])
    sys.stdout.flush()
    # A thread that hangs in a library must not keep a stopped server alive: everything is closed by now.
    os._exit(0 if running[0].started else 1)


def listen(host: str, port: int) -> socket.socket:
    """A bound socket; OSError when the port is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind((host, port))
    return listening


def announcement(server: Server, address: tuple[str, int]) -> str:
    """What is printed once requests are answered."""
    host = f"[{address[0]}]" if ":" in address[0] else address[0]
    base = f"http://{host}:{address[1]}"
    query = f"/?token={server.gate.token}" if server.gate.generated else "/"
    lines = [f"{base}{query}", f"{base}/logs/mldb", "MLDB ready"]
    return "\n".join(lines)


def write_port_file(port: int) -> None:
    """MLDB's test launchers wait for ``{"port": n}`` in the file that this variable names."""
    name = os.environ.get("LITERATE_DOC_BIND_FILENAME")
    if name:
        Path(name).write_text(json.dumps({"port": port}), encoding="utf-8")
