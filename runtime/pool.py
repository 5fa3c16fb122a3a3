"""Threads of a worker that execute requests.

Few threads are best for short routes (they share one interpreter lock), but blocked ones must never hold up a
request: a route may wait for its own plugin. So threads are added when all are waiting for the host, and one by one
while the backlog does not move.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any, Final

# A backlog that did not move for so long gets another thread.
STALL_SECONDS: Final = 0.002

# Stacks count against the memory limit of the worker as if they were full.
STACK_BYTES: Final = 2 * 2**20

# More blocked requests than this are a runaway recursion or an overload: they wait for a free thread.
MAX_THREADS: Final = 512

_IDLE_SECONDS: Final = 10.0
_KEPT_THREADS: Final = 2


class ThreadPool:
    """Runs ``job(item)``; ``submit`` and ``relieve`` are called by one thread only."""

    def __init__(self, job: Callable[[Any], None], waiting: Callable[[], int]) -> None:
        self._most = MAX_THREADS
        self._job = job
        self._waiting = waiting
        self._queue: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._idle = 0
        self._taken = 0
        self._taken_before = -1

    def fit(self, memory: int) -> None:
        """Leave half of so many bytes for other things than stacks."""
        self._most = max(_KEPT_THREADS, min(MAX_THREADS, memory // 2 // STACK_BYTES))

    def submit(self, item: Any) -> None:
        self._queue.put(item)
        if not self._idle and self._threads <= self._waiting():
            self._add()

    def backlog(self) -> bool:
        return not self._queue.empty()

    def relieve(self) -> None:
        """Add a thread when no request was taken since the last call. Called every ``STALL_SECONDS`` of a backlog."""
        if self._taken == self._taken_before:
            self._add()
        self._taken_before = self._taken

    def _add(self) -> None:
        with self._lock:
            if self._threads >= self._most:
                return
            self._threads += 1
        try:
            self._start()
        except RuntimeError:  # neither memory nor processes for a further one: a busy one has to do it
            with self._lock:
                self._threads -= 1

    def _start(self) -> None:
        before = threading.stack_size(STACK_BYTES)
        try:
            threading.Thread(target=self._work, name="request", daemon=True).start()
        finally:
            threading.stack_size(before)

    def _work(self) -> None:
        while (item := self._next()) is not None:
            self._job(item)

    def _next(self) -> Any:
        """The next item, or None when this thread is to end."""
        while True:
            self._count(idle=1)
            try:
                item = self._queue.get(timeout=_IDLE_SECONDS)
            except queue.Empty:
                self._count(idle=-1)
                if self._retire():
                    return None
                continue
            self._count(idle=-1, taken=1)
            return item

    def _count(self, idle: int, taken: int = 0) -> None:
        with self._lock:
            self._idle += idle
            self._taken += taken

    def _retire(self) -> bool:
        with self._lock:
            if self._threads <= _KEPT_THREADS or not self._queue.empty():
                return False
            self._threads -= 1
            return True
