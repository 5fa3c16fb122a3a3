"""Cursors that queries read with: they can be interrupted, and tell how far they are."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from typing import Any

import duckdb

from server.declarations import Progress

_IDLE = 16  # cursors kept: making one ready costs as much as a small query
_STATEMENTS = 32  # kept planned per cursor
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


class Use:
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


class Reader:
    """A cursor in autocommit, and the statements that it keeps planned. Whoever registers a table removes it."""

    def __init__(self, cursor: duckdb.DuckDBPyConnection) -> None:
        self.cursor = cursor
        self._statements: OrderedDict[str, str] = OrderedDict()
        self._numbers = count()

    def fetch(self, sql: str, *, again: bool = False) -> list[tuple[Any, ...]]:
        """All rows of a statement. With ``again`` it stays planned: planning is most of what a small one costs.

        DuckDB plans a statement anew by itself when what it reads has changed.
        """
        text = f"EXECUTE {self._planned(sql)}" if again else sql
        rows: list[tuple[Any, ...]] = self.cursor.execute(text).fetchall()
        return rows

    def _planned(self, sql: str) -> str:
        name = self._statements.get(sql)
        if name is None:
            name = f"statement_{next(self._numbers)}"
            self.cursor.execute(f"PREPARE {name} AS {sql}")
            self._statements[sql] = name
            if len(self._statements) > _STATEMENTS:
                self.cursor.execute(f"DEALLOCATE {self._statements.popitem(last=False)[1]}")
        else:
            self._statements.move_to_end(sql)
        return name


@contextmanager
def stopped_with(task: Progress | None, cursor: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """While the block runs, a cancel of the task interrupts the cursor; what it raises then is ``Cancelled``."""
    if task is None:
        yield
        return
    use = Use(cursor)
    try:
        with interrupted_by(task, use.interrupt):
            yield
    except duckdb.Error:
        task.check()
        raise
    finally:
        use.end()


class Readers:
    """Hands out cursors, and keeps those that came back whole. Thread-safe."""

    def __init__(self, open: Callable[[], duckdb.DuckDBPyConnection]) -> None:
        self._open = open
        self._idle: deque[Reader] = deque()

    @contextmanager
    def reader(self, progress: Progress | None) -> Iterator[Reader]:
        """A reader whose SQL ends when the task is cancelled."""
        try:
            reader = self._idle.pop()
        except IndexError:
            reader = Reader(self._open())
            reader.cursor.execute(_READY)
        use = Use(reader.cursor)
        try:
            with interrupted_by(progress, use.interrupt):
                if progress is not None:
                    progress.check()
                    progress.gauge(use.percent)
                yield reader
        except BaseException:
            reader.cursor.close()
            raise
        finally:
            use.end()
        if len(self._idle) < _IDLE:
            self._idle.append(reader)
        else:
            reader.cursor.close()
