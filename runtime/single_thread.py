"""A thread for what belongs to one thread, which makes way for what it waits for itself."""

from __future__ import annotations

import contextvars
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from queue import SimpleQueue
from typing import Any, TypeVar

Result = TypeVar("Result")


@dataclass(eq=False, slots=True)
class _Task:
    """``work``, for ``outcome``. ``errands`` come from the thread: what to do for it meanwhile, None in the end."""

    work: Callable[[], Any]
    outcome: Future[Any] = field(default_factory=Future)


@dataclass(eq=False, slots=True)
class _Job(_Task):
    inner: bool = False
    errands: SimpleQueue[_Task | None] = field(default_factory=SimpleQueue)


class SingleThread:
    """Does one job after another. While a job waits for an errand, inner jobs are done."""

    def __init__(self, name: str) -> None:
        self._changed = threading.Condition()
        self._jobs: deque[_Job] = deque()
        self._under_way: list[_Job] = []  # the innermost is last
        threading.Thread(target=self._work_on, name=name, daemon=True).start()

    @property
    def depth(self) -> int:
        """How many jobs are under way, each within the one before."""
        return len(self._under_way)

    def run(self, work: Callable[[], Result], *, inner: bool = False) -> Result:
        """What ``work`` gives, in the context of the caller. ``inner``: a job under way waits for it."""
        job = _Job(partial(contextvars.copy_context().run, work), inner=inner)
        with self._changed:
            self._jobs.append(job)
            self._changed.notify()
        while (errand := job.errands.get()) is not None:
            _do(errand)
            with self._changed:
                self._changed.notify()
        result: Result = job.outcome.result()
        return result

    def ask(self, work: Callable[[], Result]) -> Result:
        """Have the thread that waits for the job under way do some work; what it gives. Called by the job."""
        errand = _Task(work)
        self._under_way[-1].errands.put(errand)
        while (job := self._next_within(errand)) is not None:
            self._do_job(job)
        result: Result = errand.outcome.result()
        return result

    def _work_on(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._jobs)
                job = self._jobs.popleft()
            self._do_job(job)

    def _next_within(self, errand: _Task) -> _Job | None:
        """The next inner job; None as soon as the errand is done."""
        with self._changed:
            while not errand.outcome.done():
                for job in self._jobs:
                    if job.inner:
                        self._jobs.remove(job)
                        return job
                self._changed.wait()
        return None

    def _do_job(self, job: _Job) -> None:
        self._under_way.append(job)
        _do(job)
        self._under_way.pop()
        job.errands.put(None)


def _do(task: _Task) -> None:
    try:
        task.outcome.set_result(task.work())
    except BaseException as error:
        # Whatever it is, it is raised again in the thread that waits.
        task.outcome.set_exception(error)
