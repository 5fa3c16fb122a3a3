"""One generation of a plugin on the host's side: a worker, the requests in flight, the folders that it serves."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Any, Final

from runtime import protocol
from runtime.capture import RateLimit
from runtime.executor import Environment, Executor, WorkerHandle
from runtime.files import STATUSES, File
from runtime.folders import FolderError, Folders
from runtime.jsontext import encode, to_bytes
from runtime.messages import Call, DeclaredRoute, Launch, Limits, LogLine, Perform, PluginRequest, Reply
from runtime.output import Output
from runtime.routing import KINDS, LONGEST_PATH, PLACES, VERBS

logger = logging.getLogger("mldb.runtime")

_LONGEST_LINE: Final = 64 * 1024
_MOST_LINES: Final = 200  # that are logged of one reading of a worker's pipe
_LONGEST_SUMMARY: Final = 500
_MOST_ROUTES: Final = 200  # of one plugin that the API reference shows

# What tells which request, and which trace, something belongs to.
_PASSED_ON: Final = ("x-request-id", "traceparent", "tracestate")

# Watching for a client that hangs up costs more than a short request does.
_SLOW_SECONDS: Final = 0.5


# The generations whose requests wait for what is done here.
_waiting: ContextVar[frozenset[Generation]] = ContextVar("waiting generations", default=frozenset())


class RequestFailed(Exception):
    """Raised to the caller of a request that the worker did not answer; ``code`` is the HTTP status."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class ClientGone(RequestFailed):
    """Nobody waits for the answer any more."""

    def __init__(self) -> None:
        super().__init__(503, "the client has gone")


@dataclass(slots=True)
class Answer:
    """What a run of plugin code left: the outcome (see ``protocol``), code and JSON of a return, the output.

    With ``file`` the body is its content. ``begun`` and ``ended``: when the code ran, seconds of the epoch.
    """

    kind: int
    code: int
    body: bytes
    logs: list[list[Any]]
    exception: dict[str, Any] | None
    file: File | None = None
    begun: float = 0.0
    ended: float = 0.0

    def output(self) -> Output:
        return Output(self.body, self.logs, self.exception)


# Told once when a request takes long, with a function that gives it up (its client is gone).
OnSlow = Callable[[Callable[[], None]], None]


@dataclass(slots=True)
class _Pending:
    """A request in flight. Its clock runs only while no call to the host is open."""

    answer: asyncio.Future[Answer]
    limit: float
    resumed: float
    spent: float = 0.0
    calls: int = 0
    began: float = 0.0
    on_slow: OnSlow | None = None
    headers: dict[str, str] = field(default_factory=dict)  # of the request: what is asked meanwhile belongs to it
    waiting: frozenset[Generation] = field(default_factory=_waiting.get)

    def own_seconds(self, now: float) -> float:
        return self.spent + (now - self.resumed if self.calls == 0 else 0.0)

    def pause(self) -> None:
        now = time.monotonic()
        if self.calls == 0:
            self.spent += now - self.resumed
        self.calls += 1

    def resume(self) -> None:
        self.calls -= 1
        self.resumed = time.monotonic()


@dataclass(frozen=True)
class Hooks:
    """What a generation needs of its surroundings. ``ended`` is told why the worker is gone."""

    perform: Perform
    log: Callable[[LogLine], None]
    ended: Callable[[Generation, str], None]


@dataclass(eq=False)
class Generation:
    """A worker and what it is doing. All methods belong to the event loop."""

    launch: Launch
    limits: Limits
    hooks: Hooks
    number: int = 1
    folders: Folders = field(init=False)
    worker: WorkerHandle | None = None
    ended: str | None = None
    last_pong: float = 0.0
    third_party: list[str] = field(default_factory=list)
    own_modules: list[str] = field(default_factory=list)  # imported from the plugin's folder
    routes: list[DeclaredRoute] = field(default_factory=list)
    told: bytes = b"null"  # JSON: what the plugin tells of itself

    def __post_init__(self) -> None:
        self.folders = Folders(self.launch.plugin_dir)
        self._pending: dict[int, _Pending] = {}
        self._pings: dict[int, asyncio.Future[float]] = {}
        self._numbers = count(1)
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        self._stopped: tuple[int, str] | None = None
        self._partial = ""  # output whose line has not ended
        self._log_output = RateLimit(lambda *line: self.hooks.log(LogLine(*line)))

    async def start(self, executor: Executor, environment: Environment) -> Answer:
        """Start the worker and run main.py or the script; ``RequestFailed`` when it died or hung meanwhile."""
        self.worker = await executor.start(self, self.limits, environment)
        self.last_pong = time.monotonic()
        return await self._ask(lambda number: [protocol.START, number, self.launch.plain()], self.limits.start_seconds)

    async def request(self, request: PluginRequest, on_slow: OnSlow | None = None) -> Answer:
        """Have routes.py answer; ``RequestFailed`` when it cannot."""
        return await self._ask(
            lambda number: [protocol.REQUEST, number, self in _waiting.get(), *request],
            self.limits.request_seconds,
            on_slow,
            {name: request.headers[name] for name in _PASSED_ON if name in request.headers},
        )

    async def _ask(
        self,
        frame: Callable[[int], list[Any]],
        limit: float,
        on_slow: OnSlow | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        if self.ended is not None or self.worker is None:
            raise RequestFailed(502, f"the plugin's worker {self.ended or 'has not started'}")
        number = next(self._numbers)
        now = time.monotonic()
        pending = _Pending(self._loop.create_future(), limit, now, began=now, on_slow=on_slow, headers=headers or {})
        self._pending[number] = pending
        try:
            await self.worker.deliver(frame(number))
            return await pending.answer
        except ValueError as error:
            self._pending.pop(number, None)
            raise RequestFailed(413, str(error)) from None
        except asyncio.CancelledError:
            self._give_up(number)
            raise

    def _give_up(self, number: int) -> None:
        """Nobody waits any more. The code runs on, under its deadline, until it asks the host for something."""
        pending = self._pending.get(number)
        if pending is not None and self.worker is not None:
            self.worker.send([protocol.CANCEL, number])
            self._fail(pending, ClientGone())

    async def ping(self, patience: float) -> float:
        """Seconds of a round trip to the worker; ``TimeoutError`` when it does not answer."""
        if self.worker is None or self.ended is not None:
            raise TimeoutError("the worker is gone")
        number = next(self._numbers)
        pong: asyncio.Future[float] = self._loop.create_future()
        self._pings[number] = pong
        sent = time.monotonic()
        try:
            self.worker.send([protocol.PING, number])
            return await asyncio.wait_for(pong, patience) - sent
        finally:
            self._pings.pop(number, None)

    @property
    def in_flight(self) -> int:
        return len(self._pending)

    def overdue(self) -> int:
        """Answer 504 to requests beyond their deadline; how many there were. Called all the time."""
        now = time.monotonic()
        for number, pending in list(self._pending.items()):
            if pending.on_slow is not None and now - pending.began > _SLOW_SECONDS:
                on_slow, pending.on_slow = pending.on_slow, None
                on_slow(partial(self._give_up, number))
        late = [number for number, pending in self._pending.items() if pending.own_seconds(now) > pending.limit]
        for number in late:
            pending = self._pending.pop(number)
            self._fail(pending, RequestFailed(504, f"the plugin did not answer within {pending.limit:g} seconds"))
        return len(late)

    def overgrown(self) -> bool:
        """Whether the worker holds more memory than it may (what its own limits did not prevent)."""
        return self.worker is not None and self.ended is None and self.worker.memory() > self.limits.memory

    def stop(self, code: int = 502, reason: str | None = None) -> None:
        """End the worker; requests in flight fail with this code and reason."""
        if self.worker is not None and self.ended is None:
            self._stopped = (code, reason) if reason else None
            self.worker.kill()

    # what the worker sends

    def on_frame(self, frame: list[Any]) -> None:
        kind = frame[0]
        if kind == protocol.ANSWER:
            self._answered(frame)
        elif kind == protocol.CALL:
            self._called(frame)
        elif kind == protocol.LOG:
            self.hooks.log(LogLine(frame[1], frame[2], frame[3], self._request_id(frame[4])))
        elif kind == protocol.DECLARE:
            self._declared(*frame[1:])
        elif kind == protocol.STATUS:
            self.told = frame[1]
        elif kind == protocol.OFFER:
            self._spawn(self._offered(*frame[1:]))
        elif kind == protocol.PONG:
            self._ponged(frame)
        elif frame[1] != protocol.PROTOCOL_VERSION:
            raise protocol.ProtocolError(f"protocol version {frame[1]} is not {protocol.PROTOCOL_VERSION}")

    def _request_id(self, number: int) -> str:
        pending = self._pending.get(number)
        return "" if pending is None else pending.headers.get("x-request-id", "")

    def _declared(self, verb: str, path: str, summary: str, arguments: list[Any]) -> None:
        """Checked here too: what it says goes into a document that others read."""
        route = DeclaredRoute(verb, path, summary[:_LONGEST_SUMMARY], tuple(_argument(each) for each in arguments))
        if verb not in VERBS or not path.startswith("/") or len(path) > LONGEST_PATH:
            raise protocol.ProtocolError("a declared route is out of place")
        if len(self.routes) < _MOST_ROUTES:
            self.routes.append(route)

    def on_output(self, text: str) -> None:
        now = time.time()
        *lines, self._partial = (self._partial + text).split("\n")
        if len(self._partial) > _LONGEST_LINE:
            lines, self._partial = [*lines, self._partial], ""
        for line in lines[:_MOST_LINES]:
            self._log_output("stderr", now, line)
        self._log_output.drop(len(lines) - _MOST_LINES)

    def on_exit(self, reason: str) -> None:
        if self._partial:
            self.on_output("\n")
        code, reason = self._stopped or (502, reason)
        self.ended = reason
        for task in self._tasks:
            task.cancel()
        pending, self._pending = self._pending, {}
        for one in pending.values():
            self._fail(one, RequestFailed(code, f"the plugin's worker {reason} while it served the request"))
        self.hooks.ended(self, reason)

    def _answered(self, frame: list[Any]) -> None:
        file = _file(frame[7])
        if frame[2] in (protocol.RETURNED, protocol.SENT) and frame[3] not in STATUSES:
            raise protocol.ProtocolError(f"{frame[3]} is no HTTP status")
        pending = self._pending.pop(frame[1], None)
        if pending is None or pending.answer.done():
            return
        pending.answer.set_result(Answer(frame[2], frame[3], frame[4], frame[5], frame[6], file, frame[8], frame[9]))

    @staticmethod
    def _fail(pending: _Pending, error: RequestFailed) -> None:
        if not pending.answer.done():
            pending.answer.set_exception(error)

    def _ponged(self, frame: list[Any]) -> None:
        self.last_pong = time.monotonic()
        self.third_party, self.own_modules = ([name for name in names if isinstance(name, str)] for names in frame[2:])
        pong = self._pings.pop(frame[1], None)
        if pong is not None and not pong.done():
            pong.set_result(self.last_pong)

    def _called(self, frame: list[Any]) -> None:
        _, number, request, verb, path, params, body, headers = frame
        pending = self._pending.get(request)
        sent = dict(protocol.text_pairs(headers))
        call = Call(verb, path, protocol.text_pairs(params), body, {**(pending.headers if pending else {}), **sent})
        if pending is not None:
            pending.pause()
        self._spawn(self._perform(number, call, pending))

    async def _perform(self, number: int, call: Call, pending: _Pending | None) -> None:
        _waiting.set(pending.waiting | {self} if pending is not None else frozenset())
        try:
            reply = await self.hooks.perform(call)
        except Exception:
            # The boundary to the host: its defects are its own, the plugin gets an answer all the same.
            logger.exception("%s %s failed", call.verb, call.path)
            reply = Reply(500, b'{"error":"internal error","httpCode":500}', "application/json")
        finally:
            if pending is not None:
                pending.resume()
        await self._reply(number, reply)

    async def _reply(self, number: int, reply: Reply) -> None:
        if self.worker is None or self.ended is not None:
            return
        frame = [protocol.RETURN, number, reply.status, reply.body, reply.content_type, reply.headers]
        try:
            await self.worker.deliver(frame)
        except ValueError as error:
            await self._reply(number, error_reply(413, str(error)))

    async def _offered(self, number: int, kind: str, route: str, folder: str) -> None:
        try:
            await asyncio.to_thread(self.folders.register, kind, route, folder)
        except FolderError as error:
            await self._reply(number, error_reply(400, str(error)))
        else:
            await self._reply(number, Reply(200))

    def _spawn(self, work: Any) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _file(sent: list[Any] | None) -> File | None:
    """Checked here too: a worker must not be able to write headers."""
    if sent is None:
        return None
    ((content_type, name),) = protocol.text_pairs([sent])
    try:
        return File(content_type, name)
    except ValueError as error:
        raise protocol.ProtocolError(str(error)) from None


def _argument(sent: Any) -> tuple[str, str, str, bool]:
    if (
        not (isinstance(sent, list) and list(map(type, sent)) == [str, str, str, bool])
        or sent[1] not in PLACES
        or sent[2] not in KINDS
    ):
        raise protocol.ProtocolError("an argument of a declared route is [name, place, type, required]")
    return sent[0], sent[1], sent[2], sent[3]


def error_reply(code: int, text: str) -> Reply:
    """The canonical error body."""
    return Reply(code, to_bytes(encode({"error": text, "httpCode": code})), "application/json")
