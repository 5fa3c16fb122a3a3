"""Calls of a running server, with nothing but the standard library."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode, urlsplit
from urllib.request import Request, urlopen

from server.settings import Settings

_CHUNK = 1 << 20


def segment(id: str) -> str:
    """An id as one segment of a path."""
    return quote(id, safe="")


class ServerError(Exception):
    """Raised when the server answers with an error: its text; ``body`` is what it answered, as far as it was JSON."""

    def __init__(self, text: str, body: Mapping[str, Any] | None = None) -> None:
        super().__init__(text)
        self.body: Mapping[str, Any] = body or {"error": text}

    @property
    def details(self) -> Mapping[str, Any]:
        found = self.body.get("details")
        return found if isinstance(found, dict) else {}


_Flags = argparse.ArgumentParser | argparse._MutuallyExclusiveGroup


class Unreachable(ServerError):
    """Raised when nobody answers at the server's address."""


def add_server_flags(parser: argparse.ArgumentParser) -> None:
    server = os.environ.get("MLDB_SERVER", "http://127.0.0.1:8080")
    parser.add_argument("--server", default=server, metavar="URL", help=f"the server to call (default: {server})")
    _add_token(parser)


def add_data_dir(parser: _Flags, help: str, action: str | type[argparse.Action] = "store") -> None:
    """The data root of a server on this machine, which the variable that the server knows may name."""
    default = os.environ.get("MLDB_DATA_DIR") or Settings.data_dir
    parser.add_argument("--data-dir", type=Path, default=Path(default), help=help, action=action)


class _Here(argparse.Action):
    """A data root that is given: no server that a variable names."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        namespace.data_dir, namespace.server = values, ""


def add_place_flags(parser: argparse.ArgumentParser) -> None:
    """Flags of commands that work on the data root of this machine, or of a server when one is named.

    A flag goes before the variables; of these ``MLDB_SERVER`` goes first.
    """
    place = parser.add_mutually_exclusive_group()
    add_data_dir(place, "data root of the server (default: MLDB_DATA_DIR, or mldb_data)", action=_Here)
    place.add_argument(
        "--server",
        default=os.environ.get("MLDB_SERVER", ""),
        metavar="URL",
        help="a server to send it to, in place of a data root on this machine (default: MLDB_SERVER)",
    )
    _add_token(parser)


def _add_token(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--token", default=os.environ.get("MLDB_TOKEN", ""), help="its token, if it wants one")


class Server:
    """The server that the flags name.

    ``timeout``: seconds that it may be silent; a query takes as long as it takes, and who waits can end it.
    """

    def __init__(self, options: argparse.Namespace, timeout: float | None = None) -> None:
        if urlsplit(options.server).scheme not in ("http", "https"):
            raise ServerError(f"{options.server} is not an http address")
        self._url = options.server.rstrip("/")
        self._token = options.token
        self._timeout = timeout

    def text(
        self,
        verb: str,
        path: str,
        body: Any = None,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> str:
        """The body of the answer. A GET may carry a JSON body too."""
        with self._open(verb, path, body, params, headers) as answer:
            text: str = answer.read().decode()
        return text

    @contextmanager
    def _open(
        self,
        verb: str,
        path: str,
        body: Any,
        params: Mapping[str, str] | None,
        headers: Mapping[str, str] | None = None,
    ) -> Iterator[Any]:
        query = f"?{urlencode(params)}" if params else ""
        content = None if body is None else json.dumps(body).encode()
        with self._send(verb, f"{path}{query}", content, dict(headers or {})) as answer:
            yield answer

    @contextmanager
    def _send(self, verb: str, path: str, content: Any, headers: dict[str, str]) -> Iterator[Any]:
        if self._token:
            headers = {**headers, "Authorization": f"Bearer {self._token}"}
        request = Request(f"{self._url}{path}", content, headers, method=verb)  # noqa: S310 - http, see above
        try:
            with urlopen(request, timeout=self._timeout) as answer:  # noqa: S310
                yield answer
        except HTTPError as error:
            raise _server_error(error) from None
        except (URLError, TimeoutError, ConnectionError) as error:
            reason = getattr(error, "reason", error)
            raise Unreachable(f"{self._url} does not answer: {reason}. Is it running? (mldb serve, --server)") from None

    def upload(self, path: str, file: Path) -> Any:
        """PUT a file as it is; the JSON of the answer."""
        with (
            file.open("rb") as content,
            self._send("PUT", path, content, {"Content-Length": str(file.stat().st_size)}) as answer,
        ):
            return json.load(answer)

    def download(
        self,
        path: str,
        target: IO[bytes],
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> int:
        """Write the body of a GET into a file as it comes; its size in bytes."""
        size = 0
        with self._open("GET", path, None, params, headers) as answer:
            while chunk := answer.read(_CHUNK):
                size += target.write(chunk)
        return size

    def lines(self, path: str) -> Iterator[str]:
        """The lines of an answer that does not end, as they come."""
        with self._open("GET", path, None, {}) as answer:
            for line in answer:
                yield line.decode("utf-8", "replace").rstrip("\n")

    def json(self, verb: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Any:
        return json.loads(self.text(verb, path, body, headers=headers))


def _server_error(error: HTTPError) -> ServerError:
    text = error.read().decode("utf-8", "replace")
    try:
        body = json.loads(text)
    except ValueError:
        return ServerError(f"{error.code}: {text}")
    return ServerError(str(body.get("error", text)), body) if isinstance(body, dict) else ServerError(text)
