"""The raw ``mldb`` object and what hangs on it (plugin-runtime.md §5).

All that it knows of the host is ``Connection.call``: an in-process request.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import IO, Any, Final, TypeVar
from urllib.parse import quote

from runtime import files, lines, recording
from runtime.connection import Connection
from runtime.jsontext import encode, encode_payload, log_text, to_bytes
from runtime.messages import Reply
from runtime.routing import Routes, summary_of
from runtime.row_queue import RowQueue

Handler = TypeVar("Handler", bound=Callable[..., Any])

# POST of a dataset replaces one of that name unless this header forbids it (rest-api.md §0).
MUST_BE_NEW: Final = {"mldb-must-be-new": "true"}


@dataclass(frozen=True, slots=True)
class Returned:
    """What code left for the caller: JSON text, or the bytes of a file."""

    body: str | bytes
    code: int
    file: files.File | None = None


class Request:
    """What routes.py sees of a request, and where code leaves its return. Scripts and main.py have an empty one."""

    def __init__(
        self,
        verb: str = "POST",
        resource: str = "",
        remaining: str = "",
        rest_params: Iterable[Iterable[str]] = (),
        body: bytes = b"",
        headers: dict[str, str] | None = None,
        content_type: str = "",
        content_length: int = -1,
    ) -> None:
        self.verb = verb
        self.resource = resource
        self.remaining = remaining
        self.rest_params = [tuple(pair) for pair in rest_params]
        self.headers = headers or {}
        self.content_type = self.contentType = content_type
        self.content_length = self.contentLength = content_length
        self._body = body
        self._payload: str | None = None
        self._returned: Returned | None = None

    @property
    def payload(self) -> str:
        """The body as text; bytes that are no UTF-8 show as U+FFFD. ``body`` has them as they came."""
        if self._payload is None:
            self._payload = self._body.decode("utf-8", "replace")
        return self._payload

    @property
    def body(self) -> bytes:
        return self._body

    def set_return(self, return_val: Any, return_code: int = 200) -> None:
        """Answer with the JSON of a value; the last call wins. ``TypeError`` for what has no JSON form."""
        code = _status_code(return_code)
        self._returned = Returned(encode(return_val), code)

    def send_file(
        self, content: bytes, content_type: str = files.BYTES, name: str | None = "", return_code: int = 200
    ) -> None:
        """Answer with bytes instead of JSON; the last call wins. With a name browsers save them under it.

        Only routes.py can; ``TypeError`` for what is no bytes, ``ValueError`` for what is no media type.
        """
        if not self.resource:
            raise RuntimeError("only routes.py can answer with a file")
        if not isinstance(content, bytes | bytearray | memoryview):
            raise TypeError(f"the content of a file is bytes, not {type(content).__name__}")
        code = _status_code(return_code)
        self._returned = Returned(bytes(content), code, files.File(content_type, name or ""))

    def returned(self) -> Returned | None:
        """What the last ``set_return`` or ``send_file`` left."""
        return self._returned


def _status_code(given: int) -> int:
    """0 and less stand for no return at all, as in MLDB."""
    if not isinstance(given, int):
        raise TypeError("the return code is an integer")
    if given > 0 and given not in files.STATUSES:
        raise ValueError(f"the return code is an HTTP status from 200 to 599, not {given}")
    return max(int(given), 0)


current: ContextVar[Request | None] = ContextVar("request object", default=None)


# Types of datasets that take whatever row is recorded.
_TAKING_ANY_ROW: Final = frozenset({"sparse.mutable"})

# More rows than these are worth a call of their own.
_FEW_ROWS: Final = 100


class Dataset:
    """A dataset made with ``create_dataset``."""

    def __init__(self, connection: Connection, id: str, rows: RowQueue | None = None) -> None:
        """``rows``: where single rows wait, for a dataset that takes any."""
        self._connection = connection
        self._rows = rows
        self._path = f"/v1/datasets/{quote(id, safe='')}"
        self.id = id

    def record_row(self, row: Any, columns: Any) -> None:
        name, cells = recording.name(row), recording.cells(columns)
        if not self._put([[name, cells]]):
            self._post("rows", {"rowName": name, "columns": cells})

    def record_rows(self, rows: Any) -> None:
        groups = recording.groups(rows)
        if not 0 < len(groups) <= _FEW_ROWS or not self._put(groups):
            self._post("multirows", groups)

    def _put(self, groups: list[list[Any]]) -> bool:
        """Let rows wait for others, where nothing speaks against it."""
        if self._rows is None or self._connection.is_forked():
            return False
        if not all(recording.is_beyond_doubt(*group) for group in groups):
            return False
        self._connection.heed_cancel()
        self._rows.put(self._path, recording.body(groups)[1:-1])
        return True

    def record_column(self, column: Any, rows: Any) -> None:
        self._post("columns", {"columnName": recording.name(column), "rows": recording.cells(rows)})

    def record_columns(self, columns: Any) -> None:
        self._post("multicolumns", recording.groups(columns))

    def commit(self) -> None:
        self._post("commit", None)

    def _post(self, resource: str, converted: Any) -> None:
        body = recording.body(converted) + b"\n"
        if self._rows is not None:
            self._rows.flush()
            self._rows.raise_refused(self._path)
        raise_for(self._connection.call("POST", f"{self._path}/{resource}", [], body, {}))


def raise_for(reply: Reply) -> Reply:
    """``RuntimeError`` with the REST text for an answer that is an error."""
    if reply.status >= 400:
        raise RuntimeError(error_text(reply))
    return reply


def error_text(reply: Reply) -> str:
    text = reply.body.decode("utf-8", "replace")
    try:
        body = json.loads(text)
    except ValueError:
        return text
    return str(body["error"]) if isinstance(body, dict) and "error" in body else text


class Script:
    """``mldb.script``."""

    def __init__(self, args: Any) -> None:
        self.args = args

    def set_return(self, return_val: Any, return_code: int = 200) -> None:
        set_return(return_val, return_code)


class Plugin:
    """``mldb.plugin``."""

    def __init__(self, connection: Connection, args: Any, folder: str | None, routes: Routes) -> None:
        self._connection = connection
        self._folder = folder
        self._routes = routes
        self.args = args

    def get_plugin_dir(self) -> str:
        return self._folder or ""

    def serve_static_folder(self, route: str, dir: str) -> None:
        """Serve the files of a folder of the plugin under ``…/routes/<route>/``."""
        raise_for(self._connection.offer("static", str(route), str(dir)))

    def serve_documentation_folder(self, dir: str) -> None:
        """Serve the files of a folder of the plugin under ``…/doc/``."""
        raise_for(self._connection.offer("doc", "", str(dir)))

    def route(self, verb: str, path: str, *, summary: str = "") -> Callable[[Handler], Handler]:
        """Declare a route below ``…/routes`` that a function answers, see ``runtime.routing``."""

        def declare(handler: Handler) -> Handler:
            self._routes.declare(verb, path, handler, summary_of(handler, summary))
            return handler

        return declare

    @property
    def rest_params(self) -> Request | None:
        """The request that routes.py is to answer."""
        return current.get()

    def set_return(self, body: Any, code: int = 200) -> None:
        set_return(body, code)


def set_return(value: Any, code: int = 200) -> None:
    """Leave the return of the run under way."""
    request = current.get()
    if request is None:
        raise RuntimeError("set_return was called where there is nothing to answer")
    request.set_return(value, code)


class Mldb:
    """The raw object."""

    def __init__(
        self,
        connection: Connection,
        rows: RowQueue,
        write_log: Callable[[str | None], None],
        *,
        address: str = "",
        data_root: str = "",
        plugin: Plugin | None = None,
        script: Script | None = None,
    ) -> None:
        self._connection = connection
        self._rows = rows
        self._write_log = write_log
        self._address = address
        self._data_root = data_root
        self.plugin = plugin
        self.script = script

    def log(self, *args: Any) -> None:
        """A line of the server log, and of a script's own output."""
        self._write_log(log_text(args))

    def perform(
        self,
        verb: str,
        resource: str,
        params: Any = (),
        payload: Any = None,
        header: Any = (),
    ) -> dict[str, Any]:
        """An in-process request; errors are answers like others."""
        return self.send(verb, resource, params, to_bytes(encode_payload(payload)) + b"\n", header)

    def send(self, verb: str, resource: str, params: Any, body: bytes, header: Any) -> dict[str, Any]:
        """``perform`` with a body that is sent as it is."""
        headers = {name.lower(): value for name, value in _pairs(header, "header")}
        reply = self._connection.call(str(verb), str(resource), _pairs(params, "parameter"), body, headers)
        return _perform_result(reply)

    def read_lines(self, path: str, max_lines: int = -1) -> list[str]:
        return lines.read_lines(path, max_lines, self._data_root)

    def open_bytes(self, uri: str) -> IO[bytes]:
        """As ``lines.open_bytes``. The server's own pages are asked for in process: a plugin that does one thing at a
        time would wait for itself."""
        page = lines.page_of(uri, self._address)
        if page is None:
            return lines.open_bytes(uri, self._data_root)
        path, params = page
        reply = raise_for(self._connection.call("GET", path, params, b"", {}))
        return lines.decompressed(io.BytesIO(reply.body), path)

    def ls(self, uri: str) -> dict[str, Any]:
        return lines.ls(uri, self._data_root)

    def get_http_bound_address(self) -> str:
        return self._address

    def get_python_executable(self) -> str:
        return sys.executable

    def create_dataset(self, config: Mapping[str, Any]) -> Dataset:
        """Create a dataset that must be new; ``RuntimeError`` with the REST text when it cannot be."""
        if not isinstance(config, Mapping):
            raise TypeError("the configuration of a dataset is a dict")
        if not config.get("type"):
            raise RuntimeError("Attempt to create dataset without type being set")
        body = to_bytes(encode_payload(dict(config))) + b"\n"
        reply = raise_for(self._connection.call("POST", "/v1/datasets", [], body, dict(MUST_BE_NEW)))
        made = json.loads(reply.body)
        return Dataset(self._connection, made["id"], self._rows if made["type"] in _TAKING_ANY_ROW else None)

    def create_procedure(self, *_args: Any, **_kwargs: Any) -> None:
        """Accepted for old code; has had no effect since MLDB's later releases."""
        self.log("create_procedure has no effect: declare procedures over REST")

    def create_function(self, *_args: Any, **_kwargs: Any) -> None:
        """Accepted for old code; has never had an effect."""
        self.log("create_function has no effect: declare functions over REST")

    def set_return(self, value: Any, code: int = 200) -> None:
        set_return(value, code)

    def debugSetPathOptimizationLevel(self, level: str) -> None:  # noqa: N802 - MLDB's name
        """Accepted: there are no such paths to choose from."""
        if level.lower() not in ("always", "never", "sometimes"):
            raise RuntimeError(
                f"Couldn't parse path optimization level '{level}': accepted are 'always', 'never' and 'sometimes'"
            )


def _perform_result(reply: Reply) -> dict[str, Any]:
    result: dict[str, Any] = {"statusCode": reply.status}
    if reply.content_type:
        result["contentType"] = reply.content_type
    if reply.headers:
        result["headers"] = [list(pair) for pair in reply.headers]
    if reply.body:
        result["response"] = reply.body.decode("utf-8", "replace")
    return result


def _pairs(given: Any, noun: str) -> list[tuple[str, str]]:
    items = given.items() if isinstance(given, Mapping) else given or ()
    pairs = []
    for item in items:
        if not isinstance(item, list | tuple) or len(item) != 2:
            raise TypeError(f"a {noun} is [name, value], not {item!r}")
        pairs.append((str(item[0]), _pair_text(item[1])))
    return pairs


def _pair_text(value: Any) -> str:
    return value if isinstance(value, str) else encode_payload(value)
