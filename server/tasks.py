"""The task that a thread works for: how what is called far below a run or a query learns that it is to stop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from server.declarations import Progress

_current: ContextVar[Progress | None] = ContextVar("task", default=None)


def current() -> Progress | None:
    """The task that this thread works for, if it can be stopped."""
    return _current.get()


def check() -> None:
    """Raise ``Cancelled`` when the task of this thread is to stop."""
    progress = _current.get()
    if progress is not None:
        progress.check()


@contextmanager
def acting_for(progress: Progress | None) -> Iterator[None]:
    """What this thread does from here on, it does for a task."""
    token = _current.set(progress)
    try:
        yield
    finally:
        _current.reset(token)


@contextmanager
def interrupted(progress: Progress | None, callback: Callable[[], object]) -> Iterator[None]:
    """Call this when the task is to stop before the block has ended."""
    if progress is None:
        yield
        return
    progress.on_cancel(callback)
    try:
        yield
    finally:
        progress.off_cancel(callback)
