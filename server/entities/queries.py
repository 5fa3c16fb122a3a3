"""Queries under way: each has an id, can be listed, watched and stopped."""

from __future__ import annotations

import itertools
import secrets
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from server import tasks
from server.declarations import NamedBatch, Progress, QueryResult
from server.entities.progress import TaskProgress
from server.errors import Conflict, MldbError, NotFound
from server.values.atoms import timestamp_text
from server.values.batches import ListedArrays, RowType

_STOP_SECONDS = 10.0  # how long the one who stops a query waits for its end


class RunningQuery(TaskProgress):
    """The task of one query. ``why`` is what its caller is told when it was stopped."""

    def __init__(self, id: str, query: str | Mapping[str, Any], limit: int) -> None:
        """``limit``: bytes that the answer may have; 0 for any number."""
        super().__init__()
        self.id = id
        self.query = query
        self._limit = limit
        self._bytes = 0
        self.why: MldbError | None = None
        self.ended = threading.Event()
        self.rows = 0
        self._started = time.time()
        self._began = time.monotonic()

    def stop(self, why: MldbError) -> None:
        """End the query; returns at once. The first reason counts."""
        if self.why is None:
            self.why = why
        self.cancel()

    def reason(self) -> MldbError:
        """What the caller of a query that was stopped is told."""
        return self.why or Conflict("the query was cancelled")

    def took(self, batch: NamedBatch) -> None:
        """Count a batch of the result. ``MldbError`` as soon as they are larger than the answer may be."""
        self._bytes += batch_size(batch)
        self._check(self._bytes)
        self.rows += batch.rows.length

    def within(self, content: bytes) -> bytes:
        """The answer, if it is not larger than it may be."""
        self._check(len(content))
        return content

    def _check(self, size: int) -> None:
        if self._limit and size > self._limit:
            raise MldbError(
                f"the answer has more than the {self._limit >> 20} MiB that the setting result-size allows: ask for "
                "fewer rows (LIMIT and OFFSET) or columns, or write a file with the procedure export.csv",
                code=413,
            )

    def shown(self) -> dict[str, Any]:
        """The entry of the query, as JSON. ``progress`` is null where the engine cannot tell."""
        gauge = self._gauge
        percent = -1.0 if gauge is None else gauge()
        return {
            "id": self.id,
            "query": self.query,
            "started": timestamp_text(round(self._started, 6)),
            "elapsed": round(time.monotonic() - self._began, 3),
            "progress": round(min(percent, 100.0) / 100, 4) if percent >= 0 else None,
            "rows": self.rows,
        }


def batch_size(batch: NamedBatch) -> int:
    """Bytes that the values of a batch take."""
    rows = batch.rows
    values = [rows.values] if isinstance(rows.values, ListedArrays) else rows.values
    return sum(int(array.nbytes) for array in (batch.names, *values, *([] if rows.rest is None else [rows.rest])))


class WatchedResult:
    """A query result whose rows and bytes count for the query that this thread runs, if it runs one, and its limit."""

    def __init__(self, result: QueryResult) -> None:
        self._result = result

    @property
    def type(self) -> RowType:
        return self._result.type

    def batches(self, progress: Progress | None = None) -> Iterator[NamedBatch]:
        running = tasks.current()
        for batch in self._result.batches(progress):
            if isinstance(running, RunningQuery):
                running.took(batch)
            yield batch


class Queries:
    """The queries that run now. Thread-safe."""

    def __init__(self) -> None:
        self._running: dict[str, RunningQuery] = {}
        self._lock = threading.Lock()
        self._prefix = secrets.token_hex(4)
        self._numbers = itertools.count(1)

    @contextmanager
    def running(self, query: str | Mapping[str, Any], id: str = "", limit: int = 0) -> Iterator[RunningQuery]:
        """List a query for as long as it runs; ``Conflict`` when the id of the caller's choice is taken."""
        running = RunningQuery(id or f"{self._prefix}-{next(self._numbers):x}", query, limit)
        with self._lock:
            if running.id in self._running:
                raise Conflict(f"query entry '{running.id}' already exists: another query with this id is running")
            self._running[running.id] = running
        try:
            yield running
        finally:
            with self._lock:
                del self._running[running.id]
            running.finish()
            running.ended.set()

    def all(self) -> list[RunningQuery]:
        """The queries under way, in the order of their start."""
        with self._lock:
            return list(self._running.values())

    def get(self, id: str) -> RunningQuery:
        with self._lock:
            found = self._running.get(id)
        if found is None:
            raise NotFound(
                f"query entry '{id}' doesn't exist: it has ended, or never began",
                details={"collection": "queries", "entry": id},
            )
        return found

    def cancel(self, id: str) -> None:
        """End a query and wait until it has ended."""
        found = self.get(id)
        found.stop(Conflict(f"the query was cancelled by DELETE /v1/queries/{id}"))
        found.ended.wait(_STOP_SECONDS)
