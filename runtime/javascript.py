"""JavaScript plugins and scripts (entity-types.md §5): QuickJS in the worker, with MLDB's JavaScript API.

``prelude.js`` is that API; what it cannot do by itself it asks of ``_Host``, one call at a time, in JSON. QuickJS
belongs to the thread that made it: all code of a worker runs there, request after request, as it did in MLDB.
"""

from __future__ import annotations

import contextvars
import io
import json
import re
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import count
from pathlib import Path
from typing import IO, Any, Final

from runtime import capture, execution, protocol, shim
from runtime.connection import RequestCancelled
from runtime.jsontext import encode, to_bytes

_PRELUDE: Final = Path(__file__).with_name("prelude.js")
_PRELUDE_LINE: Final = 1_000_000  # QuickJS calls all code by one name: this far down it is the prelude's
_EVALUATED: Final = "<input>"  # how QuickJS names code that it was given as text
_FRAME: Final = re.compile(r"^\s*at (?:(?P<name>.*?) \()?(?P<uri>.*?):(?P<line>\d+)(?::(?P<column>\d+))?\)?$")
_CONTEXT: Final = "Running javascript script"


class Interpreter:
    """The JavaScript of one worker. Its methods may be called from any thread."""

    def __init__(self, raw: shim.Mldb, uri: str, args: Any, sink: capture.Sink) -> None:
        """``uri``: how the code is called where it fails; ``args``: any JSON."""
        self._uri = uri
        self._sink = sink
        self._text = ""
        self._host = _Host(raw)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="javascript")
        self._thread.submit(self._prepare, args).result()

    def _prepare(self, args: Any) -> None:
        import quickjs

        self._context = context = quickjs.Context()
        context.add_callable("host", self._host.answer)
        begin = context.eval("(make) => { const given = host; delete globalThis.host; return make(given); }")
        self._call = begin(context.eval("\n" * _PRELUDE_LINE + _PRELUDE.read_text(encoding="utf-8")))
        self._call("args", json.dumps(args))

    def main(self, source: execution.Source, request: shim.Request) -> execution.Outcome:
        """Run main.js or a script; its return is the value of the last expression."""

        def work() -> execution.Outcome:
            self._text = source.text()
            return self._run("main", self._text)

        return self._captured(work, request)

    def answer(self, request: shim.Request) -> execution.Outcome:
        """Have the request handler answer; unrouted without one."""
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
        return self._captured(lambda: self._run("request", given, request), request)

    def status(self) -> bytes | None:
        """JSON of what the status handler tells; None without one, or when it fails."""
        if not self._host.has_status:
            return None
        outcome = self._captured(lambda: self._run("status", None), shim.Request())
        return outcome.body if outcome.kind == protocol.RETURNED else None

    def _captured(self, work: Callable[[], execution.Outcome], request: shim.Request) -> execution.Outcome:
        attempt = partial(execution.attempt, work, request, self._sink)
        return execution.captured(lambda: self._in_thread(attempt), request, self._sink)

    def _in_thread(self, work: Callable[[], execution.Outcome]) -> execution.Outcome:
        return self._thread.submit(contextvars.copy_context().run, work).result()

    def _run(self, what: str, given: Any, request: shim.Request | None = None) -> execution.Outcome:
        import quickjs

        try:
            text = self._call(what, json.dumps(given))
            while self._context.execute_pending_job():  # what promises and forgotten streams have left to do
                continue
        except quickjs.JSException as error:  # no memory, or no stack, is left even to tell of it
            return self._raised(
                {"type": "InternalError", "message": str(error).partition("\n")[0], "stack": ""}, request
            )
        self._host.check()
        outcome = json.loads(text)
        if outcome is None:
            return execution.Outcome(protocol.UNROUTED)
        if "raised" in outcome:
            return self._raised(outcome["raised"], request)
        return execution.Outcome(protocol.RETURNED, body=to_bytes(encode(outcome["value"])))

    def _raised(self, raised: dict[str, Any], request: shim.Request | None) -> execution.Outcome:
        described: dict[str, Any] = {"message": raised["message"], "type": raised["type"], "context": [_CONTEXT]}
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


class _Host:
    """What the prelude can ask for. Nothing is raised through QuickJS, which would lose it."""

    def __init__(self, raw: shim.Mldb) -> None:
        self._raw = raw
        self._streams: dict[int, _Stream] = {}
        self._numbers = count(1)
        self._cancelled: RequestCancelled | None = None
        self.has_status = False

    def answer(self, name: str, given: str) -> str:
        try:
            value = getattr(self, f"_do_{name}")(*json.loads(given))
        except RequestCancelled as error:
            self._cancelled = error
            return json.dumps([False, "the request was cancelled"])
        except Exception as error:
            # The boundary to JavaScript: there it is an Error with this text.
            return json.dumps([False, str(error)])
        return json.dumps([True, value])

    def check(self) -> None:
        """Let the request end here when it was cancelled meanwhile, whatever the code made of that."""
        if self._cancelled is not None:
            error, self._cancelled = self._cancelled, None
            raise error

    def _do_log(self, stream: str, text: str) -> None:
        recorder = capture.current.get(None)
        if recorder is not None:
            recorder.add(stream, text)

    def _do_perform(self, verb: str, resource: str, params: Any, payload: str, headers: Any) -> dict[str, Any]:
        result = self._raw.send(verb, resource, params, payload.encode("utf-8", "replace"), headers)
        result["responseCode"] = result.pop("statusCode")
        return result

    def _do_static(self, route: str, folder: str) -> None:
        self._plugin().serve_static_folder(route.strip("/"), folder)

    def _do_documentation(self, folder: str) -> None:
        self._plugin().serve_documentation_folder(folder)

    def _do_folder(self) -> str:
        return self._plugin().get_plugin_dir()

    def _plugin(self) -> shim.Plugin:
        if self._raw.plugin is None:
            raise RuntimeError("only a plugin can, a script has no folders")
        return self._raw.plugin

    def _do_status(self) -> None:
        self.has_status = True

    def _do_ls(self, uri: str) -> dict[str, Any]:
        return self._raw.ls(uri)

    def _do_address(self) -> str:
        return self._raw.get_http_bound_address()

    def _do_executable(self) -> str:
        return sys.executable

    def _do_optimize(self, level: str) -> None:
        self._raw.debugSetPathOptimizationLevel(level.lower())

    def _do_open(self, uri: str) -> int:
        number = next(self._numbers)
        self._streams[number] = _Stream(self._raw.open_bytes(uri))
        return number

    def _do_close(self, number: int) -> None:
        self._streams.pop(number).close()

    def _do_readLine(self, number: int) -> str:  # noqa: N802 - the method's name in JavaScript
        return self._streams[number].line()

    def _do_readJson(self, number: int) -> Any:  # noqa: N802
        return self._streams[number].json()

    def _do_read(self, number: int, size: int) -> list[int]:
        return list(self._streams[number].read(size))

    def _do_eof(self, number: int) -> bool:
        return self._streams[number].at_end()


class _Stream:
    """A file or page that is read piece by piece."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source = io.BufferedReader(source) if isinstance(source, io.RawIOBase) else source
        self._ahead = b""

    def close(self) -> None:
        self._source.close()

    def read(self, size: int) -> bytes:
        """So many bytes, fewer at the end; all with -1."""
        taken, self._ahead = (self._ahead, b"") if size < 0 else (self._ahead[:size], self._ahead[size:])
        return taken + self._source.read(-1 if size < 0 else size - len(taken))

    def line(self) -> str:
        taken = self._ahead + (b"" if b"\n" in self._ahead else self._source.readline())
        line, newline, self._ahead = taken.partition(b"\n")
        if not line and not newline:
            raise EOFError("End of file")
        return line.rstrip(b"\r").decode("utf-8", "replace")

    def json(self) -> Any:
        """The next JSON value; what follows it stays to be read."""
        text = self.read(-1).decode("utf-8", "replace").lstrip()
        value, end = json.JSONDecoder().raw_decode(text)
        self._ahead = text[end:].encode("utf-8")
        return value

    def at_end(self) -> bool:
        self._ahead = self._ahead or self._source.read(1)
        return not self._ahead
