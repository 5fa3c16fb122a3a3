"""The task that SQL runs for: how what is called far below DuckDB learns that it is to stop.

DuckDB calls Python functions in threads of its own. Those that may take long are given the number of their task, which
is a variable of the cursor that runs the query; from there on the task is found by ``current`` as everywhere else.
"""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from queue import SimpleQueue
from typing import Any, TypeVar

import duckdb

from server.declarations import Progress
from server.errors import Cancelled, MldbError
from server.tasks import acting_for as acting_for
from server.tasks import check as check
from server.tasks import current as current
from server.tasks import interrupted as interrupted

TASK_SQL = "getvariable('mldb_task')"  # the number of the task (BIGINT), NULL where nothing can be stopped
KEPT = 16  # threads that wait for work
_T = TypeVar("_T")

_numbers = itertools.count(1)
_numbered: dict[int, Progress] = {}
_planned: set[int] = set()


def is_over(progress: Progress | None) -> bool:
    """Whether a task is to stop."""
    return progress is not None and progress.cancelled


def check_task(progress: Progress | None) -> None:
    """Raise ``Cancelled`` when a task, if there is one, is to stop."""
    if progress is not None:
        progress.check()


@contextmanager
def numbered(cursor: duckdb.DuckDBPyConnection, progress: Progress | None, sql: str) -> Iterator[None]:
    """Let the functions that the SQL calls find the task."""
    # Setting a variable costs as much as a small query: only where a function asks for it.
    if progress is None or TASK_SQL not in sql:
        yield
        return
    with found_by_number(progress) as number:
        cursor.execute(f"SET VARIABLE mldb_task = {number}::BIGINT")
        yield


@contextmanager
def found_by_number(progress: Progress, number: int | None = None) -> Iterator[int]:
    """A number by which ``find`` gives the task: a new one, or that of a statement that runs for one task at a time."""
    number = next(_numbers) if number is None else number
    _numbered[number] = progress
    try:
        yield number
    finally:
        del _numbered[number]


@contextmanager
def planned_for_later() -> Iterator[int]:
    """A number for a statement that the block plans.

    DuckDB calls functions of constants while it plans and keeps what they give, but leaves those that fail to the run:
    what asks for its task is to be called in each run.
    """
    number = next(_numbers)
    _planned.add(number)
    try:
        yield number
    finally:
        _planned.remove(number)


def find(number: int | None) -> Progress | None:
    """The task of a number that ``TASK_SQL`` gave."""
    if number in _planned:
        raise MldbError("a function was called while its statement is planned")
    return None if number is None else _numbered.get(number)


def stoppable(progress: Progress | None, work: Callable[[], _T]) -> _T:
    """Do work that may wait for long; ``Cancelled`` as soon as the task is to stop.

    The work is then left to come to its own end, in a thread that nobody waits for.
    """
    if progress is None:
        return work()
    progress.check()
    outcome: list[_T | BaseException] = []
    over = threading.Event()
    context = copy_context()

    def act() -> None:
        with acting_for(progress):
            try:
                outcome.append(work())
            except BaseException as error:
                outcome.append(error)
        over.set()

    with interrupted(progress, over.set):
        _do(lambda: context.run(act))
        over.wait()
    if not outcome:
        raise Cancelled("the query was cancelled")
    result: Any = outcome[0]
    if isinstance(result, BaseException):
        raise result
    return result  # type: ignore[no-any-return]


_idle: deque[SimpleQueue[Callable[[], None]]] = deque()  # of threads that wait for more: to start one takes a while


def _do(work: Callable[[], None]) -> None:
    """Have it done by a thread that does nothing else, and that the end of the process does not wait for."""
    try:
        inbox = _idle.pop()
    except IndexError:
        inbox = SimpleQueue()
        threading.Thread(target=_serve, args=(inbox,), name="stoppable", daemon=True).start()
    inbox.put(work)


def _serve(inbox: SimpleQueue[Callable[[], None]]) -> None:
    while True:
        inbox.get()()
        if len(_idle) >= KEPT:
            return
        _idle.append(inbox)
