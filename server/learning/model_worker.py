"""The host's side of the model worker: starts it at first use, asks it, replaces it when it dies or hangs.

No TensorFlow here. The process is ``runtime.models.worker``; the frames are ``runtime.models.frames``.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

import runtime
from runtime.models.frames import FrameError, decode_tensor, encode_tensor, receive, send
from server import tasks
from server.errors import Cancelled, MldbError, Unavailable

CHUNK_ROWS = 32  # rows in one request: one run of the worker
_IN_FLIGHT = 3  # requests of one call that wait at the worker, so that it never waits for the host
# TensorFlow's chatter of how it was built: it comes before any level that could silence it.
_CHATTER = re.compile(r"I\d{4} |WARNING: All log messages before absl::InitializeLog")
_ENVIRONMENT = {"TF_CPP_MIN_LOG_LEVEL": "2", "CUDA_VISIBLE_DEVICES": "-1"}

Values = Mapping[str, "Sequence[bytes | np.ndarray | None] | np.ndarray"]


@dataclass(frozen=True)
class Node:
    """What a graph says of a node: TensorFlow's dtype name, and the shape of one row (None, -1: not known)."""

    dtype: str
    shape: tuple[int, ...] | None

    def plain(self) -> dict[str, Any]:
        return {"dtype": self.dtype, "shape": None if self.shape is None else list(self.shape)}

    @staticmethod
    def read(plain: Mapping[str, Any]) -> Node:
        return Node(plain["dtype"], None if plain["shape"] is None else tuple(plain["shape"]))


@dataclass(frozen=True)
class Model:
    """A frozen graph file and the nodes of it that are fed and wanted."""

    file: Path
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


class ModelWorker:
    """One worker process for all models. Thread-safe.

    ``memory`` is its limit in MiB (0: none), ``timeout`` the seconds one request may take, ``pixels`` the most that
    a picture may have, ``bf16`` whether models may compute in bfloat16; ``log`` gets what the process prints.
    """

    def __init__(
        self,
        *,
        memory: int = 4096,
        timeout: float = 120.0,
        pixels: int = 50_000_000,
        bf16: bool = True,
        log: Callable[[str], None] | None = None,
    ) -> None:
        self._memory = memory
        self._timeout = timeout
        self._options = {"pixels": pixels, "bf16": bf16}
        self._log = log or (lambda _: None)
        self._lock = threading.Lock()
        self._process: _Process | None = None

    @property
    def pid(self) -> int | None:
        """Process id of the running worker, None when there is none now."""
        process = self._process
        return process.pid if process is not None and process.alive else None

    def describe(
        self, file: Path, inputs: Sequence[str], outputs: Sequence[str] | None, devices: str = ""
    ) -> tuple[dict[str, Node], dict[str, Node]]:
        """The nodes to feed and those that are given (None: all that no other node reads); loads the model."""
        message = {"op": "describe", "path": str(file), "inputs": list(inputs), "devices": devices}
        answer = self._ask({**message, "outputs": None if outputs is None else list(outputs)})
        return _nodes(answer["inputs"]), _nodes(answer["outputs"])

    def operation(
        self,
        file: Path,
        name: str,
        attrs: Mapping[str, Any],
        given: Sequence[Node],
        default: str = "",
        devices: str = "",
    ) -> tuple[dict[str, Node], dict[str, Node]]:
        """Make ``file`` the graph of one operation over inputs like ``given``: its nodes, as ``describe``."""
        message = {"op": "operation", "path": str(file), "name": name, "attrs": dict(attrs), "devices": devices}
        answer = self._ask({**message, "given": [node.plain() for node in given], "default": default})
        return _nodes(answer["inputs"]), _nodes(answer["outputs"])

    def warm(self, model: Model) -> None:
        """Have the model loaded soon, without waiting; it was described before, so trouble shows at its use."""
        message = {"op": "describe", "path": str(model.file), "devices": ""}
        self._start().ask({**message, **self._options, "inputs": model.inputs, "outputs": model.outputs})

    def run(self, model: Model, values: Values, rows: int) -> dict[str, list[np.ndarray]]:
        """Outputs for each row, each with one array per row; ``MldbError`` when the graph cannot run a row."""
        outputs: dict[str, list[np.ndarray]] = {name: [] for name in model.outputs}
        with contextlib.closing(self._answers(model, values, rows)) as answers:
            for answer in answers:
                for name, column in answer.items():
                    outputs[name].extend(_rows(column))
        return outputs

    def _answers(self, model: Model, values: Values, rows: int) -> Generator[dict[str, Any], None, None]:
        """Answers in order, with a few requests ahead of them."""
        process = self._start()
        waiting: list[Future[dict[str, Any]]] = []
        for start in range(0, rows, CHUNK_ROWS):
            waiting.append(process.ask(self._run_message(model, values, start, min(rows, start + CHUNK_ROWS))))
            if len(waiting) == _IN_FLIGHT:
                yield self._wait(process, waiting.pop(0))
        for future in waiting:
            yield self._wait(process, future)

    def _run_message(self, model: Model, values: Values, start: int, stop: int) -> dict[str, Any]:
        columns = {name: _encode(column[start:stop]) for name, column in values.items()}
        names = {"inputs": model.inputs, "outputs": model.outputs}
        return {"op": "run", "path": str(model.file), **names, **self._options, "rows": stop - start, "values": columns}

    def _ask(self, message: dict[str, Any]) -> dict[str, Any]:
        process = self._start()
        return self._wait(process, process.ask({**message, **self._options}))

    def _wait(self, process: _Process, future: Future[dict[str, Any]]) -> dict[str, Any]:
        task = tasks.current()
        try:
            with tasks.interrupted(task, future.cancel):
                answer = future.result(self._timeout)
        except CancelledError:
            raise Cancelled("the query was cancelled") from None
        except FutureTimeout:
            process.kill(f"did not answer within {self._timeout:g} seconds")
            raise Unavailable(f"the model worker {process.reason}", code=504) from None
        if "error" in answer:
            raise MldbError(f"Unable to run model: {answer['error']}")
        ok: dict[str, Any] = answer["ok"]
        return ok

    def _start(self) -> _Process:
        with self._lock:
            if self._process is None or not self._process.alive:
                self._process = _Process(self._memory, self._log)
            return self._process

    def close(self) -> None:
        """End the process; it starts again at the next use."""
        with self._lock:
            process, self._process = self._process, None
        if process is not None:
            process.kill("was stopped")


class _Process:
    """A running worker. ``reason`` says why it ended."""

    def __init__(self, memory: int, log: Callable[[str], None]) -> None:
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-P", "-m", "runtime.models.worker", str(theirs.fileno()), str(memory)]
        home = str(Path(runtime.__file__).resolve().parent.parent)
        path = os.pathsep.join(filter(None, [home, os.environ.get("PYTHONPATH")]))
        with theirs:
            self._popen = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                command,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env={**os.environ, **_ENVIRONMENT, "PYTHONPATH": path},
                start_new_session=True,
            )
        self._connection = ours
        self._log = log
        self._ids = itertools.count()
        self._send_lock = threading.Lock()
        self._pending_lock = threading.Lock()
        self._pending: dict[int, Future[dict[str, Any]]] = {}
        self.alive = True
        self.reason = ""
        threading.Thread(target=self._read, name="model-worker", daemon=True).start()
        threading.Thread(target=self._relay, name="model-worker-log", daemon=True).start()

    @property
    def pid(self) -> int:
        return self._popen.pid

    def ask(self, message: dict[str, Any]) -> Future[dict[str, Any]]:
        """Send a request; its future fails with ``Unavailable`` when the worker ends before it answers."""
        future: Future[dict[str, Any]] = Future()
        id = next(self._ids)
        with self._pending_lock:
            if not self.alive:
                raise Unavailable(f"the model worker {self.reason}")
            self._pending[id] = future
        try:
            with self._send_lock:
                send(self._connection, {**message, "id": id})
        except OSError:
            pass  # the worker ended: the reading thread sees that too, and fails the future
        except FrameError as error:
            self._take(id)
            raise MldbError(f"Unable to run model: {error}") from None
        return future

    def _take(self, id: Any) -> Future[dict[str, Any]] | None:
        with self._pending_lock:
            return self._pending.pop(id, None)

    def _read(self) -> None:
        try:
            while (answer := receive(self._connection)) is not None:
                future = self._take(answer.get("id"))
                if future is not None and future.set_running_or_notify_cancel():
                    future.set_result(answer)
        except (OSError, FrameError, ValueError) as error:
            self.reason = self.reason or f"broke its protocol: {error}"
        self._end()

    def _end(self) -> None:
        """Whatever ended the conversation, the process goes and every caller is told."""
        self._popen.kill()
        status = self._popen.wait()
        with self._pending_lock:
            self.alive = False
            self.reason = self.reason or _ending(status)
            pending, self._pending = list(self._pending.values()), {}
        self._connection.close()
        self._log(f"the model worker {self.reason}")
        for future in pending:
            if future.set_running_or_notify_cancel():
                future.set_exception(Unavailable(f"the model worker {self.reason}; {_REMEDY}"))

    def _relay(self) -> None:
        assert self._popen.stderr is not None
        with self._popen.stderr as stream:
            for line in stream:
                text = line.decode(errors="replace").rstrip()
                if not _CHATTER.match(text):
                    self._log(text)

    def kill(self, reason: str) -> None:
        """End it now; waits until it is gone."""
        with self._pending_lock:
            self.alive = False
            self.reason = self.reason or reason
        self._popen.kill()
        self._popen.wait()


_REMEDY: Final = (
    "another one answers the next request; if that ends too it may want memory: see the setting model-memory"
)


def _ending(status: int) -> str:
    if status < 0:
        return f"died: {signal.Signals(-status).name}"
    return f"ended with status {status}"


def _nodes(plain: Mapping[str, Any]) -> dict[str, Node]:
    return {name: Node.read(node) for name, node in plain.items()}


def _encode(column: Sequence[bytes | np.ndarray | None] | np.ndarray) -> Any:
    if isinstance(column, np.ndarray):
        return encode_tensor(column)
    return [encode_tensor(value) if isinstance(value, np.ndarray) else value for value in column]


def _rows(column: Any) -> Sequence[np.ndarray]:
    if isinstance(column, list):
        return [decode_tensor(row) for row in column]
    array = decode_tensor(column)
    return [array[row, ...] for row in range(len(array))]
