"""Plain data that the host's side of the runtime takes and gives."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

Pairs = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Call:
    """What plugin code asks of the host: ``headers`` have lower-case names, ``body`` is JSON text with a newline."""

    verb: str
    path: str
    params: Pairs
    body: bytes
    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class Reply:
    """The host's answer to a ``Call``."""

    status: int
    body: bytes = b""
    content_type: str = ""
    headers: Pairs = field(default_factory=list)


Perform = Callable[[Call], Awaitable[Reply]]


@dataclass(frozen=True, slots=True)
class Code:
    """A piece of plugin code: a file that is read when it runs, or its text. ``uri`` is shown in tracebacks."""

    uri: str
    path: str | None = None
    source: str | None = None

    def plain(self) -> dict[str, Any]:
        return {"uri": self.uri, "path": self.path, "source": self.source}


@dataclass(frozen=True, slots=True)
class Launch:
    """What a worker is to run.

    ``folder`` goes to ``sys.path[0]``, ``plugin_dir`` is what ``get_plugin_dir()`` says; ``args`` is JSON text
    (None when absent); ``address`` is the host's own HTTP address; ``data_root`` is the folder that
    ``file:///mldb_data/`` names; ``packages`` are search paths of the plugin's own packages; ``modules`` are what
    the generation before had imported of the folder: this one cannot do without either. ``language`` is python
    or javascript.
    """

    kind: Literal["plugin", "script"]
    id: str
    main: Code | None = None
    routes: Code | None = None
    folder: str | None = None
    plugin_dir: str | None = None
    args: bytes | None = None
    address: str = ""
    data_root: str = ""
    packages: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    language: str = "python"

    def plain(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "id": self.id,
            "main": self.main and self.main.plain(),
            "routes": self.routes and self.routes.plain(),
            "folder": self.folder,
            "plugin_dir": self.plugin_dir,
            "args": self.args,
            "address": self.address,
            "data_root": self.data_root,
            "modules": list(self.modules),
            "language": self.language,
        }


class PluginRequest(NamedTuple):
    """A request for routes.py: the end of its frame, in this order. ``remaining`` is the path after ``/routes``, as
    sent."""

    verb: str
    path: str
    remaining: str
    params: Pairs
    body: bytes
    headers: dict[str, str]
    content_type: str = ""
    content_length: int = -1


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line for the server log. ``stream`` is log, stdout or stderr; ``text`` None is ``mldb.log()``.

    ``request`` is the id of the request that the code worked for, "" outside of one.
    """

    stream: str
    seconds: float
    text: str | None
    request: str = ""


@dataclass(frozen=True, slots=True)
class DeclaredRoute:
    """A route that main.py declared. ``arguments``: name, place (path, query, body), JSON type or "", required."""

    verb: str
    path: str
    summary: str
    arguments: tuple[tuple[str, str, str, bool], ...]


@dataclass(frozen=True, slots=True)
class Limits:
    """What a worker may use. ``request_seconds`` and ``start_seconds`` count the time in the plugin's own code.

    ``restart_seconds``: how long a request that finds no worker waits for the next one.
    """

    memory: int = 2048 * 2**20
    open_files: int = 1024
    request_seconds: float = 60.0
    start_seconds: float = 300.0
    restart_seconds: float = 2.0
