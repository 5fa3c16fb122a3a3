"""What is known of a plugin's own routes: declared in its ``main.py`` or ``routes.yaml``, else learnt from its answers.

``routes.yaml`` maps paths below ``…/routes`` to OpenAPI path items::

    /double:
      get:
        summary: Twice a number
        parameters: [{name: x, in: query, schema: {type: number}}]
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from runtime.messages import DeclaredRoute
from server.messages import Request, Response

FILE: Final = "routes.yaml"
SOURCE: Final = "x-mldb-source"  # of an operation: declared or learnt
_MOST: Final = 200  # routes that are remembered of one plugin
_KNOWN: Final = 1000  # requests that were noted already
_LONGEST: Final = 200  # characters of a path
_ID: Final = re.compile(r"\d+|[0-9a-fA-F-]{8,}|[\w-]{20,}")
_VERBS: Final = frozenset({"get", "put", "post", "delete"})


class RouteNotes:
    """The routes of one plugin. Requests are noted on the event loop, read from threads."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], dict[str, Any]] = {}
        self._known: set[tuple[object, ...]] = set()
        self._lock = threading.Lock()

    def note(self, request: Request, answer: Response, raised: str = "") -> None:
        """Remember a route that answered well, or whose code raised an exception of a type: names, never a value."""
        # Most requests are like one before: that is all that may be asked of them.
        known = (
            request.verb,
            request.remaining,
            answer.status,
            raised,
            request.content_type,
            *(name for name, _ in request.params),
        )
        if known in self._known:
            return
        if len(self._known) < _KNOWN:
            self._known.add(known)
        key = (template(request.remaining), request.verb.lower())
        if (answer.status >= 400 and not raised) or len(key[0]) > _LONGEST:
            return
        with self._lock:
            if key not in self._seen and len(self._seen) < _MOST:
                self._seen[key] = {"params": set(), "body": "", "answers": {}}
            seen = self._seen.get(key)
            if seen is None:
                return
            seen["params"].update(name for name, _ in request.params[:_MOST])
            seen["body"] = request.content_type or seen["body"]
            seen["answers"][str(answer.status)] = (f"raised {raised}" if raised else "seen", answer.content_type)

    def learnt(self) -> dict[str, dict[str, Any]]:
        """OpenAPI path items of what was seen."""
        with self._lock:
            seen = [
                (path, verb, dict(each, params=sorted(each["params"]))) for (path, verb), each in self._seen.items()
            ]
        items: dict[str, dict[str, Any]] = {}
        for path, verb, each in sorted(seen, key=lambda one: one[:2]):
            items.setdefault(path, {})[verb] = _operation(path, each)
        return items


def template(path: str) -> str:
    """A path whose segments that look like ids are parameters."""
    parts = path.partition("?")[0].split("/")
    named = iter(range(1, len(parts) + 1))
    return "/".join(f"{{id{next(named)}}}" if _ID.fullmatch(part) else part for part in parts) or "/"


def _operation(path: str, seen: dict[str, Any]) -> dict[str, Any]:
    query = [{"name": name, "in": "query", "schema": {"type": "string"}} for name in seen["params"]]
    answers = {
        status: {"description": text, **({"content": {kind.partition(";")[0]: {}}} if kind else {})}
        for status, (text, kind) in seen["answers"].items()
    }
    operation: dict[str, Any] = {"parameters": [*path_parameters(path), *query], "responses": answers, SOURCE: "learnt"}
    if seen["body"]:
        operation["requestBody"] = {"content": {seen["body"].partition(";")[0]: {}}}
    return operation


def path_parameters(path: str) -> list[dict[str, Any]]:
    names = re.findall(r"\{([^}]+)\}", path)
    return [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names]


def declared(folder: Path | None) -> dict[str, dict[str, Any]]:
    """The path items of a plugin's ``routes.yaml``; {} without one. ``ValueError`` says what is wrong in it."""
    file = folder / FILE if folder is not None else None
    if file is None or not file.is_file():
        return {}
    import yaml

    try:
        items = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        raise ValueError(f"{FILE}: {error}") from None
    if not isinstance(items, dict) or not all(isinstance(item, dict) for item in items.values()):
        raise ValueError(f"{FILE} maps paths to path items")
    return {_path(path): _declared_item(_path(path), item) for path, item in items.items()}


def of_code(routes: Iterable[DeclaredRoute]) -> dict[str, dict[str, Any]]:
    """OpenAPI path items of the routes that a ``main.py`` declared."""
    items: dict[str, dict[str, Any]] = {}
    for route in routes:
        items.setdefault(route.path, {})[route.verb.lower()] = _of_code(route)
    return items


def _of_code(route: DeclaredRoute) -> dict[str, Any]:
    places: dict[str, dict[str, dict[str, Any]]] = {"path": {}, "query": {}, "body": {}}
    required: dict[str, list[str]] = {"path": [], "query": [], "body": []}
    for name, place, kind, needed in route.arguments:
        places[place][name] = {"type": kind} if kind else {}
        required[place] += [name] if needed else []
    query = [
        {"name": name, "in": "query", "required": name in required["query"], "schema": schema}
        for name, schema in places["query"].items()
    ]
    in_path = [
        {**each, "schema": places["path"].get(each["name"]) or each["schema"]} for each in path_parameters(route.path)
    ]
    operation: dict[str, Any] = {
        "parameters": [*in_path, *query],
        "responses": {"200": {"description": "the answer", "content": {"application/json": {}}}},
        SOURCE: "declared",
    }
    if route.summary:
        operation["summary"] = route.summary
    if places["body"]:
        body = {"type": "object", "properties": places["body"], "required": required["body"]}
        operation["requestBody"] = {"content": {"application/json": {"schema": body}}}
    return operation


def merged(first: dict[str, dict[str, Any]], over: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Path items of both; where both tell of an operation, what ``over`` says of it holds."""
    return {path: {**first.get(path, {}), **over.get(path, {})} for path in [*first, *over]}


def _path(path: Any) -> str:
    return f"/{str(path).lstrip('/')}"


def _declared_item(path: str, item: dict[str, Any]) -> dict[str, Any]:
    operations: dict[str, Any] = {}
    for verb, operation in item.items():
        if verb not in _VERBS or not isinstance(operation, dict):
            raise ValueError(f"{FILE}: {path}: '{verb}' is not one of {', '.join(sorted(_VERBS))} with an operation")
        given = list(operation.get("parameters") or [])
        named = {each.get("name") for each in given if isinstance(each, dict)}
        missing = [each for each in path_parameters(path) if each["name"] not in named]
        answers = operation.get("responses") or {"200": {"description": "the answer"}}
        operations[verb] = {
            **operation, "parameters": [*missing, *given],
            "responses": {str(status): answer for status, answer in answers.items()}, SOURCE: "declared",
        }  # fmt: skip
    return operations
