"""JavaScript plugins and scripts (entity-types.md §5): QuickJS in the worker, with MLDB's JavaScript API.

``prelude.js`` is that API; what it cannot do by itself it asks of ``PreludeCalls``. QuickJS
belongs to the thread that made it: all code of a worker runs there, request after request. A handler that waits for
the server makes way for those requests alone that the server makes of its plugin meanwhile, on its behalf.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

from runtime import capture, execution, protocol, shim
from runtime.javascript_calls import PreludeCalls
from runtime.jsontext import encode, to_bytes
from runtime.single_thread import SingleThread
from runtime.sources import Source

_PRELUDE: Final = Path(__file__).with_name("prelude.js")
_PRELUDE_LINE: Final = 1_000_000  # QuickJS calls all code by one name: this far down it is the prelude's
_EVALUATED: Final = "<input>"  # how QuickJS names code that it was given as text
_FRAME: Final = re.compile(r"^\s*at (?:(?P<name>.*?) \()?(?P<uri>.*?):(?P<line>\d+)(?::(?P<column>\d+))?\)?$")
_BEGUN: Final = "at <eval> ("
_PROMISE: Final = '{"promise":'
_COMPILING: Final = "Compiling plugin script"
_DOING: Final = {
    "script": "Running script",
    "main": "Running plugin script",
    "request": "JS Plugin request callback",
    "status": "JS Plugin Status callback",
}
_DEEPEST: Final = 32  # requests of a plugin that wait for each other: they share a stack


class Interpreter:
    """The JavaScript of one worker. Its methods may be called from any thread."""

    def __init__(self, raw: shim.Mldb, uri: str, args: Any, sink: capture.Sink) -> None:
        """``uri``: how the code is called where it fails; ``args``: any JSON."""
        self._uri = uri
        self._sink = sink
        self._text = ""
        self._kind = "script" if raw.script is not None else "main"
        self._thread = SingleThread("javascript")
        self._calls = PreludeCalls(raw, self._thread)
        self._thread.run(partial(self._prepare, args))

    def _prepare(self, args: Any) -> None:
        import quickjs

        self._context = context = quickjs.Context()
        context.add_callable("host", self._calls.answer)
        context.add_callable("collect", context.gc)
        begin = context.eval(
            "(make) => { const given = [host, collect]; delete globalThis.host; delete globalThis.collect;"
            " return make(...given); }"
        )
        self._call = begin(context.eval("\n" * _PRELUDE_LINE + _PRELUDE.read_text(encoding="utf-8")))
        self._call("args", json.dumps(args, sort_keys=True))

    def main(self, source: Source, request: shim.Request) -> execution.Outcome:
        """Run main.js or a script; its return is the value of the last expression."""

        def work() -> execution.Outcome:
            self._text = source.text()
            return self._run(self._kind, self._text)

        return self._captured(work, request)

    def answer(self, request: shim.Request, *, inner: bool) -> execution.Outcome:
        """Have the request handler answer; unrouted without one. ``inner``: another one waits for it."""
        given = [
            request.remaining,
            request.verb,
            request.resource,
            request.rest_params,
            request.payload,
            request.content_type,
            request.content_length,
            request.headers,
        ]

        def work() -> execution.Outcome:
            if self._thread.depth > _DEEPEST:
                raise RecursionError(f"the plugin's request handler asks for its own routes more than {_DEEPEST} deep")
            return self._run("request", given, request)

        return self._captured(work, request, inner=inner)

    def status(self, *, inner: bool) -> bytes | None:
        """JSON of what the status handler tells; None without one, or when it fails."""
        if not self._calls.has_status:
            return None
        outcome = self._captured(lambda: self._run("status", None), shim.Request(), inner=inner)
        return outcome.body if outcome.kind == protocol.RETURNED else None

    def _captured(
        self, work: Callable[[], execution.Outcome], request: shim.Request, *, inner: bool = False
    ) -> execution.Outcome:
        attempt = partial(execution.attempt, work, request, self._sink)
        return execution.captured(lambda: self._thread.run(attempt, inner=inner), request, self._sink)

    def _run(self, what: str, given: Any, request: shim.Request | None = None) -> execution.Outcome:
        import quickjs

        try:
            text = self._call(what, json.dumps(given))
            promised = text.startswith(_PROMISE)
            # What promises have left to do. Within another request it has to wait, unless the answer waits for it.
            while (promised or self._thread.depth == 1) and self._context.execute_pending_job():
                continue
            if promised:
                text = self._call("settled", text)
        except quickjs.JSException as error:  # no memory, or no stack, is left even to tell of it
            told = {"type": "InternalError", "message": str(error).partition("\n")[0], "stack": ""}
            text = json.dumps({"raised": told})
        self._calls.check()
        outcome = json.loads(text, parse_int=_number)
        if outcome is None:
            return execution.Outcome(protocol.UNROUTED)
        if "raised" in outcome:
            return self._raised(what, outcome["raised"], request)
        return execution.Outcome(protocol.RETURNED, body=to_bytes(encode(outcome["value"])))

    def _doing(self, what: str, raised: dict[str, Any]) -> str:
        """What went wrong, in MLDB's words. Code that did not even begin to run has no place in the stack."""
        if what in ("script", "main") and raised["type"] == "SyntaxError" and _BEGUN not in (raised["stack"] or ""):
            return _COMPILING
        return _DOING[what]

    def _raised(self, what: str, raised: dict[str, Any], request: shim.Request | None) -> execution.Outcome:
        described: dict[str, Any] = {"message": raised["message"], "type": raised["type"]}
        described["context"] = [self._doing(what, raised)]
        stack = [frame for line in (raised["stack"] or "").splitlines() if (frame := self._frame(line))]
        if stack:
            innermost = stack[0]
            described["stack"] = stack
            described.update({name: innermost[name] for name in ("where", "scriptUri", "lineNumber")})
            described["columnStart"] = innermost["columnStart"]
            source = self._text.splitlines()
            if 0 < innermost["lineNumber"] <= len(source):
                described["lineContents"] = source[innermost["lineNumber"] - 1]
        if raised.get("extra") not in (None, {}):
            described["extra"] = raised["extra"]
        of = f"{request.verb} {request.resource}: " if request is not None else ""
        places = "".join(f"\n  {frame['where']}" for frame in stack)
        self._sink("error", time.time(), f"{of}{raised['message']}{places}")
        return execution.Outcome(protocol.RAISED, exception=described)

    def _frame(self, line: str) -> dict[str, Any] | None:
        """A line of QuickJS' stack, if it is about the plugin's own code."""
        found = _FRAME.match(line)
        if found is None or found["uri"] != _EVALUATED or int(found["line"]) > _PRELUDE_LINE:
            return None
        name = found["name"] if found["name"] not in (None, "<eval>") else ""
        number, column = int(found["line"]), int(found["column"] or 0)
        place = f"file '{self._uri}', line {number}, column {column}"
        return {
            "functionName": name,
            "lineNumber": number,
            "columnStart": column,
            "scriptUri": self._uri,
            "where": f"{place}, in {name}" if name else place,
        }


def _number(text: str) -> int | float:
    """JavaScript writes numbers up to 1e21 without an exponent; those beyond 64 bits stay the floats that they are."""
    value = int(text)
    return value if -(2**63) <= value < 2**64 else float(value)
