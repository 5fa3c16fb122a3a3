"""Applies functions to rows from outside SQL: binding by input shape, and micro-batching.

Calls of one function with inputs of one shape that arrive while an earlier one is being computed are applied
together, up to ``MAX_BATCH`` at a time: a model sees batches, and the fixed cost of a call is shared.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from functools import cached_property
from typing import Any

from server import tasks
from server.declarations import BoundFunction, Function, refuse_unknown_inputs
from server.entities.entry import Ready
from server.entities.progress import TaskProgress
from server.entities.registry import Registry
from server.entities.rows import Field, Leaf, batch_of, leaves, read_row, row_type
from server.errors import MldbError, Vanished
from server.values.batches import RowBatch, RowType
from server.values.paths import Path

MAX_BATCH = 32  # where a model stops gaining from larger batches
_PATIENCE = 0.02  # seconds: a call waits at most this long for a running batch before it gets a thread of its own
_ATTEMPTS = 20  # at applying a function to a dataset whose columns change all the time
_MAX_SHAPES = 64  # bound shapes kept per function

OutputRow = list[tuple[Path, Leaf | None]]  # None stands for a row, which is empty when no leaf is below it
Render = Callable[[OutputRow], Any]
Watch = Callable[[asyncio.Future[Any]], object]


class Applier:
    """One function's bound shapes and waiting calls."""

    def __init__(self, function: Function, executor: Executor) -> None:
        self._function = function
        self._executor = executor
        self._bound: dict[RowType, BoundFunction] = {}
        self._queues: dict[RowType, _Queue] = {}

    def named(self, value: Any) -> Any:
        """JSON as the function's input: a bare value gets the name of the one input that a function may ask for."""
        bare: Path = getattr(self._function, "bare", ())
        if not bare or (isinstance(value, dict) and bare[0] in value):
            return value
        for name in reversed(bare):
            value = {name: value}
        return value

    @cached_property
    def _names(self) -> frozenset[str]:
        """What the function's input names."""
        return frozenset(column.path[0] for column in self._function.input.columns if column.path)

    @cached_property
    def _fixed(self) -> frozenset[str] | None:
        """The names that a function with a fixed input takes; None when it takes any. A model's input may be long."""
        return self._function.input.top

    def given(self, row: Sequence[Field]) -> Sequence[Field]:
        """A row as the function gets it: of empty rows within it those that the function asks for.

        Refuses names that a function with a fixed input does not know.
        """
        self.check_names(row)
        if any(field.empty for field in row):
            return [field for field in row if not field.empty or field.path[0] in self._names]
        return row

    def check_names(self, row: Sequence[Field]) -> None:
        """Refuse names that a function with a fixed input does not know."""
        refuse_unknown_inputs(self._function, self._fixed, (field.path[0] for field in row if field.path))

    def bound(self, shape: RowType) -> BoundFunction:
        """The function for rows of this shape."""
        found = self._bound.get(shape)
        if found is None:
            if len(self._bound) >= _MAX_SHAPES:
                self._bound.clear()
            found = self._bound[shape] = self._function.bind(shape)
        return found

    def apply(self, shape: RowType, rows: Sequence[Sequence[Field]]) -> list[OutputRow]:
        """Apply to rows of one shape, in the thread that calls. Bound anew when a dataset that it reads changed."""
        batch = batch_of(shape, rows, math.nan)
        for _ in range(_ATTEMPTS - 1):
            try:
                return _output_rows(self.bound(shape).apply(batch))
            except Vanished:
                self._bound.pop(shape, None)
        return _output_rows(self.bound(shape).apply(batch))

    def apply_many(self, rows: Sequence[Sequence[Field]]) -> list[OutputRow]:
        """Apply to rows of any shapes; results in the order of the rows."""
        by_shape: dict[RowType, list[int]] = {}
        rows = [self.given(row) for row in rows]
        for index, row in enumerate(rows):
            by_shape.setdefault(row_type(row), []).append(index)
        results: list[OutputRow] = [[] for _ in rows]
        for shape, indexes in by_shape.items():
            for index, result in zip(indexes, self.apply(shape, [rows[i] for i in indexes]), strict=True):
                results[index] = result
        return results

    async def call(self, row: Sequence[Field], render: Render, watch: Watch) -> Any:
        """Apply to one row, together with others that wait. ``render`` runs in the worker thread.

        ``watch`` gets the future of the answer. Once nobody waits for any answer of a batch, it is stopped.
        """
        row = self.given(row)
        shape = row_type(row)
        queue = self._queues.get(shape)
        if queue is None:
            if len(self._queues) >= _MAX_SHAPES:
                self._queues = {known: waiting for known, waiting in self._queues.items() if waiting.busy}
            queue = self._queues[shape] = _Queue(self, shape, self._executor)
        return await queue.call(row, render, watch)


def _output_rows(batch: RowBatch) -> list[OutputRow]:
    known: OutputRow = [(path, None) for path in batch.type.rows]
    return [[*known, *row] for row in leaves(batch)]


class _Waiting:
    __slots__ = ("batch", "future", "render", "row")

    def __init__(self, row: Sequence[Field], render: Render, future: asyncio.Future[Any]) -> None:
        self.row = row
        self.render = render
        self.future = future
        self.batch: _Batch | None = None


class _Batch:
    """Calls that are computed together, and the task that this is."""

    def __init__(self, calls: list[_Waiting]) -> None:
        self.calls = calls
        self.task = TaskProgress()
        for call in calls:
            call.batch = self

    def abandon(self) -> None:
        """One of the calls does not wait any longer."""
        if all(call.future.done() for call in self.calls):
            self.task.cancel()


class _Queue:
    """Calls of one shape. Used on the event loop only."""

    def __init__(self, applier: Applier, shape: RowType, executor: Executor) -> None:
        self._applier = applier
        self._shape = shape
        self._executor = executor
        self._waiting: list[_Waiting] = []
        self._running = 0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def busy(self) -> bool:
        return bool(self._running or self._waiting)

    async def call(self, row: Sequence[Field], render: Render, watch: Watch) -> Any:
        loop = asyncio.get_running_loop()
        waiting = _Waiting(row, render, loop.create_future())
        watch(waiting.future)
        self._waiting.append(waiting)
        if not self._running:
            self._start()
        elif self._timer is None:
            # A batch that takes long, or that waits for this very call, must not hold it up.
            self._timer = loop.call_later(_PATIENCE, self._hurry)
        try:
            return await waiting.future
        except BaseException:
            if waiting.batch is not None:
                waiting.batch.abandon()
            else:
                self._waiting.remove(waiting)
            raise

    def _hurry(self) -> None:
        self._timer = None
        if self._waiting:
            self._start()

    def _start(self) -> None:
        batch, self._waiting = _Batch(self._waiting[:MAX_BATCH]), self._waiting[MAX_BATCH:]
        self._running += 1
        loop = asyncio.get_running_loop()
        work = loop.run_in_executor(self._executor, self._compute, batch)
        work.add_done_callback(lambda done: self._finished(batch, done))

    def _finished(self, batch: _Batch, done: asyncio.Future[list[Any]]) -> None:
        self._running -= 1
        error = done.exception()
        for index, waiting in enumerate(batch.calls):
            if waiting.future.done():
                continue
            outcome = error if error is not None else done.result()[index]
            if isinstance(outcome, BaseException):
                waiting.future.set_exception(outcome)
            else:
                waiting.future.set_result(outcome)
        if self._waiting and not self._running:
            self._start()

    def _compute(self, batch: _Batch) -> list[Any]:
        """Runs in a worker thread; an item is what ``render`` gave, or an exception."""
        with tasks.acting_for(batch.task):
            return self._apply(batch.calls)

    def _apply(self, taken: list[_Waiting]) -> list[Any]:
        try:
            rows = self._applier.apply(self._shape, [waiting.row for waiting in taken])
        except Exception as error:
            if len(taken) == 1:
                return [error]
            # One bad row must not fail the others.
            return [outcome for waiting in taken for outcome in self._apply([waiting])]
        return [_rendered(waiting, row) for waiting, row in zip(taken, rows, strict=True)]


def _rendered(waiting: _Waiting, row: OutputRow) -> Any:
    try:
        return waiting.render(row)
    except MldbError as error:
        return error


class Appliers:
    """The appliers of all functions; made anew when a function, or anything it may refer to, has changed."""

    def __init__(self, registry: Registry, executor: Executor) -> None:
        self._registry = registry
        self._executor = executor
        self._appliers: dict[str, tuple[Ready, Applier]] = {}
        self._version = -1

    def of(self, name: str) -> Applier:
        """404 as sub-routes give it."""
        ready = self._registry.reachable("function", name)
        if self._version != (version := self._registry.version):
            self._appliers, self._version = {}, version
        known, applier = self._appliers.get(name, (None, None))
        if applier is None or known is not ready:
            applier = Applier(ready.entity, self._executor)
            self._appliers[name] = (ready, applier)
        return applier


def read_input(value: Any) -> list[Field]:
    """A row of ``/batch``: an object, or an array whose elements are named 0, 1, 2, …"""
    if isinstance(value, list):
        return read_row({str(index): item for index, item in enumerate(value)})
    return read_row(value)
