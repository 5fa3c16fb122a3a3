"""Which route a path leads to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import unquote

from server.entities.routes import Route
from server.errors import MldbError, NotFound
from server.messages import Request

_MATCHES_KEPT: Final = 4096  # paths whose route is remembered
_LONGEST_KEPT: Final = 512  # characters of such a path

Guard = Callable[[str], None]


class Match(NamedTuple):
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


class RouteTree:
    """All routes by the segments of their templates."""

    def __init__(self) -> None:
        self._root = _Node()
        self._guards: dict[str, Guard] = {}
        self._remembered = lru_cache(_MATCHES_KEPT)(self._walk)

    def add(self, route: Route) -> None:
        """``ValueError`` when there is one of its verb and template already."""
        leaf = self._leaf(route.template)
        if route.verb in leaf:
            raise ValueError(f"{route.verb} {route.template} is declared twice")
        leaf[route.verb] = route
        self._remembered.cache_clear()

    def guard(self, plural: str, guard: Guard) -> None:
        """Have ``guard(id)`` answer for ids whose sub-routes cannot be reached: it raises then (rest-api.md §2.2)."""
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

    def find(self, request: Request) -> tuple[Route, Mapping[str, str]]:
        """The route of a request and the segments that it names; ``NotFound``, or what a guard raises."""
        match = self.match(request.verb, request.path)
        if match.guarded is not None:
            self._guards[match.guarded[0]](match.guarded[1])
        if match.route is None:
            raise self._unknown(request)
        request.remaining = match.remaining
        return match.route, match.segments

    def match(self, verb: str, path: str) -> Match:
        return self._remembered(verb, path) if len(path) <= _LONGEST_KEPT else self._walk(verb, path)

    def _walk(self, verb: str, path: str) -> Match:
        segments = path[1:].split("/")
        route, named, remaining = self._descend(verb, segments)
        guarded = len(segments) > 2 and segments[0] == "v1" and segments[1] in self._guards
        below = guarded and (len(segments) > 3 or route is None) and segments[2]
        return Match(route, named, remaining, (segments[1], decode_segment(below)) if below else None)

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


def unknown_resource(request: Request) -> NotFound:
    return NotFound(f"unknown resource {request.verb} {request.path}")


def decode_segment(segment: str) -> str:
    """Percent-decode one path segment; ``MldbError`` unless it is UTF-8."""
    if "%" not in segment:
        return segment
    try:
        return unquote(segment, errors="strict")
    except UnicodeDecodeError:
        raise MldbError(f"path segment '{segment}' is not UTF-8") from None
