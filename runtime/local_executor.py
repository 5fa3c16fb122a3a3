"""Workers on this machine, forked from fork servers: one for each set of modules that workers begin with."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Final

import msgpack

from runtime.executor import Environment, WorkerEvents, WorkerFailure, WorkerHandle
from runtime.forkserver import MESSAGE_LIMIT
from runtime.local_worker import LocalWorker
from runtime.messages import Limits

logger = logging.getLogger("mldb.runtime")

_PROJECT: Final = str(Path(__file__).resolve().parent.parent)

# Imported by every worker anyway, and light.
LIGHT_MODULES: Final = (
    "datetime",
    "decimal",
    "json",
    "random",
    "re",
    "unittest",
    "urllib.parse",
    "urllib.request",
    "uuid",
)

# Fork servers beside the plain one. Each keeps its libraries in memory; the least recently used one goes first.
MAX_TEMPLATES: Final = 4

_PLAIN: Final = Environment()


def _command(control: int, environment: Environment) -> list[str]:
    """The command line of a fork server. ``-P``: the working directory is no place to import from."""
    arguments = (control, _PROJECT, list(environment.paths), list(environment.modules))
    program = f"import sys; sys.path.insert(0, {_PROJECT!r}); from runtime.forkserver import main; main(*{arguments!r})"
    return [sys.executable, "-P", "-c", program]


def _clean_environment() -> dict[str, str]:
    """The environment of plugin code: the host's, without its secrets."""
    return {name: value for name, value in os.environ.items() if not name.startswith("MLDB_")}


@dataclass
class _Order:
    """A fork that was asked for: what it is to become, and the id of its process once it is there."""

    worker: LocalWorker
    forked: asyncio.Future[int]


class _ForkServer:
    """The host's side of one fork server."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._loop = asyncio.get_running_loop()
        self._orders: dict[int, _Order] = {}
        self._workers: dict[int, LocalWorker] = {}
        self._numbers = count(1)
        self._ready: asyncio.Future[None] = self._loop.create_future()
        self.alive = True
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            # Popen on the loop's own thread: the fork server dies with the thread that started it. It takes 1 ms.
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and our own program
                _command(theirs.fileno(), environment),
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                env=_clean_environment(),
            )
        self._control.setblocking(False)
        self._loop.add_reader(self._control.fileno(), self._receive)

    @property
    def busy(self) -> bool:
        return bool(self._workers or self._orders)

    async def ready(self) -> None:
        await asyncio.shield(self._ready)

    async def fork(self, events: WorkerEvents, limits: Limits) -> LocalWorker:
        await self.ready()
        link, their_link = socket.socketpair()
        output, their_output = os.pipe()
        worker = LocalWorker(events, self.kill, output)
        order = _Order(worker, self._loop.create_future())
        number = next(self._numbers)
        self._orders[number] = order
        try:
            await worker.connect(link)
            message = msgpack.packb(["fork", number, limits.memory, limits.open_files])
            socket.send_fds(self._control, [message], [their_link.fileno(), their_output])
            worker.pid = await order.forked
        except BaseException:
            worker.abandon()
            raise
        finally:
            self._orders.pop(number, None)
            their_link.close()
            os.close(their_output)
        return worker

    def kill(self, pid: int) -> None:
        """Have the fork server end a process: it knows whether the id still is that of the worker."""
        if self.alive and pid:
            with suppress(OSError):
                self._control.send(msgpack.packb(["kill", pid]))

    def _receive(self) -> None:
        while self.alive:
            try:
                message = self._control.recv(MESSAGE_LIMIT)
            except BlockingIOError:
                return
            except OSError:
                message = b""
            if not message:
                self._lost()
                return
            self._take(msgpack.unpackb(message))

    def _take(self, message: list[Any]) -> None:
        """What the fork server tells, see ``forkserver``."""
        match message:
            case ["ready", missing] if not self._ready.done():
                if missing:
                    logger.info("modules that a template could not import: %s", ", ".join(missing))
                self._ready.set_result(None)
            case ["forked", number, pid]:
                if (order := self._waiting(number)) is None:
                    self.kill(pid)
                else:
                    self._workers[pid] = order.worker
                    order.forked.set_result(pid)
            case ["failed", number, reason] if (order := self._waiting(number)) is not None:
                order.forked.set_exception(WorkerFailure(f"a worker cannot be started: {reason}"))
            case ["ended", pid, status] if pid in self._workers:
                self._workers.pop(pid).on_end(status)

    def _waiting(self, number: int) -> _Order | None:
        """The order of that number, unless it has been given up."""
        order = self._orders.get(number)
        return None if order is None or order.forked.done() else order

    def _lost(self) -> None:
        """The fork server ended; its workers end with it."""
        self.alive = False
        self._loop.remove_reader(self._control.fileno())
        self._control.close()
        failure = WorkerFailure("the fork server ended")
        waiting: list[asyncio.Future[Any]] = [self._ready, *(order.forked for order in self._orders.values())]
        for future in waiting:
            if not future.done():
                future.set_exception(failure)
                future.exception()  # retrieved: nobody may be waiting
        for worker in list(self._workers.values()):
            worker.on_end(None)
        self._workers.clear()

    async def close(self) -> None:
        if self.alive:
            self._lost()
        await asyncio.to_thread(self._process.wait)


@dataclass
class LocalExecutor:
    """Workers on this machine."""

    _servers: dict[Environment, _ForkServer] = field(default_factory=dict)
    _ending: set[asyncio.Task[None]] = field(default_factory=set)

    async def start(self, events: WorkerEvents, limits: Limits, environment: Environment) -> WorkerHandle:
        server = self._server(environment)
        try:
            return await server.fork(events, limits)
        except WorkerFailure:
            if server.alive:
                raise
        return await self._server(environment).fork(events, limits)

    async def warm(self, environment: Environment) -> None:
        await self._server(environment).ready()

    def is_warm(self, environment: Environment) -> bool:
        server = self._servers.get(environment)
        return server is not None and server.alive and server._ready.done()

    def _server(self, environment: Environment) -> _ForkServer:
        server = self._servers.pop(environment, None)
        if server is not None and not server.alive:
            self._end(server)
            server = None
        if server is None:
            server = _ForkServer(environment if environment.modules else Environment(environment.paths, LIGHT_MODULES))
        self._servers[environment] = server  # the last is the most recently used
        self._retire()
        return server

    def _retire(self) -> None:
        """Beyond the limit, the least recently used templates without workers end."""
        templates = [environment for environment in self._servers if environment != _PLAIN]
        for environment in templates[: max(0, len(templates) - MAX_TEMPLATES)]:
            if not self._servers[environment].busy:
                self._end(self._servers.pop(environment))

    def _end(self, server: _ForkServer) -> None:
        task = asyncio.ensure_future(server.close())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def close(self) -> None:
        for server in self._servers.values():
            self._end(server)
        self._servers.clear()
        await asyncio.gather(*self._ending)
