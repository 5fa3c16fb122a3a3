"""Where workers run: the interface, and the local implementation over fork servers.

Only frames (plain typed data) and limits cross the interface, no open file, connection or request object, so that
another implementation can place workers on other machines.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Final, Protocol

import msgpack

from runtime import linux, protocol
from runtime.forkserver import MESSAGE_LIMIT
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

# Native libraries and child processes may write without end: who fills a reading has to wait a little.
_OUTPUT_CHUNK: Final = 64 * 1024
_OUTPUT_PAUSE: Final = 0.05  # seconds
_EXIT_REPORT_SECONDS: Final = 2.0


class WorkerFailure(Exception):
    """Raised when a worker cannot be started."""


class WorkerEvents(Protocol):
    """What a worker's owner is told; all calls come on the event loop."""

    def on_frame(self, frame: list[Any]) -> None: ...

    def on_output(self, text: str) -> None:
        """Output of native code and of forked children."""

    def on_exit(self, reason: str) -> None:
        """The worker is gone; called once."""


class WorkerHandle(Protocol):
    """A running worker."""

    @property
    def pid(self) -> int: ...

    def send(self, frame: protocol.Frame) -> None:
        """Send a small frame. Frames to a dead worker are dropped."""

    async def deliver(self, frame: protocol.Frame) -> None:
        """Send a frame with what a caller put into it; ``ValueError`` when it is too large."""

    def kill(self) -> None:
        """End it with all that it started."""

    def memory(self) -> int:
        """Bytes that it holds for itself."""


@dataclass(frozen=True)
class Environment:
    """What workers are forked from: search paths of a plugin's own packages, and modules imported beforehand."""

    paths: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()


_PLAIN: Final = Environment()


class Executor(Protocol):
    """Places workers."""

    async def start(self, events: WorkerEvents, limits: Limits, environment: Environment) -> WorkerHandle:
        """Start a worker; ``WorkerFailure`` when that is not possible."""

    async def warm(self, environment: Environment) -> None:
        """Have an environment ready, so that ``start`` is quick; ``WorkerFailure`` when it cannot be."""

    def is_warm(self, environment: Environment) -> bool: ...

    async def close(self) -> None:
        """End all workers."""


def command(control: int, environment: Environment) -> list[str]:
    """The command line of a fork server. ``-P``: the working directory is no place to import from."""
    arguments = (control, _PROJECT, list(environment.paths), list(environment.modules))
    program = f"import sys; sys.path.insert(0, {_PROJECT!r}); from runtime.forkserver import main; main(*{arguments!r})"
    return [sys.executable, "-P", "-c", program]


def _clean_environment() -> dict[str, str]:
    """The environment of plugin code: the host's, without its secrets."""
    return {name: value for name, value in os.environ.items() if not name.startswith("MLDB_")}


@dataclass
class _Order:
    worker: LocalWorker
    forked: asyncio.Future[int]


class LocalWorker:
    """A worker process on this machine: frames over a socket pair, output over a pipe."""

    def __init__(self, events: WorkerEvents, server: _Server, output: int) -> None:
        """``output`` is the pipe to read from."""
        self.pid = 0
        self._events = events
        self._server = server
        self._output = output
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._outbox: list[bytes] = []
        self._bodies = count(1)
        self.writable = asyncio.Event()
        self.writable.set()
        self._exit: str | None = None
        self._ended = False
        self._pause: asyncio.TimerHandle | None = None

    async def connect(self, link: socket.socket) -> None:
        link.setblocking(False)
        self._transport, _ = await self._loop.create_connection(lambda: _Link(self), sock=link)
        os.set_blocking(self._output, False)
        self._listen()

    def send(self, frame: protocol.Frame) -> None:
        self._write(protocol.encode(frame))

    async def deliver(self, frame: protocol.Frame) -> None:
        number = next(self._bodies)
        large = protocol.in_parts(frame, number)
        if large is None:
            self.send(frame)
            return
        parts, last = large
        try:
            for part in parts:
                self._write(part)
                await asyncio.sleep(0)  # until it has been handed to the transport
                await self.writable.wait()
        except BaseException:
            self.send([protocol.DROP, number])
            raise
        self._write(last)

    def _write(self, data: bytes) -> None:
        if self._transport is None:
            return
        if not self._outbox:
            self._loop.call_soon(self._flush)
        self._outbox.append(data)

    def _flush(self) -> None:
        """One write for all frames of this turn of the loop."""
        outbox, self._outbox = self._outbox, []
        if self._transport is not None and outbox:
            self._transport.write(outbox[0] if len(outbox) == 1 else b"".join(outbox))

    def kill(self) -> None:
        self._server.kill(self.pid)

    def memory(self) -> int:
        return linux.resident_bytes(self.pid)

    def on_frame(self, frame: list[Any]) -> None:
        self._events.on_frame(frame)

    def on_protocol_error(self, error: protocol.ProtocolError) -> None:
        self._exit = f"was ended: {error}"
        self.kill()

    def on_disconnect(self) -> None:
        """The socket closed: the process has ended or has closed it; both end it. The reason follows."""
        self._transport = None
        self.writable.set()
        self.kill()
        self._loop.call_later(_EXIT_REPORT_SECONDS, self.on_end, None)

    def on_end(self, status: int | None) -> None:
        """The process has ended (its wait status, None when nobody said)."""
        if not self._ended:
            self._read_output()
            self._close()
            self._events.on_exit(self._exit or describe_status(status))

    def abandon(self) -> None:
        """Nobody waits for it any more. If there is a process, it ends as it finds its socket closed."""
        if not self._ended:
            self._close()

    def _close(self) -> None:
        self._ended = True
        self._deafen()
        os.close(self._output)
        if self._transport is not None:
            self._transport.abort()
            self._transport = None

    def _listen(self) -> None:
        self._pause = None
        self._loop.add_reader(self._output, self._read_output)

    def _deafen(self) -> None:
        self._loop.remove_reader(self._output)
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None

    def _read_output(self) -> None:
        try:
            data = os.read(self._output, _OUTPUT_CHUNK)
        except BlockingIOError:
            return
        if len(data) in (0, _OUTPUT_CHUNK):
            self._deafen()
        if data:
            self._events.on_output(data.decode("utf-8", "replace"))
        if len(data) == _OUTPUT_CHUNK:
            self._pause = self._loop.call_later(_OUTPUT_PAUSE, self._listen)


def describe_status(status: int | None) -> str:
    if status is None:
        return "closed its connection"
    if os.WIFSIGNALED(status):
        return f"was killed by {signal.Signals(os.WTERMSIG(status)).name}"
    return f"ended with exit code {os.waitstatus_to_exitcode(status)}"


class _Link(asyncio.Protocol):
    """Cuts what a worker sends into checked frames."""

    def __init__(self, worker: LocalWorker) -> None:
        self._worker = worker
        self._reader = protocol.FrameReader(protocol.FROM_WORKER)

    def data_received(self, data: bytes) -> None:
        try:
            for frame in self._reader.feed(data):
                protocol.check(frame)
                self._worker.on_frame(frame)
        except protocol.ProtocolError as error:
            self._worker.on_protocol_error(error)

    def pause_writing(self) -> None:
        self._worker.writable.clear()

    def resume_writing(self) -> None:
        self._worker.writable.set()

    def connection_lost(self, _error: Exception | None) -> None:
        self._worker.on_disconnect()


class _Server:
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
                command(theirs.fileno(), environment),
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
        worker = LocalWorker(events, self, output)
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
        """Through the fork server, which knows that the process is still the same one."""
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
            self._take(*msgpack.unpackb(message))

    def _take(self, name: str, *rest: Any) -> None:
        if name == "ready" and not self._ready.done():
            if rest[0]:
                logger.info("modules that a template could not import: %s", ", ".join(rest[0]))
            self._ready.set_result(None)
        elif name == "forked" and (order := self._waiting(rest[0])) is not None:
            self._workers[rest[1]] = order.worker
            order.forked.set_result(rest[1])
        elif name == "forked":
            self.kill(rest[1])
        elif name == "failed" and (order := self._waiting(rest[0])) is not None:
            order.forked.set_exception(WorkerFailure(f"a worker cannot be started: {rest[1]}"))
        elif name == "ended" and rest[0] in self._workers:
            self._workers.pop(rest[0]).on_end(rest[1])

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

    _servers: dict[Environment, _Server] = field(default_factory=dict)
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

    def _server(self, environment: Environment) -> _Server:
        server = self._servers.pop(environment, None)
        if server is not None and not server.alive:
            self._end(server)
            server = None
        if server is None:
            server = _Server(environment if environment.modules else Environment(environment.paths, LIGHT_MODULES))
        self._servers[environment] = server  # the last is the most recently used
        self._retire()
        return server

    def _retire(self) -> None:
        """Beyond the limit, the least recently used templates without workers end."""
        templates = [environment for environment in self._servers if environment != _PLAIN]
        for environment in templates[: max(0, len(templates) - MAX_TEMPLATES)]:
            if not self._servers[environment].busy:
                self._end(self._servers.pop(environment))

    def _end(self, server: _Server) -> None:
        task = asyncio.ensure_future(server.close())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def close(self) -> None:
        for server in self._servers.values():
            self._end(server)
        self._servers.clear()
        await asyncio.gather(*self._ending)
