"""Keeps a plugin served: starts generations, swaps them on change, replaces the dead, the hung and the overgrown."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final

from runtime import protocol
from runtime.executor import Environment, Executor, WorkerFailure
from runtime.generation import Answer, ClientGone, Generation, Hooks, OnSlow, RequestFailed
from runtime.messages import Launch, Limits, LogLine, Perform, PluginRequest
from runtime.output import time_text
from runtime.traffic import Traffic

logger = logging.getLogger("mldb.runtime")

_TICK_SECONDS: Final = 0.1
_PING_SECONDS: Final = 5.0
_ASK_SECONDS: Final = 0.1  # before a reload, which is to be quick, for what a busy worker may have told before

# Other requests on a worker without memory may end within this time.
_EXHAUSTED_GRACE_SECONDS: Final = 1.0

# An edit ends a start that takes longer: who saved an endless loop mends it, and need not wait for its deadline.
IMPATIENT_SECONDS: Final = 2.0

# Of a message that is kept: an exception may hold a whole file, and consoles are told again at every change.
_LONGEST_MESSAGE: Final = 1000

# Pauses before a restart after so many crashes within the window; the first is at once.
_BACK_OFF_SECONDS: Final = (0.0, 0.1, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
_CRASH_WINDOW_SECONDS: Final = 120.0


class LaunchFailed(Exception):
    """Raised by ``make_launch`` when there is nothing that could be started."""


class MainFailed(Exception):
    """Raised when main.py raised; ``answer`` holds its output."""

    def __init__(self, answer: Answer) -> None:
        super().__init__((answer.exception or {}).get("message", "main.py failed"))
        self.answer = answer


START_FAILURES: Final = (LaunchFailed, MainFailed, RequestFailed, WorkerFailure, OSError)


@dataclass(frozen=True)
class Failure:
    """Why a generation could not start or ended, or a request failed: what, where and when (seconds)."""

    message: str
    time: float
    file: str | None = None
    line: int | None = None
    request: str | None = None  # verb and path below the plugin's routes

    def plain(self) -> dict[str, Any]:
        members = {
            "message": self.message[:_LONGEST_MESSAGE],
            "time": time_text(self.time),
            "file": self.file,
            "line": self.line,
            "request": self.request,
        }
        return {name: value for name, value in members.items() if value is not None}


def failure_of(error: Exception) -> Failure:
    exception = error.answer.exception if isinstance(error, MainFailed) else None
    return Failure(str(error), time.time()) if exception is None else raised(exception)


def raised(exception: dict[str, Any]) -> Failure:
    """That plugin code raised, as ``failures.describe`` tells it."""
    type_, text = exception.get("type", "Exception"), exception.get("message", "")
    if not text.startswith(f"{type_}:"):  # JavaScript's own texts do
        text = f"{type_}: {text}"
    return Failure(text, time.time(), exception.get("scriptUri"), exception.get("lineNumber"))


async def start_watched(generation: Generation, executor: Executor, environment: Environment) -> Answer:
    """Start a generation under its deadline and memory limit; a cancel ends its worker.

    ``MainFailed``, ``RequestFailed`` or ``WorkerFailure``; the worker is gone then.
    """
    task = asyncio.ensure_future(generation.start(executor, environment))
    try:
        while not (await asyncio.wait({task}, timeout=_TICK_SECONDS))[0]:
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


class Supervisor:
    """One plugin. All methods belong to the event loop."""

    def __init__(
        self,
        make_launch: Callable[[], Launch],
        *,
        executor: Executor,
        limits: Limits,
        perform: Perform,
        log: Callable[[LogLine], None],
    ) -> None:
        """``make_launch`` says, as things lie on the disk now, what a generation runs; it may block."""
        self._make_launch = make_launch
        self._executor = executor
        self._limits = limits
        self._hooks = Hooks(perform, log, self._on_ended)
        self._environment = Environment()
        self.generation: Generation | None = None
        self.last_answer: Answer | None = None
        self.failure: Failure | None = None
        self.last_error: Failure | None = None  # the last request that failed, of the generation in service
        self.traffic = Traffic()
        self.loaded: float | None = None  # when the generation in service came into it, seconds of the epoch
        self._numbers = 0
        self._restarts = 0
        self._crashes: deque[float] = deque(maxlen=len(_BACK_OFF_SECONDS))
        self._retry_at = 0.0
        self._stopped = False
        self.held = False  # stopped by the operator, until a reload
        self._available = asyncio.Event()
        self._changing = asyncio.Lock()
        self._retiring: set[Generation] = set()
        self._restarting: asyncio.Task[None] | None = None
        self._beginning: asyncio.Future[None] | None = None
        self._begun = 0.0
        self._given_up = ""
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, *, held: bool = False) -> None:
        """Start the first generation; raises as ``start_watched`` does. ``held``: none, until ``reload``."""
        async with self._changing:
            self.held = held
            if not held:
                await self._begin()
        self._spawn(self._watch())

    async def reload(self, *, if_held: bool = True) -> bool:
        """Swap in a generation of what lies on the disk now. When it fails, the running one keeps serving.

        With ``if_held`` false what the operator has stopped stays so. A start that takes long is given up: what lies on
        the disk now may be what mends it.
        """
        if time.monotonic() - self._begun > IMPATIENT_SECONDS:
            self._give_up("main.py had not ended when it was edited again")
        async with self._changing:
            if self._stopped or (self.held and not if_held):
                return False
            if self._restarting is not None:
                self._restarting.cancel()
                self._restarting = None
            self.held = False
            try:
                await self._begin_unless_newer()
            except START_FAILURES as error:
                self._note(failure_of(error), "the new version failed to start")
                if self.generation is None:
                    self._schedule_restart()
                return False
            return not self._stopped

    async def hold(self) -> None:
        """End the worker and start none until ``reload``; requests in flight may end first."""
        self._give_up("the plugin was stopped before main.py had ended")
        async with self._changing:
            self.held = True
            if self._restarting is not None:
                self._restarting.cancel()
                self._restarting = None
            self._retry_at = 0.0
            generation, self.generation = self.generation, None
            self._available.clear()
            if generation is not None:
                self._spawn(self._drain(generation, self._limits.request_seconds))

    async def request(self, request: PluginRequest, on_slow: OnSlow | None = None) -> Answer:
        """Have routes.py answer. ``RequestFailed``: 502 died, 503 restarting or out of memory, 504 too late."""
        began = time.monotonic()
        try:
            answer = await self._answer(request, on_slow)
        except RequestFailed as error:
            self.traffic.note(began, failed=True)
            if not (self.held or isinstance(error, ClientGone)):
                self._note_request(request, Failure(str(error), time.time()))
            raise
        failed = answer.kind in (protocol.RAISED, protocol.UNSET)
        self.traffic.note(began, failed=failed)
        if failed:
            unanswered = Failure("the route ended without an answer", time.time())
            self._note_request(request, raised(answer.exception) if answer.exception else unanswered)
        return answer

    def _note_request(self, request: PluginRequest, failure: Failure) -> None:
        self.last_error = replace(failure, request=f"{request.verb} {request.remaining}"[:_LONGEST_MESSAGE])

    async def _answer(self, request: PluginRequest, on_slow: OnSlow | None) -> Answer:
        generation = self.generation or await self._wait_for_generation()
        answer = await generation.request(request, on_slow)
        if answer.kind == protocol.EXHAUSTED:
            self._replace(generation, "ran out of its memory limit", _EXHAUSTED_GRACE_SECONDS)
            raise RequestFailed(503, "the plugin's worker ran out of its memory limit and is replaced")
        self.last_answer = answer
        return answer

    async def healthy(self, patience: float) -> bool:
        """Whether the worker answers within so many seconds, in a real round trip, or is stopped as it should be."""
        if self.held:
            return True
        if self.generation is None:
            return False
        try:
            await self.generation.ping(patience)
        except TimeoutError:
            return False
        return True

    def status(self) -> dict[str, Any] | None:
        """What the plugin's status object shows: nothing while the first generation serves as it should."""
        if self._numbers <= 1 and self.failure is None and self.generation is not None and not self.held:
            return None
        status: dict[str, Any] = {"generation": self._numbers, "restarts": self._restarts, "state": self._state()}
        if self.generation is not None and self.generation.worker is not None:
            status["pid"] = self.generation.worker.pid
        if self.failure is not None:
            status["lastFailure"] = self.failure.plain()
        if self._retry_in() > 0:
            status["nextAttempt"] = time_text(time.time() + self._retry_in())
        return status

    def report(self) -> dict[str, Any]:
        """Everything that operators want to know, at any time. ``memory`` in bytes, the worker's own."""
        worker = self.generation.worker if self.generation is not None else None
        report: dict[str, Any] = {
            "generation": self._numbers,
            "restarts": self._restarts,
            "state": self._state(),
            "requests": self.traffic.plain(),
            "memory": 0 if worker is None else worker.memory(),
            "memoryLimit": self._limits.memory,
        }
        if self.loaded is not None:
            report["loaded"] = time_text(self.loaded)
        if self.failure is not None:
            report["lastFailure"] = self.failure.plain()
        if self.last_error is not None:
            report["lastError"] = self.last_error.plain()
        if self._retry_in() > 0:
            report["nextAttempt"] = time_text(time.time() + self._retry_in())
        return report

    def _state(self) -> str:
        if self.generation is not None:
            return "serving"
        if self._stopped or self.held:
            return "stopped"
        return "backing off" if self._retry_in() > self._limits.restart_seconds else "restarting"

    def _retry_in(self) -> float:
        """Seconds until the next attempt to restart; whatever happens to the time of day."""
        return self._retry_at - time.monotonic()

    async def stop(self, patience: float | None = None) -> None:
        """End all workers; requests in flight may end first, within their deadline or ``patience`` seconds."""
        self._stopped = True
        generation, self.generation = self.generation, None
        if self._restarting is not None:
            self._restarting.cancel()
        for task in self._tasks:
            task.cancel()
        if generation is not None:
            await self._drain(generation, self._limits.request_seconds if patience is None else patience)
        for retiring in list(self._retiring):
            retiring.stop()

    async def _begin(self) -> None:
        """Start a generation and swap it in, unless the plugin has gone meanwhile."""
        launch, modules = await asyncio.gather(asyncio.to_thread(self._make_launch), self._modules_in_use())
        launch = replace(launch, modules=modules)
        if launch.packages != self._environment.paths:
            self._environment = Environment(launch.packages)
        warm = self._executor.is_warm(self._environment)
        environment = self._environment if warm else Environment(launch.packages)
        generation = Generation(launch, self._limits, self._hooks, self._numbers + 1)
        answer = await start_watched(generation, self._executor, environment)
        if self._stopped:
            generation.stop()
            return
        self._numbers = generation.number
        previous, self.generation = self.generation, generation
        self.last_answer = answer
        self.loaded = time.time()
        self.failure = self.failure if self._recent_crashes() else None
        self.last_error = self.last_error if self._recent_crashes() else None
        self._retry_at = 0.0
        self._available.set()
        if previous is not None:
            self._spawn(self._drain(previous, self._limits.request_seconds))
        self._spawn(self._prepare_template(generation))

    async def _begin_unless_newer(self) -> None:
        """``LaunchFailed`` when it was given up meanwhile."""
        self._begun, self._given_up = time.monotonic(), ""
        self._beginning = asyncio.ensure_future(self._begin())
        try:
            await self._beginning
        except asyncio.CancelledError:
            if not self._given_up:
                raise
            raise LaunchFailed(self._given_up) from None
        finally:
            self._beginning = None

    def _give_up(self, reason: str) -> None:
        """End a start that is under way."""
        if self._beginning is not None:
            self._given_up = reason
            self._beginning.cancel()

    async def _modules_in_use(self) -> tuple[str, ...]:
        """Of the plugin's folder, by the generation that serves: what routes.py has imported counts too."""
        serving = self.generation
        if serving is None:
            return ()
        with suppress(TimeoutError):
            await serving.ping(_ASK_SECONDS)
        return tuple(serving.own_modules)

    async def _drain(self, generation: Generation, seconds: float) -> None:
        """End a generation when its requests have ended, or their time is over."""
        self._retiring.add(generation)
        try:
            end = time.monotonic() + seconds
            while generation.in_flight and time.monotonic() < end:
                await asyncio.sleep(_TICK_SECONDS)
                generation.overdue()
        finally:
            generation.stop()
            self._retiring.discard(generation)

    async def _prepare_template(self, generation: Generation) -> None:
        """Have the third-party modules of this generation imported where the next one is forked from."""
        with suppress(TimeoutError, WorkerFailure):
            await generation.ping(self._limits.request_seconds)
            known = self._environment.modules
            modules = known + tuple(name for name in generation.third_party if name not in known)
            if modules:
                environment = Environment(generation.launch.packages, modules)
                await self._executor.warm(environment)
                self._environment = environment

    async def _watch(self) -> None:
        """Look at deadlines, memory and liveness, all the time."""
        ticks = 0
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            ticks += 1
            generation = self.generation
            if generation is None:
                continue
            if generation.overdue():
                self._replace(generation, "did not answer in time", self._limits.request_seconds)
            elif generation.overgrown():
                generation.stop(503, "grew past its memory limit")
            elif time.monotonic() - generation.last_pong > _PING_SECONDS + self._limits.request_seconds:
                self._replace(generation, "did not answer for too long", self._limits.request_seconds)
            elif ticks % round(_PING_SECONDS / _TICK_SECONDS) == 0:
                self._spawn(self._ping(generation))

    async def _ping(self, generation: Generation) -> None:
        with suppress(TimeoutError):
            await generation.ping(self._limits.request_seconds)

    def _on_ended(self, generation: Generation, reason: str) -> None:
        if generation is self.generation:
            self._lose(generation, reason)

    def _replace(self, generation: Generation, reason: str, grace: float) -> None:
        """Give up a generation that still runs. Its other requests may end within their time and this grace."""
        if generation is not self.generation:
            return
        self._lose(generation, reason)
        self._spawn(self._drain(generation, grace))

    def _lose(self, generation: Generation, reason: str) -> None:
        self.generation = None
        self._available.clear()
        if self._stopped:
            return
        self._note(Failure(f"the worker {reason}", time.time()), f"generation {generation.number}")
        self._crashes.append(time.monotonic())
        self._schedule_restart()

    def _note(self, failure: Failure, what: str) -> None:
        self.failure = failure
        place = f" ({failure.file}, line {failure.line})" if failure.file else ""
        self._hooks.log(LogLine("error", failure.time, f"{what}: {failure.message}{place}"))

    def _recent_crashes(self) -> int:
        oldest = time.monotonic() - _CRASH_WINDOW_SECONDS
        return sum(1 for moment in self._crashes if moment > oldest)

    def _schedule_restart(self) -> None:
        if self._restarting is None or self._restarting.done():
            self._restarting = asyncio.get_running_loop().create_task(self._restart())

    async def _restart(self) -> None:
        while not self._stopped and self.generation is None:
            pause = _BACK_OFF_SECONDS[min(max(self._recent_crashes() - 1, 0), len(_BACK_OFF_SECONDS) - 1)]
            self._retry_at = time.monotonic() + pause
            await asyncio.sleep(pause)
            async with self._changing:
                try:
                    await self._begin_unless_newer()
                    self._restarts += 1
                except START_FAILURES as error:
                    self._note(failure_of(error), "restart failed")
                    self._crashes.append(time.monotonic())

    async def _wait_for_generation(self) -> Generation:
        if self.held:
            raise RequestFailed(503, "the plugin was stopped; a reload starts it")
        patient = not self._stopped and self._retry_in() < self._limits.restart_seconds
        if patient:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._available.wait(), self._limits.restart_seconds)
        if self.generation is None:
            detail = f": {self.failure.message}" if self.failure else ""
            raise RequestFailed(503, f"the plugin is restarting{detail}")
        return self.generation

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
