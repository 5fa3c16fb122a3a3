"""The life of a worker process: it runs main.py or a script, then answers requests by running routes.py.

The main thread runs main.py (signal handlers and libraries that insist on it work), a thread reads frames, and
further threads execute requests.
"""

from __future__ import annotations

import contextvars
import faulthandler
import json
import os
import resource
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, NoReturn

from runtime import capture, execution, javascript, module, protocol, shim
from runtime.connection import Connection, current_request
from runtime.pool import STALL_SECONDS, ThreadPool
from runtime.routing import Route, Routes
from runtime.row_queue import RowQueue
from runtime.sources import Source


class Worker:
    """One generation of a plugin, or one script run."""

    def __init__(self, link: socket.socket) -> None:
        self._link = link
        self._connection = Connection(link)
        self._rows = RowQueue(self._record)
        self._connection.before_calls(self._rows.flush)
        os.register_at_fork(after_in_child=self._rows.clear)
        self._sink = capture.RateLimit(self._connection.log)
        self._pool = ThreadPool(self._serve, lambda: self._connection.waiting)
        self._start: list[Any] | None = None
        self._started = threading.Event()
        self._baseline = set(sys.modules)
        self._main: execution.MainModule
        self._routes: Source | None = None
        self._declared = Routes(self._announce)
        self._folder: str | None = None
        self._script: javascript.Interpreter | None = None

    def run(self) -> NoReturn:
        self._connection.send([protocol.HELLO, protocol.PROTOCOL_VERSION, os.getpid()])
        threading.Thread(target=self._read, name="frames", daemon=True).start()
        self._started.wait()
        assert self._start is not None
        _, request, launch = self._start
        self._launch(request, launch)
        while True:
            signal.pause()

    def fit_threads(self) -> None:
        """Limit the pool to the threads that the memory limit has room for. Called once the limits are set."""
        memory, _ = resource.getrlimit(resource.RLIMIT_DATA)
        if memory != resource.RLIM_INFINITY:
            self._pool.fit(memory)

    def _launch(self, request: int, launch: dict[str, Any]) -> None:
        """Make the environment that the code expects, run main.py or the script, and say how it went."""
        fallback = capture.Recorder(self._sink)
        sys.stdout = capture.CapturedStream("stdout", fallback)
        sys.stderr = capture.CapturedStream("stderr", fallback)
        sys.argv = [""]
        self._folder = launch["folder"]
        if self._folder is not None:
            sys.path.insert(0, self._folder)
        # What was saved twice within a second, with as many characters, would be taken for what was compiled first.
        sys.dont_write_bytecode = True
        for name in [each for each in sys.modules if each.partition(".")[0] == "runtime"]:
            del sys.modules[name]  # nothing here imports them again, and a plugin may have modules of these names
        raw = self._raw(launch)
        module.install(raw)
        self._main = execution.MainModule(module.injected(raw))
        self._main.install(launch["main"]["uri"] if launch["main"] else "/main.py")
        if launch["routes"] is not None:
            self._routes = Source(launch["routes"])
        if launch["language"] == "javascript":
            uri = launch["main"]["uri"] if launch["main"] else ""
            self._script = javascript.Interpreter(raw, uri, _args(launch), self._sink)
        current_request.set(request)
        outcome = self._run_main(launch["main"])
        if outcome.kind not in execution.FAILED:
            outcome = execution.imported(launch["modules"], self._sink) or outcome
        self._answer(request, outcome)

    def _raw(self, launch: dict[str, Any]) -> shim.Mldb:
        args = _args(launch)
        host = {"address": launch["address"], "data_root": launch["data_root"]}
        if launch["kind"] == "plugin":
            plugin = shim.Plugin(self._connection, [] if args is None else args, launch["plugin_dir"], self._declared)
            return shim.Mldb(self._connection, self._rows, self._log_of_plugin, plugin=plugin, **host)
        script = shim.Script(args)
        return shim.Mldb(self._connection, self._rows, self._log_of_script, script=script, **host)

    def _log_of_plugin(self, text: str | None) -> None:
        self._sink("log", time.time(), text)

    def _log_of_script(self, text: str | None) -> None:
        recorder = capture.current.get(None)
        if recorder is None:
            self._sink("log", time.time(), text)
        else:
            recorder.add("log", text)

    def _run_main(self, spec: dict[str, Any] | None) -> execution.Outcome:
        if spec is None:
            return execution.Outcome(protocol.UNSET)
        source = Source(spec)
        if self._script is not None:
            return self._told(self._script, self._script.main(source, shim.Request()), inner=False)
        return execution.run(source, None, self._main, shim.Request(), self._sink)

    def _read(self) -> None:
        """Take frames until the host is gone; then nothing of this worker may stay."""
        try:
            handlers: dict[int, Callable[[list[Any]], None]] = {
                protocol.START: self._take_start,
                protocol.REQUEST: self._pool.submit,
                protocol.PING: self._pong,
                protocol.CANCEL: lambda frame: self._connection.cancel(frame[1]),
            }
            for frame in self._connection.frames(self._attend):
                handlers[frame[0]](frame)
        except OSError:
            pass  # the host is gone
        finally:
            os.killpg(0, signal.SIGKILL)

    def _attend(self) -> None:
        """Wait for bytes; a backlog that does not move meanwhile gets more threads."""
        while self._pool.backlog():
            readable, _, _ = select.select([self._link], [], [], STALL_SECONDS)
            if readable:
                return
            self._pool.relieve()

    def _take_start(self, frame: list[Any]) -> None:
        self._start = frame
        self._started.set()

    def _pong(self, frame: list[Any]) -> None:
        third_party, own = self._imported()
        self._connection.send([protocol.PONG, frame[1], third_party, own])

    def _imported(self) -> tuple[list[str], list[str]]:
        """Modules imported since the start, in the order of their import: from installed packages, from the folder."""
        files = [(name, _file_of(module)) for name, module in list(sys.modules.items()) if name not in self._baseline]
        third_party = [name for name, file in files if "site-packages" in file or "dist-packages" in file]
        if self._folder is None:
            return third_party, []
        below = self._folder.rstrip("/") + "/"
        own = [name for name, file in files if file.startswith(below) and name not in third_party]
        return third_party, own

    def _serve(self, frame: list[Any]) -> None:
        _, number, inner, *sent = frame
        request = shim.Request(*sent)
        token = current_request.set(number)
        try:
            outcome = self._run_routes(request, inner)
        except MemoryError as error:
            outcome = execution.exhausted(error)
        finally:
            current_request.reset(token)
            self._connection.forget(number)
        self._answer(number, outcome)

    def _announce(self, route: Route) -> None:
        arguments = [argument.plain() for argument in route.arguments]
        self._connection.declare(route.verb, route.path, route.summary, arguments)

    def _run_routes(self, request: shim.Request, inner: bool) -> execution.Outcome:
        declared = self._declared.find(request.verb, request.remaining)
        if declared is not None:
            return execution.run_declared(*declared, request, self._sink)
        if self._script is not None:
            return self._told(self._script, self._script.answer(request, inner=inner), inner)
        if self._routes is None:
            return execution.Outcome(protocol.UNROUTED)
        namespace = self._main.namespace(self._routes.uri, request)
        return execution.run(self._routes, namespace, self._main, request, self._sink)

    def _told(self, script: javascript.Interpreter, outcome: execution.Outcome, inner: bool) -> execution.Outcome:
        """The outcome; what the plugin tells of itself goes before it."""
        status = script.status(inner=inner)
        if status is not None:
            self._connection.send([protocol.STATUS, status])
        return outcome

    def _answer(self, number: int, outcome: execution.Outcome) -> None:
        if self._connection.is_forked():
            os._exit(0)  # a child that the code forked has come to its end
        outcome = self._recorded(number, outcome)
        try:
            self._connection.send(outcome.frame(number))
        except OSError:
            os._exit(1)  # the code closed the socket: nobody can be answered any more
        except (ValueError, MemoryError) as error:
            self._connection.send(execution.failed(error).frame(number))

    def _record(self, path: str, body: bytes) -> None:
        shim.raise_for(self._connection.call("POST", f"{path}/multirows", [], body, {}))

    def _recorded(self, number: int, outcome: execution.Outcome) -> execution.Outcome:
        """The outcome, once all that its code has recorded is with the host."""

        def finish() -> execution.Outcome:
            self._rows.finish(number)
            return outcome

        finished = execution.attempt(finish, shim.Request(), self._sink)
        if finished is not outcome:
            finished.logs = outcome.logs
        return outcome if outcome.kind in execution.FAILED else finished


def _file_of(module: Any) -> str:
    file = getattr(module, "__file__", None)
    return file if isinstance(file, str) else ""


def _args(launch: dict[str, Any]) -> Any:
    return json.loads(launch["args"]) if launch["args"] is not None else None


def _inherit_context() -> None:
    """Let threads see the context of the code that starts them: its captured output, its request."""
    start = threading.Thread.start

    def start_in_context(thread: threading.Thread) -> None:
        context = contextvars.copy_context()
        run = thread.run
        thread.run = lambda: context.run(run)  # type: ignore[method-assign]
        start(thread)

    threading.Thread.start = start_in_context  # type: ignore[assignment,method-assign]


def main(link: socket.socket, limit: Callable[[], None]) -> NoReturn:
    """Be a worker on this socket; the process has been set up by the fork server."""
    faulthandler.enable(file=2)
    worker = Worker(link)
    limit()
    worker.fit_threads()
    _inherit_context()
    worker.run()
