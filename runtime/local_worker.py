"""The host's side of one worker process on this machine."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Callable
from itertools import count
from typing import Any, Final

from runtime import linux, protocol
from runtime.executor import WorkerEvents

# Native libraries and child processes may write without end: who fills a reading has to wait a little.
_OUTPUT_CHUNK: Final = 64 * 1024
_OUTPUT_PAUSE: Final = 0.05  # seconds
_EXIT_REPORT_SECONDS: Final = 2.0


class LocalWorker:
    """A worker process on this machine: frames over a socket pair, output over a pipe."""

    def __init__(self, events: WorkerEvents, kill: Callable[[int], None], output: int) -> None:
        """``kill`` ends the process of an id, if it is still the worker's; ``output`` is the pipe to read from."""
        self.pid = 0
        self._events = events
        self._kill = kill
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
        self._kill(self.pid)

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
            self._events.on_exit(self._exit or _describe_status(status))

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


def _describe_status(status: int | None) -> str:
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
