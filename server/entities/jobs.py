"""Job processes: one process per training, forked from a small fork server, talking msgpack frames.

In the host ``Jobs.run("package.module:function", arguments, progress)`` waits in a thread; in the job the function is
called as ``function(arguments, report)``, where ``report(step, type, value)`` tells how far it is. The process is
killed on cancel; if it dies by itself, the caller gets an ``MldbError``.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import resource
import select
import signal
import struct
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import msgpack

from server.declarations import Progress
from server.errors import MldbError

# A job then starts in 50 ms instead of a second. What few trainings want is imported by those.
_PRELOADED = ["server.entities.jobs", "server.learning.preloaded"]
_UNTIL_GONE = (0.01, 0.1, 1.0)  # seconds
_starting = threading.Lock()
Report = Callable[[str, str, float], None]


class Jobs:
    """Starts job processes. The fork server begins with the first job and ends with the host.

    ``memory``: MiB that a job may allocate; 0 sets no limit.
    """

    def __init__(self, memory: int = 0) -> None:
        self._memory = memory
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(_PRELOADED)
        self._running: set[int] = set()
        self._lock = threading.Lock()

    @staticmethod
    def keep_socket_in(folder: Path) -> None:
        """Have the fork server's socket there instead of in the system's temporary folder, where a server that is
        killed leaves it. For processes that serve one data root."""
        # A socket's path has 107 characters at most: by its descriptor a folder is named in a few.
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        settings = multiprocessing.current_process()._config  # type: ignore[attr-defined]
        settings["tempdir"] = f"/proc/self/fd/{descriptor}"

    def run(self, target: str, arguments: Mapping[str, Any], progress: Progress) -> Any:
        """The function's result; ``MldbError`` when it raised one, failed or died; ``Cancelled`` after a cancel."""
        process, ours = self._started(target)
        assert process.pid is not None
        with self._lock:
            self._running.add(process.pid)
        progress.on_cancel(process.kill)
        try:
            with suppress(BrokenPipeError):
                ours.send_bytes(_pack(dict(arguments)))
            answer = _answer(ours, progress)
        finally:
            process.kill()
            process.join()
            ours.close()
            with self._lock:
                self._running.discard(process.pid)
        progress.check()
        return _result(answer, target, process.exitcode)

    def _started(self, target: str) -> tuple[ForkServerProcess, Connection]:
        """A process that waits for its arguments, and the connection to it.

        When the fork server is killed while it is asked another one takes its place, as soon as it is seen to be gone.
        """
        for pause in _UNTIL_GONE:
            try:
                return self._start(target)
            except (EOFError, ConnectionError):
                time.sleep(pause)
        return self._start(target)

    def _start(self, target: str) -> tuple[ForkServerProcess, Connection]:
        _start_fork_server()
        ours, theirs = self._context.Pipe()
        with theirs, ExitStack() as undone:
            undone.callback(ours.close)
            process = self._context.Process(target=_job_main, args=(theirs, target, self._memory), daemon=True)
            process.start()
            undone.pop_all()
        return process, ours

    def close(self) -> None:
        """Kill what still runs."""
        with self._lock:
            running = list(self._running)
        for pid in running:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _start_fork_server() -> None:
    """Start the fork server unless it runs. It imports nothing from the working directory, which may hold anything."""
    with _starting:
        if sys.flags.safe_path:
            forkserver.ensure_running()
            return
        os.putenv("PYTHONSAFEPATH", "1")  # not in os.environ, which plugins and scripts are started with
        try:
            forkserver.ensure_running()
        finally:
            os.unsetenv("PYTHONSAFEPATH")


def _pack(value: Any) -> bytes:
    packed: bytes = msgpack.packb(value, use_bin_type=True)
    return packed


def _unpack(frame: bytes) -> Any:
    return msgpack.unpackb(frame, raw=False, strict_map_key=False)


def _answer(connection: Connection, progress: Progress) -> dict[str, Any] | None:
    """Read frames until the answer; None when the process went away without one."""
    step = ""
    while True:
        try:
            frame = _unpack(connection.recv_bytes())
        except (EOFError, ConnectionResetError, OSError, struct.error):
            return None
        if "step" not in frame:
            answer: dict[str, Any] = frame
            return answer
        if frame["step"] != step:
            step = frame["step"]
            progress.step(step, frame["type"])
        progress.update(frame["value"])


def _result(answer: dict[str, Any] | None, target: str, exit_code: int | None) -> Any:
    if answer is None:
        why = (
            "it was killed: as a rule for want of memory, of which the system's log tells; train on less, or give the "
            "machine more, and see the setting job-memory"
            if exit_code == -signal.SIGKILL
            else "the server's log may tell why; run it again"
        )
        raise MldbError(f"the job process of {target} died (exit code {exit_code}): {why}", code=500)
    if "error" in answer:
        raise MldbError(answer["error"], code=answer["code"], details=answer["details"])
    return answer["result"]


# ── inside the job ───────────────────────────────────────────────────────────────────────────────────────────


def _job_main(connection: Connection, target: str, memory: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if memory:
        limit = _allocated() + memory * 2**20
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))

    def report(step: str, type: str = "percentile", value: float = 0.0) -> None:
        connection.send_bytes(_pack({"step": step, "type": type, "value": float(value)}))

    try:
        given = connection.recv_bytes()
    except EOFError:
        return  # the host was killed meanwhile
    threading.Thread(target=_end_with_host, args=(connection.fileno(),), daemon=True).start()
    exhausted = _pack({"error": "the job ran out of memory", "code": 400, "details": {}})  # while there is some
    try:
        answer = _pack(_called(target, _unpack(given), report))
    except MemoryError:
        answer = exhausted
    connection.send_bytes(answer)


def _end_with_host(connection: int) -> None:
    """The host sends nothing more, so there is something to be read only when it is gone, killed maybe: libraries
    that tell nothing for minutes would work on for nobody."""
    select.select([connection], [], [])
    os._exit(1)


def _allocated() -> int:
    """Bytes that the libraries which the fork server has loaded hold already (``VmData``)."""
    pages = Path("/proc/self/statm").read_text().split()
    return int(pages[5]) * resource.getpagesize()


def _called(target: str, arguments: dict[str, Any], report: Report) -> dict[str, Any]:
    module, _, name = target.partition(":")
    try:
        return {"result": getattr(importlib.import_module(module), name)(arguments, report)}
    except MldbError as error:
        return {"error": error.message, "code": error.code, "details": error.details}
    except MemoryError:
        raise
    except Exception as error:
        traceback.print_exc(file=sys.stderr)
        return {"error": f"the job failed: {type(error).__name__}: {error}", "code": 500, "details": {}}
