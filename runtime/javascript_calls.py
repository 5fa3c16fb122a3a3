"""What ``prelude.js``, MLDB's JavaScript API, asks of Python: one call at a time, in JSON."""

from __future__ import annotations

import io
import json
import sys
from itertools import count
from typing import IO, Any, Final

import orjson

from runtime import capture, shim
from runtime.connection import RequestCancelled
from runtime.single_thread import SingleThread

_JSON: Final = "application/json"


class PreludeCalls:
    """A call ``name`` is answered by method ``_do_<name>``. Nothing is raised through QuickJS, which would lose it."""

    def __init__(self, raw: shim.Mldb, thread: SingleThread) -> None:
        self._raw = raw
        self._thread = thread
        self._streams: dict[int, _Stream] = {}
        self._numbers = count(1)
        self._cancelled: dict[int, RequestCancelled] = {}  # by how deep the request is
        self.has_status = False

    def answer(self, name: str, given: str) -> str:
        """JSON of ``[true, value]``, or ``[false, text of the error]``; ``given``: JSON of the arguments."""
        try:
            value = getattr(self, f"_do_{name}")(*json.loads(given))
        except RequestCancelled as error:
            self._cancelled[self._thread.depth] = error
            return json.dumps([False, "the request was cancelled"])
        except Exception as error:
            # The boundary to JavaScript: there it is an Error with this text.
            return json.dumps([False, str(error) or type(error).__name__])
        return json.dumps([True, value], sort_keys=True)

    def check(self) -> None:
        """Let the request end here when it was cancelled meanwhile, whatever the code made of that."""
        error = self._cancelled.pop(self._thread.depth, None)
        if error is not None:
            raise error

    def _do_log(self, stream: str, text: str) -> None:
        recorder = capture.current.get(None)
        if recorder is not None:
            recorder.add(stream, text)

    def _do_perform(self, verb: str, resource: str, params: Any, payload: str, headers: Any) -> dict[str, Any]:
        body = payload.encode("utf-8", "replace")
        result = self._thread.ask(lambda: self._raw.send(verb, resource, params, body, headers))
        result["responseCode"] = result.pop("statusCode")
        if result.get("contentType") == _JSON and "response" in result:
            result["json"] = _in_order(result["response"])
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
        self._raw.debugSetPathOptimizationLevel(level)

    def _do_open(self, uri: str) -> int:
        number = next(self._numbers)
        self._streams[number] = _Stream(self._thread.ask(lambda: self._raw.open_bytes(uri)))
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
        """The next ``size`` bytes, fewer at the end; all that are left with -1."""
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


def _in_order(text: str) -> str:
    """JSON with the members of objects sorted by name, as MLDB's JavaScript has them: code compares it as text."""
    try:
        return orjson.dumps(orjson.loads(text), option=orjson.OPT_SORT_KEYS).decode()
    except ValueError:
        return text
