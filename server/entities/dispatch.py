"""The resource table: one way in for HTTP and for plugin code (rest-api.md §1–3).

A route is declared once: verb, path template, parameters, summary. Matching, the check for unknown parameters,
``OPTIONS`` and ``/v1/help`` come from that. Templates: ``/v1/datasets/{dataset}/rows``; a final ``{*}`` takes the
rest of the path (``request.remaining``, with its slash).
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple
from urllib.parse import unquote

from server.entities import jsontext
from server.errors import MldbError, NotFound, Vanished, from_defect, is_of_dropped_table
from server.logs import request_id
from server.messages import Request, Response

log = logging.getLogger("mldb.server")

Where = Literal["query", "hybrid", "body"]
VERBS = ("GET", "PUT", "POST", "DELETE")
DRAFT: Final = ".upload-"  # beginning of the names of files that are still on their way
_MATCHES_KEPT: Final = 4096  # paths whose route is remembered
_LONGEST_KEPT: Final = 512  # characters of such a path
_THREADS: Final = 1024  # calls nest (a procedure runs a script that queries …): a small pool would deadlock
_READINGS: Final = 5  # of what is replaced again and again, before the reader hears of it


# ── parameters ───────────────────────────────────────────────────────────────────────────────────────────────


def text(value: str) -> str:
    return value


def boolean(value: str) -> bool:
    word = value.lower()
    if word in ("true", "1"):
        return True
    if word in ("false", "0"):
        return False
    raise MldbError(
        f"Attempting to interpret REST parameter value '{value}' as a boolean: "
        "use true, false, 1 or 0 in any letter case"
    )


def integer(value: str) -> int:
    try:
        return int(value)
    except ValueError:
        raise MldbError(f"Attempting to interpret REST parameter value '{value}' as an integer") from None


@dataclass(frozen=True, slots=True)
class Param:
    """A declared parameter. ``parse`` reads its text in the query string; in a JSON body all but booleans and integers
    are taken as they are."""

    name: str
    default: Any = None
    parse: Callable[[str], Any] = text
    help: str = ""
    where: Where = "query"

    def of_json(self, value: Any) -> Any:
        """The value of a member of the body; null is none."""
        if self.parse not in (boolean, integer):
            return value
        return self.default if value is None else self.parse(str(value))


def hybrid(name: str, default: Any, parse: Callable[[str], Any], help: str) -> Param:
    """A parameter of the query string or of the JSON body."""
    return Param(name, default, parse, help, "hybrid")


def body(name: str, help: str) -> Param:
    """A member of the JSON body; declared for the help, read by the handler."""
    return Param(name, None, text, help, "body")


# ── answers ──────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(slots=True)
class Typed:
    """A typed JSON answer; ``newline`` for the bodies that end with one (§1.1)."""

    value: Any
    status: int = 200
    headers: list[tuple[str, str]] = field(default_factory=list)
    newline: bool = False


@dataclass(slots=True)
class FreeForm:
    """A free-form JSON answer: ends with a newline over HTTP, without one in process."""

    value: Any
    status: int = 200
    headers: list[tuple[str, str]] = field(default_factory=list)


Answer = Response | Typed | FreeForm


def plain(message: str, status: int = 200) -> Response:
    return Response(status, message.encode("utf-8", "surrogateescape"), "text/plain")


def empty(status: int = 200, headers: Iterable[tuple[str, str]] = ()) -> Response:
    return Response(status, b"", "", list(headers))


def encode(answer: Answer, request: Request) -> Response:
    if isinstance(answer, Response):
        return answer
    if isinstance(answer, Typed):
        content = jsontext.typed(answer.value)
        return Response(answer.status, content + b"\n" if answer.newline else content, headers=answer.headers)
    content = jsontext.free_form(answer.value)
    return Response(answer.status, content if request.in_process else content + b"\n", headers=answer.headers)


def unknown_resource(request: Request) -> NotFound:
    return NotFound(f"unknown resource {request.verb} {request.path}")


def error_answer(error: MldbError) -> FreeForm:
    return FreeForm(error.body(), error.code)


# ── routes ───────────────────────────────────────────────────────────────────────────────────────────────────


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


class _Match(NamedTuple):
    """Where a path leads. ``guarded``: the collection and the id that must be asked about first."""

    route: Route | None
    segments: Mapping[str, str]
    remaining: str
    guarded: tuple[str, str] | None


class _Node:
    __slots__ = ("below", "named", "routes", "tails")

    def __init__(self) -> None:
        self.below: dict[str, _Node] = {}
        self.named: tuple[str, _Node] | None = None
        self.routes: dict[str, Route] = {}
        self.tails: dict[str, Route] = {}


Guard = Callable[[str], None]


class Resources:
    """All routes, and the way in. ``guards`` answer for ids whose sub-routes cannot be reached (§2.2)."""

    def __init__(self) -> None:
        self.threads = ThreadPoolExecutor(_THREADS, "resource")
        self.routes: list[Route] = []
        self._root = _Node()
        self._guards: dict[str, Guard] = {}
        self._remembered = lru_cache(_MATCHES_KEPT)(self._walk)

    def add(
        self,
        verbs: str,
        template: str,
        handler: Handler,
        *params: Param,
        summary: str,
        replies: tuple[Reply, ...],
        result: str = "",
        inline: bool = False,
        lenient: bool = False,
        spool: Spool | None = None,
    ) -> None:
        """Declare a route for one verb or several (``"GET POST"``). Raises ValueError when it is there already."""
        awaited = inspect.iscoroutinefunction(handler)
        for verb in verbs.split():
            route = Route(verb, template, handler, params, summary, result, replies, inline, awaited, lenient, spool)
            leaf = self._leaf(template)
            if verb in leaf:
                raise ValueError(f"{verb} {template} is declared twice")
            leaf[verb] = route
            self.routes.append(route)
        self._remembered.cache_clear()

    def guard(self, plural: str, guard: Guard) -> None:
        """Ask ``guard(id)`` before anything below ``/v1/<plural>/<id>``; it raises when that cannot be reached."""
        self._guards[plural] = guard
        self._remembered.cache_clear()

    def _leaf(self, template: str) -> dict[str, Route]:
        node = self._root
        for segment in template[1:].split("/") if template != "/" else [""]:
            if segment == "{*}":
                return node.tails
            if segment.startswith("{"):
                node.named = node.named or (segment[1:-1], _Node())
                node = node.named[1]
            else:
                node = node.below.setdefault(segment, _Node())
        return node.routes

    # ── the way in ──

    def spool(self, verb: str, path: str) -> Spool | None:
        """Where the body of this request is to go; None: into memory. ``MldbError`` when it need not come at all."""
        match = self._match(verb, path)
        if match.route is None or match.route.spool is None:
            return None
        match.route.spool.check(match.segments)
        return match.route.spool

    async def dispatch(self, request: Request) -> Response:
        """Answer a request. Never raises but for cancellation: errors become error bodies."""
        try:
            if request.verb == "OPTIONS":
                return encode(self._options(request), request)
            route, segments = self._find(request)
            request.route = route.template
            call = Call(request, segments, read_arguments(route, request))
            return encode(await self._handled(route, call), request)
        except MldbError as error:
            return encode(error_answer(error), request)
        except Exception as error:
            defect = from_defect(error)
            if not isinstance(defect, Vanished):
                log.exception("%s %s failed", request.verb, request.path)
                defect.details = {"requestId": request_id.get()}
            return encode(error_answer(defect), request)

    async def _handled(self, route: Route, call: Call) -> Any:
        """What the handler gives. Reading is begun again when a dataset went away under it."""
        for _ in range(_READINGS - 1 if route.verb == "GET" else 0):
            try:
                return await self._once(route, call)
            except Vanished:
                continue
            except Exception as error:
                if not is_of_dropped_table(error):
                    raise
        return await self._once(route, call)

    async def _once(self, route: Route, call: Call) -> Any:
        if route.awaited:
            return await route.handler(call)
        if route.inline:
            return route.handler(call)
        return await self.in_thread(route.handler, call)

    async def in_thread(self, work: Callable[..., Any], *arguments: Any) -> Any:
        """What work gives that may wait; its errors come out here."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self.threads, copy_context().run, work, *arguments)

    async def own(self, route: Callable[..., Any], *arguments: Any) -> Any:
        """What an entity's or a type's own route answers, be it a coroutine function or not."""
        if inspect.iscoroutinefunction(route):
            return await route(*arguments)
        return await self.in_thread(route, *arguments)

    def _find(self, request: Request) -> tuple[Route, Mapping[str, str]]:
        match = self._match(request.verb, request.path)
        if match.guarded is not None:
            self._guards[match.guarded[0]](match.guarded[1])
        if match.route is None:
            raise self._unknown(request)
        request.remaining = match.remaining
        return match.route, match.segments

    def _match(self, verb: str, path: str) -> _Match:
        return self._remembered(verb, path) if len(path) <= _LONGEST_KEPT else self._walk(verb, path)

    def _walk(self, verb: str, path: str) -> _Match:
        segments = path[1:].split("/")
        route, named, remaining = self._descend(verb, segments)
        guarded = len(segments) > 2 and segments[0] == "v1" and segments[1] in self._guards
        below = guarded and (len(segments) > 3 or route is None) and segments[2]
        return _Match(route, named, remaining, (segments[1], decode_segment(below)) if below else None)

    def _descend(self, verb: str, segments: list[str]) -> tuple[Route | None, dict[str, str], str]:
        named: dict[str, str] = {}
        node = self._root
        tail: tuple[Route, int] | None = None
        for depth, segment in enumerate(segments):
            if verb in node.tails:
                tail = (node.tails[verb], depth)
            below = node.below.get(segment)
            if below is None and node.named is not None and segment:
                named[node.named[0]] = decode_segment(segment)
                below = node.named[1]
            if below is None:
                break
            node = below
        else:
            found = node.routes.get(verb)
            if found is not None:
                return found, named, ""
            if verb in node.tails:
                tail = (node.tails[verb], len(segments))
        if tail is None:
            return None, named, ""
        return tail[0], named, "".join("/" + segment for segment in segments[tail[1] :])

    def _unknown(self, request: Request) -> MldbError:
        segments = request.path[1:].split("/")
        if len(segments) == 3 and segments[0] == "v1" and segments[1] in self._guards and not segments[2]:
            path = f"/v1/{segments[1]}"
            return NotFound(f"Collection URLs do not contain a trailing slash: try {path} instead of {path}/")
        return unknown_resource(request)

    def _options(self, request: Request) -> Answer:
        allowed: list[Route] = []
        for verb in VERBS:
            route = self._match(verb, request.path).route
            if route is not None:
                allowed.append(route)
        if not allowed:
            return empty(400)
        verbs = ",".join(route.verb for route in allowed)
        return FreeForm(help_tree(allowed), 200, [("Allow", verbs)])


def decode_segment(segment: str) -> str:
    """Percent-decode one path segment; ``MldbError`` unless it is UTF-8."""
    if "%" not in segment:
        return segment
    try:
        return unquote(segment, errors="strict")
    except UnicodeDecodeError:
        raise MldbError(f"path segment '{segment}' is not UTF-8") from None


def help_tree(routes: Iterable[Route]) -> dict[str, Any]:
    return {f"{route.template} {route.verb}": route.description() for route in routes}


# ── reading parameters ───────────────────────────────────────────────────────────────────────────────────────


def read_arguments(route: Route, request: Request) -> dict[str, Any]:
    """The values of the declared parameters; refuses unknown ones, and query string and body together (§3)."""
    given = request.params
    if given and not route.lenient:
        _refuse_unknown(route, request)
    declared = route.params
    if not declared:
        return {}
    values = {param.name: param.default for param in declared if param.where != "body"}
    members = _hybrid_members(route, request)
    for param in declared:
        if param.where == "body":
            continue
        if param.name in members:
            values[param.name] = members[param.name]
            continue
        for name, value in given:
            if name == param.name:
                values[name] = param.parse(value)
                break
    return values


def _refuse_unknown(route: Route, request: Request) -> None:
    known = {param.name for param in route.params if param.where != "body"}
    unknown = [{"paramName": name, "paramValue": value} for name, value in request.params if name not in known]
    if unknown:
        details = {
            "help": route.help(),
            "verb": request.verb,
            "resource": request.path,
            "unknownParameters": unknown,
        }
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
