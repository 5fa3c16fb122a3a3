"""Progress and cancellation of constructions, runs and queries (rest-api.md §9.4)."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from server.errors import Cancelled
from server.values.atoms import timestamp_text

log = logging.getLogger("mldb.server")

_NEARLY = 0.99  # what SQL has read is not yet what the step does with it


@dataclass(slots=True)
class Step:
    """``inner`` is the progress of a run that the step consists of."""

    name: str
    type: str
    value: float = 0.0
    started: float | None = None
    ended: float | None = None
    inner: TaskProgress | None = None

    def to_json(self) -> dict[str, Any]:
        shown: dict[str, Any] = {"name": self.name, "type": self.type, "value": self.value}
        if self.started is not None:
            shown["started"] = timestamp_text(round(self.started, 6))
        if self.ended is not None:
            shown["ended"] = timestamp_text(round(self.ended, 6))
        if self.inner is not None and (inside := self.inner.to_json()):
            shown["subProgress"] = inside
        return shown


class TaskProgress:
    """The ``Progress`` of one task. ``announce`` lists steps to come, so that clients see all of them at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._steps: list[Step] = []
        self._current: Step | None = None
        self._gauge: Callable[[], float] | None = None
        self._callbacks: list[Callable[[], object]] = []
        self._cancelled = threading.Event()

    @property
    def reported(self) -> bool:
        return self._current is not None

    @property
    def cancelled(self) -> bool:
        return self._cancelled.is_set()

    def announce(self, *names: str, type: str = "percentile") -> None:
        with self._lock:
            self._steps.extend(Step(name, type) for name in names)

    def step(self, name: str, type: str = "percentile") -> None:
        self.check()
        now = time.time()
        with self._lock:
            self._end_current(now)
            waiting = next((s for s in self._steps if s.name == name and s.started is None), None)
            if waiting is None:
                waiting = Step(name, type)
                self._steps.append(waiting)
            waiting.started = now
            self._current, self._gauge = waiting, None

    def _end_current(self, now: float) -> None:
        if self._current is not None and self._current.ended is None:
            self._current.ended = now
            if self._current.type == "percentile":
                self._current.value = 1.0

    def update(self, value: float) -> None:
        self.check()
        with self._lock:
            if self._current is not None and value > self._current.value:
                self._current.value = float(value)

    def check(self) -> None:
        if self._cancelled.is_set():
            raise Cancelled("the task was cancelled")

    def wait(self, seconds: float) -> None:
        """Sleep, but wake up (and raise ``Cancelled``) at once when a cancel is asked for."""
        self._cancelled.wait(seconds)
        self.check()

    def on_cancel(self, callback: Callable[[], object]) -> None:
        with self._lock:
            late = self._cancelled.is_set()
            if not late:
                self._callbacks.append(callback)
        if late:
            callback()

    def off_cancel(self, callback: Callable[[], object]) -> None:
        with self._lock:
            if callback in self._callbacks:
                self._callbacks.remove(callback)

    def gauge(self, percent: Callable[[], float] | None) -> None:
        self._gauge = percent

    def _read_gauge(self) -> None:
        """A step of percents that nobody else tells the progress of is as far as its SQL."""
        step, gauge = self._current, self._gauge
        if gauge is not None and step is not None and step.ended is None and step.type == "percentile":
            step.value = max(step.value, min(gauge() / 100, _NEARLY))

    @contextmanager
    def containing(self, inner: TaskProgress) -> Iterator[None]:
        """The step under way consists, while the block runs, of another task: shown with it, and cancelled with it."""
        with self._lock:
            if self._current is not None:
                self._current.inner = inner
        self.on_cancel(inner.cancel)
        try:
            yield
        finally:
            self.off_cancel(inner.cancel)

    def cancel(self) -> None:
        """Ask for a cancel; returns at once, the task stops at its next check."""
        with self._lock:
            if self._cancelled.is_set():
                return
            self._cancelled.set()
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            _call(callback)

    def finish(self) -> None:
        """End the step under way, when the task has come to its end."""
        with self._lock:
            self._end_current(time.time())
            self._callbacks = []

    def to_json(self) -> dict[str, Any]:
        """``{"steps": […]}``, or {} when nothing was reported."""
        with self._lock:
            self._read_gauge()
            return {"steps": [step.to_json() for step in self._steps]} if self._steps else {}


def _call(callback: Callable[[], object]) -> None:
    """What is to be stopped may have ended meanwhile (a cursor closed, a process gone); the others must be stopped."""
    try:
        callback()
    except Exception:
        log.debug("a cancel came too late for %r", callback, exc_info=True)
