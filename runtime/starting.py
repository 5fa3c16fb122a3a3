"""Starting a generation: under its deadline and its limit of memory, for a plugin or for one script."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

from runtime import protocol
from runtime.executor import Environment, Executor, WorkerFailure
from runtime.generation import Answer, Generation, Hooks, RequestFailed
from runtime.incidents import Failure, raised
from runtime.messages import Launch, Limits, LogLine, Perform

TICK_SECONDS: Final = 0.1  # between two looks at deadlines and memory


class LaunchFailed(Exception):
    """Raised by ``make_launch`` when there is nothing that could be started."""


class MainFailed(Exception):
    """Raised when main.py raised; ``answer`` holds its output."""

    def __init__(self, answer: Answer) -> None:
        super().__init__((answer.exception or {}).get("message", "main.py failed"))
        self.answer = answer


START_FAILURES: Final = (LaunchFailed, MainFailed, RequestFailed, WorkerFailure, OSError)


def failure_of(error: Exception) -> Failure:
    exception = error.answer.exception if isinstance(error, MainFailed) else None
    return Failure(str(error), time.time()) if exception is None else raised(exception)


async def start_watched(generation: Generation, executor: Executor, environment: Environment) -> Answer:
    """Start a generation under its deadline and memory limit; a cancel ends its worker.

    ``MainFailed``, ``RequestFailed`` or ``WorkerFailure``; the worker is gone then.
    """
    task = asyncio.ensure_future(generation.start(executor, environment))
    try:
        while not (await asyncio.wait({task}, timeout=TICK_SECONDS))[0]:
            generation.overdue()
            if generation.overgrown():
                generation.stop(503, "grew past its memory limit")
        answer = task.result()
        if answer.kind == protocol.EXHAUSTED:
            raise RequestFailed(503, "the plugin's worker ran out of its memory limit")
        if answer.kind == protocol.RAISED:
            raise MainFailed(answer)
    except BaseException:
        task.cancel()
        generation.stop()
        raise
    return answer


async def run_script(
    launch: Launch,
    *,
    executor: Executor,
    limits: Limits,
    perform: Perform,
    log: Callable[[LogLine], None],
) -> Answer:
    """Run a script in a worker of its own; its answer, also when it raised. ``RequestFailed`` when it died or hung."""
    generation = Generation(launch, limits, Hooks(perform, log, lambda _generation, _reason: None))
    try:
        answer = await start_watched(generation, executor, Environment(launch.packages))
    except MainFailed as error:
        answer = error.answer
    finally:
        generation.stop()
    return answer
