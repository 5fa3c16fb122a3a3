"""Routes as they are declared: verb, path template, parameters, summary; and the calls of their handlers.

Templates: ``/v1/datasets/{dataset}/rows``; a final ``{*}`` takes the rest of the path (``request.remaining``, with its
slash). The check for unknown parameters, ``OPTIONS`` and ``/v1/help`` come from the declaration.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from server.entities import jsontext
from server.entities.parameters import Param
from server.errors import MldbError
from server.messages import Request

DRAFT: Final = ".upload-"  # beginning of the names of files that are still on their way


@dataclass(slots=True)
class Call:
    """One request on its way into a handler: decoded path segments by name, parsed parameters by name. ``begun`` is
    when, for limits of time."""

    request: Request
    segments: Mapping[str, str]
    arguments: dict[str, Any]
    begun: float = field(default_factory=time.monotonic)

    def __getitem__(self, name: str) -> Any:
        found = self.segments.get(name)
        return self.arguments[name] if found is None else found

    def json(self) -> Any:
        """The body as JSON; no body reads as null."""
        return jsontext.parse(self.request.body) if self.request.body.strip() else None


Handler = Callable[[Call], Any]


@dataclass(frozen=True, slots=True)
class Spool:
    """Where bodies of a route over HTTP go that are too large for memory: a file below ``folder``, ``limit`` bytes at
    most, by the setting of that name. ``check`` refuses the segments of a path before the body is read."""

    folder: Path
    limit: int
    setting: str
    check: Callable[[Mapping[str, str]], None]


@dataclass(frozen=True, slots=True)
class Reply:
    """A good answer of a route: status, JSON schema of the body (None: it is no JSON), media type ("": no body)."""

    status: int
    schema: Mapping[str, Any] | None
    media: str = "application/json"


@dataclass(frozen=True, slots=True)
class Route:
    """``inline`` handlers run on the event loop (they must be quick); coroutine functions are awaited there; all
    others run in a worker thread. ``lenient`` routes take any query parameter."""

    verb: str
    template: str
    handler: Handler
    params: tuple[Param, ...]
    summary: str
    result: str
    replies: tuple[Reply, ...]
    inline: bool
    awaited: bool
    lenient: bool
    spool: Spool | None

    def help(self) -> dict[str, Any]:
        shown: dict[str, Any] = {}
        if self.params:
            shown["arguments"] = [
                {"name": p.name, "description": p.help, "location": p.where, "default": p.default} for p in self.params
            ]
        if self.result:
            shown["result"] = self.result
        return shown

    def description(self) -> dict[str, Any]:
        """An entry of ``/v1/help``."""
        return {
            "description": self.summary,
            "arguments": self.help().get("arguments", []),
            "path": self.template,
            "verbs": [self.verb],
            "filters": [],
        }


def help_tree(routes: Iterable[Route]) -> dict[str, Any]:
    return {f"{route.template} {route.verb}": route.description() for route in routes}


def read_arguments(route: Route, request: Request) -> dict[str, Any]:
    """The values of the declared parameters; refuses unknown ones, and query string and body together (§3)."""
    if request.params and not route.lenient:
        _refuse_unknown(route, request)
    declared = [param for param in route.params if param.where != "body"]
    if not declared:
        return {}
    members = _hybrid_members(route, request)
    given = dict(reversed(request.params))  # of several with one name the first counts
    values = {}
    for param in declared:
        if param.name in members:
            values[param.name] = members[param.name]
        else:
            values[param.name] = param.parse(given[param.name]) if param.name in given else param.default
    return values


def _refuse_unknown(route: Route, request: Request) -> None:
    known = {param.name for param in route.params if param.where != "body"}
    unknown = [{"paramName": name, "paramValue": value} for name, value in request.params if name not in known]
    if unknown:
        details = {"help": route.help(), "verb": request.verb, "resource": request.path, "unknownParameters": unknown}
        raise MldbError("Unknown parameter(s) in REST call", details=details)


_NOTHING = (b"", b"null", b"{}")


def _hybrid_members(route: Route, request: Request) -> dict[str, Any]:
    """Members of the JSON body that stand for hybrid parameters."""
    content = request.body.strip()
    if content in _NOTHING or not any(param.where == "hybrid" for param in route.params):
        return {}
    if request.params:
        raise MldbError("You cannot mix query string and body parameters")
    members = jsontext.parse(content)
    if not isinstance(members, dict):
        raise MldbError("the JSON body must be an object with the parameters as members")
    return {param.name: param.of_json(members[param.name]) for param in route.params if param.name in members}
