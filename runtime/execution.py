"""Running plugin code: one namespace per run, the outcome as data."""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from runtime import capture, files, protocol, shim
from runtime.connection import RequestCancelled
from runtime.failures import describe, report
from runtime.jsontext import to_bytes
from runtime.refusals import HTTPException
from runtime.routing import Route
from runtime.sources import Source

FAILED = (protocol.RAISED, protocol.EXHAUSTED)


@dataclass(slots=True)
class Outcome:
    """What a run left; ``body`` is JSON text, or the content of the file."""

    kind: int
    code: int = 200
    body: bytes = b""
    logs: list[list[Any]] = field(default_factory=list)
    exception: dict[str, Any] | None = None
    file: files.File | None = None
    begun: float = 0.0  # when the code ran, seconds of the epoch
    ended: float = 0.0

    def frame(self, request: int) -> list[Any]:
        file = None if self.file is None else [self.file.content_type, self.file.name]
        answer = [self.kind, self.code, self.body, self.logs, self.exception, file, self.begun, self.ended]
        return [protocol.ANSWER, request, *answer]


class MainModule:
    """The ``__main__`` of a worker: main.py's or the script's globals."""

    def __init__(self, injected: dict[str, Any]) -> None:
        self._injected = injected
        self.module = ModuleType("__main__")
        self.imports_mldb = False

    def install(self, uri: str) -> None:
        sys.modules["__main__"] = self.module
        self.module.__dict__.update(self._injected, __file__=uri)

    def namespace(self, uri: str, request: shim.Request) -> dict[str, Any]:
        """A fresh namespace for routes.py: main.py's globals, the injected names anew."""
        names = dict(self.module.__dict__)
        if not self.imports_mldb:
            names.update(self._injected)
        names["request"] = request
        names["__file__"] = uri
        return names


def run(
    source: Source, namespace: dict[str, Any] | None, main: MainModule, request: shim.Request, sink: capture.Sink
) -> Outcome:
    """Execute code with its prints captured. ``namespace`` None: in ``__main__`` itself (main.py, scripts)."""
    return captured(lambda: _execute(source, namespace, main, request, sink), request, sink)


def run_declared(route: Route, named: dict[str, str], request: shim.Request, sink: capture.Sink) -> Outcome:
    """Have the function of a declared route answer, with its prints captured."""
    return captured(lambda: attempt(lambda: _call(route, named, request), request, sink), request, sink)


def imported(names: Sequence[str], sink: capture.Sink) -> Outcome | None:
    """Import modules, with their prints captured; the outcome of the first that fails.

    Those that are gone are left out: who used them has been edited too.
    """

    def work() -> Outcome:
        for name in names:
            try:
                importlib.import_module(name)
            except ModuleNotFoundError as error:
                if error.name is None or not f"{name}.".startswith(f"{error.name}."):
                    raise
        return Outcome(protocol.UNSET)

    request = shim.Request()
    outcome = captured(lambda: attempt(work, request, sink), request, sink)
    return outcome if outcome.kind in FAILED else None


def captured(work: Callable[[], Outcome], request: shim.Request, sink: capture.Sink) -> Outcome:
    """Run with the prints of this context, and what it leaves, going to the outcome."""
    recorder = capture.Recorder(sink)
    recorder_token = capture.current.set(recorder)
    begun = time.time()
    request_token = shim.current.set(request)
    try:
        outcome = work()
    finally:
        shim.current.reset(request_token)
        capture.current.reset(recorder_token)
        recorder.close()
    outcome.logs = recorder.entries
    outcome.begun, outcome.ended = begun, time.time()
    return outcome


def _execute(
    source: Source, namespace: dict[str, Any] | None, main: MainModule, request: shim.Request, sink: capture.Sink
) -> Outcome:
    def work() -> Outcome:
        try:
            compiled = source.compiled()
        except FileNotFoundError:
            if namespace is None:
                raise
            return Outcome(protocol.UNROUTED)  # there is no routes.py, or not yet
        names = namespace
        if names is None:
            names = main.module.__dict__
            names["request"] = request
            main.imports_mldb = compiled.imports_mldb
        try:
            exec(compiled.code, names)  # noqa: S102 - running the plugin's code is the purpose
        except SystemExit as error:
            if error.code not in (None, 0):
                raise
        except HTTPException as error:
            if namespace is None:
                raise
            request.set_return(error.body(), error.status_code)
        return _returned(request, now=compiled.reads_request or compiled.imports_mldb or main.imports_mldb)

    return attempt(work, request, sink)


def _call(route: Route, named: dict[str, str], request: shim.Request) -> Outcome:
    try:
        value = route.call(request, named)
    except HTTPException as error:
        request.set_return(error.body(), error.status_code)
    except SystemExit as error:
        if error.code not in (None, 0):
            raise
    else:
        if request.returned() is None:
            request.set_return(value)
    return _returned(request, now=True)


def attempt(work: Callable[[], Outcome], request: shim.Request, sink: capture.Sink) -> Outcome:
    """Run; what is raised becomes the outcome, and is logged."""
    try:
        return work()
    except MemoryError as error:
        return exhausted(error)
    except RequestCancelled as error:
        return Outcome(protocol.RAISED, exception=describe(error))  # nobody hears it
    except BaseException as error:
        # The boundary between plugin code and us: whatever it raised is its answer, and for the log.
        of = f"{request.verb} {request.resource}: " if request.resource else ""
        sink("error", time.time(), of + report(error))
        return Outcome(protocol.RAISED, exception=describe(error))


def _returned(request: shim.Request, *, now: bool) -> Outcome:
    returned = request.returned()
    if returned is None or (returned.body == "null" and not now):
        return Outcome(protocol.UNSET if now else protocol.UNROUTED)
    if returned.code <= 0:
        return Outcome(protocol.UNSET)
    if isinstance(returned.body, bytes):
        return Outcome(protocol.SENT, returned.code, returned.body, file=returned.file)
    return Outcome(protocol.RETURNED, returned.code, to_bytes(returned.body))


def exhausted(error: MemoryError) -> Outcome:
    """The outcome of code for which the memory did not suffice."""
    return Outcome(protocol.EXHAUSTED, exception=describe(error))


def failed(error: BaseException) -> Outcome:
    """The outcome of code whose answer cannot be sent."""
    return Outcome(protocol.RAISED, exception=describe(error))
