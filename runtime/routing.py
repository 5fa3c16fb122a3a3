"""Routes that ``main.py`` declares: a function that answers, and what the API reference shows of it.

::

    @mldb.plugin.route("GET", "/items/{name}")
    def item(name: str, count: int = 1):
        "One item"
        return {"name": name, "count": count}

Parts of the path, query parameters (GET, DELETE) and members of the JSON body, or fields of a form (PUT, POST), become
arguments by name, as the annotations say; an argument called ``request`` is the request. What the function returns is
the answer as JSON, unless it has given one by ``request.set_return`` or ``request.send_file``, or raises
``HTTPException``. It may be a coroutine function.
"""

from __future__ import annotations

import inspect
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import NoneType
from typing import Any, Final, NoReturn, get_args, get_origin, get_type_hints
from urllib.parse import parse_qsl, quote, unquote

from runtime.refusals import HTTPException

VERBS: Final = ("GET", "PUT", "POST", "DELETE")
PLACES: Final = ("path", "query", "body")
LONGEST_PATH: Final = 200
KINDS: Final = ("string", "integer", "number", "boolean", "array", "object", "")
_FORM: Final = "application/x-www-form-urlencoded"
_KINDS: Final[dict[Any, str]] = {
    str: "string", int: "integer", float: "number", bool: "boolean", list: "array", dict: "object",
}  # fmt: skip
_ALLOWED: Final = {kind: (int, float) if kind == "number" else (type_,) for type_, kind in _KINDS.items()}
_WORDS: Final = {"true": True, "1": True, "false": False, "0": False}
_INTEGER: Final = re.compile(r"[+-]?[0-9]+")  # int() also takes 1_000, blanks and the digits of all scripts


class BadArgument(HTTPException):
    """Raised for a request whose arguments are not those of the function."""

    def __init__(self, detail: str) -> None:
        super().__init__(400, detail)


@dataclass(frozen=True, slots=True)
class Argument:
    """``place`` is path, query or body; ``kind`` a JSON type, or "" for any value."""

    name: str
    place: str
    kind: str
    required: bool

    def plain(self) -> list[Any]:
        return [self.name, self.place, self.kind, self.required]

    def read(self, text: str) -> Any:
        """The value of a text of the path or the query."""
        try:
            if self.kind in ("string", ""):
                return text
            if self.kind == "boolean":
                return _WORDS[text.lower()]
            if self.kind in ("array", "object"):
                return self.checked(read_json(text))
            return _integer(text) if self.kind == "integer" else _number(text)
        except (ValueError, KeyError):
            raise self._wrong(text) from None

    def checked(self, value: Any) -> Any:
        """A value of a JSON body, when it is of the kind."""
        allowed = _ALLOWED.get(self.kind, (object,))
        if not isinstance(value, allowed) or (isinstance(value, bool) and self.kind in ("integer", "number")):
            raise self._wrong(json.dumps(value))
        return value

    def _wrong(self, shown: str) -> BadArgument:
        return BadArgument(f"'{self.name}' is {_ARTICLES[self.kind]}, not {shown[:100]}")


_ARTICLES: Final = {
    "string": "a text", "integer": "an integer", "number": "a number", "boolean": "true or false",
    "array": "an array", "object": "an object",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Route:
    verb: str
    path: str
    pattern: re.Pattern[str]
    handler: Callable[..., Any]
    summary: str
    arguments: tuple[Argument, ...]
    wants_request: bool

    def call(self, request: Any, named: dict[str, str]) -> Any:
        """What the function returns; ``BadArgument`` when it cannot be called with what the request holds."""
        value = self.handler(**self._values(request, named))
        if inspect.iscoroutine(value):
            import asyncio

            return asyncio.run(value)
        return value

    def _values(self, request: Any, named: dict[str, str]) -> dict[str, Any]:
        values: dict[str, Any] = {"request": request} if self.wants_request else {}
        query = dict(reversed(request.rest_params))
        form = request.content_type.partition(";")[0].strip().lower() == _FORM
        takes_body = any(each.place == "body" for each in self.arguments)
        body = {} if not takes_body else self._fields(request) if form else _members(request)
        for each in self.arguments:
            if each.place == "path":
                values[each.name] = each.read(unquote(named[each.name]))
            elif each.place == "query" and each.name in query:
                values[each.name] = each.read(query[each.name])
            elif each.place == "body" and each.name in body:
                values[each.name] = each.read(body[each.name]) if form else each.checked(body[each.name])
            elif each.required:
                raise BadArgument(f"'{each.name}' is missing")
        return values

    def _fields(self, request: Any) -> dict[str, str]:
        """The fields of a form. Browsers send those that were left empty too: only a text is empty, nothing else is."""
        texts = {each.name for each in self.arguments if each.kind in ("string", "")}
        fields = parse_qsl(request.payload, keep_blank_values=True)
        return {name: value for name, value in reversed(fields) if value or name in texts}


def _integer(text: str) -> int:
    if not _INTEGER.fullmatch(text):
        raise ValueError(text)
    return int(text)


def _number(text: str) -> float:
    number = float(text)
    if "_" in text or not math.isfinite(number):  # JSON has no such numbers either
        raise ValueError(text)
    return number


def read_json(text: str) -> Any:
    """``ValueError`` for what is no JSON, which Python's reader does not say of ``NaN`` and of deep nesting."""
    try:
        return json.loads(text, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


def _members(request: Any) -> dict[str, Any]:
    try:
        body = read_json(request.payload) if request.payload.strip() else {}
    except ValueError as error:
        raise BadArgument(f"the body is no JSON: {error}") from None
    if not isinstance(body, dict):
        raise BadArgument("the body is a JSON object with the arguments as members")
    return body


class Routes:
    """The declared routes of a worker, in the order of their declaration; the first that fits answers."""

    def __init__(self, announce: Callable[[Route], None]) -> None:
        self._routes: dict[tuple[str, str], Route] = {}
        self._announce = announce

    def declare(self, verb: str, path: str, handler: Callable[..., Any], summary: str) -> None:
        """``ValueError`` for what is no route, or is one already."""
        if verb not in VERBS:
            raise ValueError(f"{verb!r} is not one of {', '.join(VERBS)}")
        if not path.startswith("/"):
            raise ValueError(f"the path {path!r} does not begin with /")
        if len(path) > LONGEST_PATH:
            raise ValueError(f"the path {path[:LONGEST_PATH]!r}… has more than {LONGEST_PATH} characters")
        if (verb, path) in self._routes:
            raise ValueError(f"{verb} {path} is declared already: main.py, which runs once, is the place for it")
        names = re.findall(r"\{(\w+)\}", path)
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"the path {path} names {{{twice[0]}}} twice")
        given = {name: each for name, each in inspect.signature(handler).parameters.items() if each.kind in _BY_NAME}
        if missing := [name for name in names if name not in given]:
            raise ValueError(f"the function for {path} takes no {missing[0]!r}")
        hints = _hints(handler)
        arguments = tuple(
            Argument(
                name,
                "path" if name in names else "query" if verb in ("GET", "DELETE") else "body",
                _kind(hints.get(name)),
                each.default is each.empty,
            )
            for name, each in given.items()
            if name != "request"
        )
        route = Route(verb, path, _pattern(path), handler, summary, arguments, "request" in given)
        self._routes[verb, path] = route
        self._announce(route)

    def find(self, verb: str, remaining: str) -> tuple[Route, dict[str, str]] | None:
        """The route of a request, and the parts of its path by name, percent-encoded."""
        path = _encoded(remaining) if self._routes else remaining
        for route in self._routes.values():
            if route.verb == verb and (found := route.pattern.fullmatch(path)):
                return route, found.groupdict()
        return None


_BY_NAME: Final = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def _hints(handler: Callable[..., Any]) -> Mapping[str, Any]:
    if not inspect.isroutine(handler):  # a functools.partial, an object that can be called
        handler = getattr(handler, "func", None) or type(handler).__call__
    return get_type_hints(handler)


def _kind(hint: Any) -> str:
    """The JSON type that an annotation asks for; that of ``int | None`` is that of ``int``."""
    others = [each for each in get_args(hint) if each is not NoneType]
    if NoneType in get_args(hint) and len(others) == 1:
        return _kind(others[0])
    return _KINDS.get(get_origin(hint) or hint, "")


def _encoded(path: str) -> str:
    """A path in one spelling: clients differ in which characters they encode."""
    return "/".join(quote(unquote(part), safe="") for part in path.split("/"))


def _pattern(path: str) -> re.Pattern[str]:
    parts = re.split(r"(\{\w+\})", path)
    return re.compile(
        "".join(
            f"(?P<{part[1:-1]}>[^/]+)" if number % 2 else re.escape(quote(part)) for number, part in enumerate(parts)
        )
    )


def summary_of(handler: Callable[..., Any], summary: str) -> str:
    """What was said of a route: the summary, else the first line of the function's docstring."""
    return summary or (inspect.getdoc(handler) or "").partition("\n")[0]
