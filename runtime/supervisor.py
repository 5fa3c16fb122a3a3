"""Keeps a plugin served: starts generations, swaps them on change, replaces the dead, the hung and the overgrown."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

from runtime import protocol
from runtime.crashes import Crashes
from runtime.executor import Environment, Executor, WorkerFailure
from runtime.generation import Answer, ClientGone, Generation, Hooks, OnSlow, RequestFailed
from runtime.incidents import LONGEST_MESSAGE, Failure, raised
from runtime.messages import Launch, Limits, LogLine, Perform, PluginRequest
from runtime.output import time_text
from runtime.starting import START_FAILURES, TICK_SECONDS, LaunchFailed, failure_of, start_watched
from runtime.traffic import Traffic

_PING_SECONDS: Final = 5.0
_ASK_SECONDS: Final = 0.1  # before a reload, which is to be quick, for what a busy worker may have told before

# Other requests on a worker without memory may end within this time.
_EXHAUSTED_GRACE_SECONDS: Final = 1.0

# An edit ends a start that takes longer: who saved an endless loop mends it, and need not wait for its deadline.
IMPATIENT_SECONDS: Final = 2.0


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
        self._crashes = Crashes()
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
            self._cancel_restart()
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
            self._cancel_restart()
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
        self.last_error = replace(failure, request=f"{request.verb} {request.remaining}"[:LONGEST_MESSAGE])

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
        status = self._service()
        if self.generation is not None and self.generation.worker is not None:
            status["pid"] = self.generation.worker.pid
        return status

    def report(self) -> dict[str, Any]:
        """Everything that operators want to know, at any time. ``memory`` in bytes, the worker's own."""
        worker = self.generation.worker if self.generation is not None else None
        report = self._service()
        report["requests"] = self.traffic.plain()
        report["memory"] = 0 if worker is None else worker.memory()
        report["memoryLimit"] = self._limits.memory
        if self.loaded is not None:
            report["loaded"] = time_text(self.loaded)
        if self.last_error is not None:
            report["lastError"] = self.last_error.plain()
        return report

    def _service(self) -> dict[str, Any]:
        """What both tell of how the plugin is served."""
        told: dict[str, Any] = {"generation": self._numbers, "restarts": self._restarts, "state": self._state()}
        if self.failure is not None:
            told["lastFailure"] = self.failure.plain()
        if self._retry_in() > 0:
            told["nextAttempt"] = time_text(time.time() + self._retry_in())
        return told

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
        self._cancel_restart()
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
        if not self._crashes.recent():
            self.failure = self.last_error = None
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
        """The modules of the plugin's folder that the generation in service has imported, those of routes.py too."""
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
                await asyncio.sleep(TICK_SECONDS)
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
            await asyncio.sleep(TICK_SECONDS)
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
            elif ticks % round(_PING_SECONDS / TICK_SECONDS) == 0:
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
        self._crashes.note()
        self._schedule_restart()

    def _note(self, failure: Failure, what: str) -> None:
        self.failure = failure
        place = f" ({failure.file}, line {failure.line})" if failure.file else ""
        self._hooks.log(LogLine("error", failure.time, f"{what}: {failure.message}{place}"))

    def _schedule_restart(self) -> None:
        if self._restarting is None or self._restarting.done():
            self._restarting = asyncio.get_running_loop().create_task(self._restart())

    def _cancel_restart(self) -> None:
        if self._restarting is not None:
            self._restarting.cancel()
            self._restarting = None

    async def _restart(self) -> None:
        while not self._stopped and self.generation is None:
            pause = self._crashes.pause()
            self._retry_at = time.monotonic() + pause
            await asyncio.sleep(pause)
            async with self._changing:
                try:
                    await self._begin_unless_newer()
                    self._restarts += 1
                except START_FAILURES as error:
                    self._note(failure_of(error), "restart failed")
                    self._crashes.note()

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
