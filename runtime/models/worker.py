"""The worker process: ``python -m runtime.models.worker <fd> <memory MiB>``, started and ended by the host.

One thread reads requests, one runs them. Requests for the same model that wait together are run as one batch; a
request whose row is at fault fails alone.
"""

from __future__ import annotations

import logging
import os
import queue
import resource
import socket
import sys
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from runtime.models.frames import decode_tensor, encode_tensor, receive, send
from runtime.models.graphs import GraphError, NodeSpec, Options, check_devices, cpu_has_bf16, load_definition, sinks
from runtime.models.operations import save_operation
from runtime.models.plans import Plan, Row

BATCH_ROWS = 32  # enough rows for one run: throughput grows up to about 8 and no further from 32 on
KEPT_PLANS = 8  # models that stay loaded; the one unused for longest goes first

Key = tuple[Any, ...]


@dataclass
class Task:
    """A ``run`` request."""

    id: int
    key: Key
    rows: list[Row]


class Models:
    """The loaded models."""

    def __init__(self) -> None:
        self._plans: OrderedDict[Key, Plan] = OrderedDict()

    def plan(self, key: Key) -> Plan:
        plan = self._plans.get(key)
        if plan is None:
            path, inputs, outputs, bf16, pixels = key
            options = Options(bf16 and cpu_has_bf16(), pixels)
            plan = self._plans[key] = Plan(load_definition(path), inputs, outputs, options)
            while len(self._plans) > KEPT_PLANS:
                self._plans.popitem(last=False)
        self._plans.move_to_end(key)
        return plan


class Worker:
    """Answers the frames of one connection until it closes."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._waiting: queue.Queue[dict[str, Any]] = queue.Queue()
        self._models = Models()

    def serve(self) -> None:
        """Read requests until the host goes away, then end at once, whatever is under way."""
        threading.Thread(target=self._work, name="runner", daemon=True).start()
        while (message := receive(self._connection)) is not None:
            self._waiting.put(message)
        os._exit(0)

    def _work(self) -> None:
        held: dict[str, Any] | None = None
        while True:
            message = held or self._waiting.get()
            held = None
            if message["op"] == "run":
                tasks, held = self._gather(message)
                self._run(tasks)
            else:
                self._answer(message)

    def _gather(self, message: dict[str, Any]) -> tuple[list[Task], dict[str, Any] | None]:
        """This request and those waiting behind it for the same model, and the first one that does not fit."""
        tasks = [_task(message)]
        while sum(len(task.rows) for task in tasks) < BATCH_ROWS:
            try:
                following = self._waiting.get_nowait()
            except queue.Empty:
                break
            if following["op"] != "run" or _key(following) != tasks[0].key:
                return tasks, following
            tasks.append(_task(following))
        return tasks, None

    def _run(self, tasks: list[Task]) -> None:
        try:
            plan = self._models.plan(tasks[0].key)
            self._run_rows(plan, tasks)
        except Exception as error:  # the host tells each caller
            self._fail(tasks, error)

    def _run_rows(self, plan: Plan, tasks: list[Task]) -> None:
        rows = plan.prepare_all([row for task in tasks for row in task.rows])
        ready: list[tuple[Task, list[Row]]] = []
        for task, prepared in zip(tasks, _deal(rows, [len(task.rows) for task in tasks]), strict=True):
            error = next((row for row in prepared if isinstance(row, GraphError)), None)
            if error is None:
                ready.append((task, [row for row in prepared if not isinstance(row, GraphError)]))
            else:
                self._fail([task], error)
        if ready:
            self._finish(plan, ready)

    def _finish(self, plan: Plan, ready: Sequence[tuple[Task, list[Row]]]) -> None:
        """One run for all; when it fails each task is run alone, so that only the guilty one fails."""
        try:
            outputs = plan.run([row for _, rows in ready for row in rows])
        except GraphError as error:
            if len(ready) == 1:
                return self._fail([ready[0][0]], error)
            for one in ready:
                self._finish(plan, [one])
            return None
        at = 0
        for task, rows in ready:
            self._reply(task.id, {name: values[at : at + len(rows)] for name, values in outputs.items()})
            at += len(rows)
        return None

    def _reply(self, id: int, outputs: dict[str, list[np.ndarray]]) -> None:
        try:
            send(self._connection, {"id": id, "ok": {name: encode_rows(rows) for name, rows in outputs.items()}})
        except TypeError as error:
            send(self._connection, {"id": id, "error": str(error)})

    def _fail(self, tasks: Sequence[Task], error: Exception) -> None:
        for task in tasks:
            send(self._connection, {"id": task.id, "error": _text(error)})

    def _answer(self, message: dict[str, Any]) -> None:
        try:
            made = self._make(message) if message["op"] == "operation" else message
            answer = {"id": message["id"], "ok": self._describe(made)}
        except Exception as error:  # the host tells the caller
            answer = {"id": message["id"], "error": _text(error)}
        send(self._connection, answer)

    def _make(self, message: dict[str, Any]) -> dict[str, Any]:
        """Write the graph of an operation; the message that describes it."""
        inputs, outputs = save_operation(
            message["path"], message["name"], message["attrs"], message["given"], message["default"]
        )
        return {**message, "inputs": inputs, "outputs": outputs}

    def _describe(self, message: dict[str, Any]) -> dict[str, Any]:
        check_devices(message["devices"])
        if message["outputs"] is None:
            message["outputs"] = sinks(load_definition(message["path"]))
        plan = self._models.plan(_key(message))
        return {"inputs": _plain(plan.inputs), "outputs": _plain(plan.outputs)}


def _key(message: dict[str, Any]) -> Key:
    return (
        message["path"],
        tuple(message["inputs"]),
        tuple(message["outputs"]),
        message["bf16"],
        message["pixels"],
    )


def _task(message: dict[str, Any]) -> Task:
    columns = {name: decode_rows(column) for name, column in message["values"].items()}
    return Task(
        message["id"],
        _key(message),
        [{name: column[row] for name, column in columns.items()} for row in range(message["rows"])],
    )


def decode_rows(column: Any) -> Sequence[Any]:
    """A column of a request: a list with bytes, null or a tensor per row, or one tensor with a row per entry."""
    if isinstance(column, list):
        return [decode_tensor(value) if isinstance(value, dict) else value for value in column]
    return list(decode_tensor(column))


def encode_rows(rows: Sequence[np.ndarray]) -> Any:
    """The inverse for answers: one tensor where all rows have one shape, else a list of tensors."""
    if len({row.shape for row in rows}) == 1:
        return encode_tensor(np.stack(rows))
    return [encode_tensor(row) for row in rows]


def _deal(rows: Sequence[Any], sizes: Sequence[int]) -> Iterator[Sequence[Any]]:
    at = 0
    for size in sizes:
        yield rows[at : at + size]
        at += size


def _plain(specs: dict[str, NodeSpec]) -> dict[str, Any]:
    return {
        name: {"dtype": spec.dtype, "shape": None if spec.shape is None else list(spec.shape)}
        for name, spec in specs.items()
    }


def _text(error: Exception) -> str:
    return str(error) if isinstance(error, GraphError) else f"{type(error).__name__}: {error}"


def limit_memory(mebibytes: int) -> None:
    """Private writable memory, which is what a hostile picture or model would eat; 0 sets no limit."""
    if mebibytes:
        limit = mebibytes << 20
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def main() -> None:
    descriptor, mebibytes = map(int, sys.argv[1:3])
    os.dup2(2, 1)  # what libraries print goes to the log
    limit_memory(mebibytes)
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    Worker(socket.socket(fileno=descriptor)).serve()


if __name__ == "__main__":
    main()
