"""Cursors that queries read with: they can be interrupted, and tell how far they are."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import duckdb

from server.declarations import Progress

_IDLE = 16  # cursors kept: making one ready costs as much as a small query
_INTERRUPT_SECONDS = 0.05
_READY = "SET enable_progress_bar = true; SET enable_progress_bar_print = false; SET progress_bar_time = 0"


@contextmanager
def interrupted_by(progress: Progress | None, interrupt: Callable[[], object]) -> Iterator[None]:
    """While the block runs, a cancel interrupts a cursor's queries.

    DuckDB forgets an interrupt that comes just before a query begins: it is repeated until the block has ended.
    """
    ended = threading.Event()

    def repeat() -> None:
        with suppress(duckdb.Error):  # the cursor may have been closed this moment
            while not ended.is_set():
                interrupt()
                ended.wait(_INTERRUPT_SECONDS)

    def begin() -> None:
        threading.Thread(target=repeat, name="interrupt", daemon=True).start()

    if progress is not None:
        progress.on_cancel(begin)
    try:
        yield
    finally:
        ended.set()
        if progress is not None:
            progress.off_cancel(begin)


class _Use:
    """A cursor for as long as one task has it: what is asked of it later must not reach the next task."""

    def __init__(self, cursor: duckdb.DuckDBPyConnection) -> None:
        self._cursor: duckdb.DuckDBPyConnection | None = cursor
        self._lock = threading.Lock()

    def interrupt(self) -> None:
        with self._lock:
            if self._cursor is not None:
                self._cursor.interrupt()

    def percent(self) -> float:
        with self._lock:
            return -1.0 if self._cursor is None else float(self._cursor.query_progress())

    def end(self) -> None:
        with self._lock:
            self._cursor = None


class Readers:
    """Hands out cursors, and keeps those that came back whole. Thread-safe."""

    def __init__(self, open: Callable[[], duckdb.DuckDBPyConnection]) -> None:
        self._open = open
        self._idle: deque[duckdb.DuckDBPyConnection] = deque()

    @contextmanager
    def reader(self, progress: Progress | None) -> Iterator[duckdb.DuckDBPyConnection]:
        """A cursor in autocommit whose SQL ends when the task is cancelled. Whoever registers a table removes it."""
        try:
            cursor = self._idle.pop()
        except IndexError:
            cursor = self._open()
            cursor.execute(_READY)
        use = _Use(cursor)
        try:
            with interrupted_by(progress, use.interrupt):
                if progress is not None:
                    progress.check()
                    progress.gauge(use.percent)
                yield cursor
        except BaseException:
            cursor.close()
            raise
        finally:
            use.end()
        if len(self._idle) < _IDLE:
            self._idle.append(cursor)
        else:
            cursor.close()
