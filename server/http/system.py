"""Routes of the server itself (rest-api.md §13): ping, info, help, redirect, shutdown, health."""

from __future__ import annotations

import asyncio
import functools
import inspect
from typing import Any, Final

from server.entities import jsontext
from server.entities.json_answers import FreeForm
from server.entities.parameters import Param, body
from server.entities.routes import Call, Reply, help_tree
from server.errors import MldbError
from server.http.answers import ANY, BOOLEAN, OBJECT, TEXT, Schema, answers, array, members, note, ref
from server.http.host import Host
from server.messages import Request, Response

_HELP: Final[Schema] = {
    "type": "object",
    "description": "Routes by path and verb; {routes, literate, config} with autodoc",
    "additionalProperties": {"anyOf": [ref("RouteHelp"), array(ANY), OBJECT]},
}
_READY: Final = members(
    {"ready": BOOLEAN, "restored": BOOLEAN, "checks": note(OBJECT, "{ok, …} by the part that was asked")}
)
_HEALTH_SECONDS = 5.0  # a worker that has not answered by then is not ready


def register(host: Host) -> None:
    add = host.resources.add
    bind = functools.partial
    add("GET", "/ping", lambda _: FreeForm("1"), summary="Is the server there?", replies=answers(TEXT), inline=True)
    add(
        "GET", "/info", lambda _: FreeForm({"apiVersions": {"v1": "1.0.0"}}),
        summary="Versions of the API", replies=answers(members({"apiVersions": OBJECT})), inline=True,
    )  # fmt: skip
    add(
        "GET", "/v1/help", bind(_help, host), Param("autodoc", help="The form that API browsers read"),
        summary="This help", replies=answers(_HELP), lenient=True,
    )  # fmt: skip
    add(
        "POST", "/v1/redirect/get", bind(_redirect, host), body("target", "Path of the resource"),
        body("body", "JSON body of the GET"), summary="Re-issue a GET with a JSON body",
        replies=answers(note(ANY, "As the target answers")),
    )  # fmt: skip
    add(
        "POST",
        "/v1/shutdown",
        bind(_shutdown, host),
        summary="Stop the server",
        replies=answers(members({"shutdown": BOOLEAN})),
        inline=True,
    )
    add(
        "GET",
        "/healthz",
        lambda _: FreeForm({"alive": True}),
        summary="Is the process alive?",
        replies=answers(members({"alive": BOOLEAN})),
        inline=True,
    )
    add(
        "GET",
        "/readyz",
        bind(_ready, host),
        summary="Do the server and its workers answer?",
        replies=(Reply(200, _READY), Reply(503, _READY)),
    )


def _help(host: Host, call: Call) -> FreeForm:
    routes = host.resources.routes
    if call["autodoc"] is None:
        return FreeForm(help_tree(routes))
    listed = [[f"{route.verb} {route.template}", route.description()] for route in routes]
    return FreeForm({"routes": listed, "literate": [], "config": {}})


async def _redirect(host: Host, call: Call) -> Response:
    given = call.json()
    target = given.get("target") if isinstance(given, dict) else None
    if not isinstance(target, str):
        raise MldbError("the body of a redirect must be an object with a text 'target'")
    content = jsontext.typed(given.get("body"))
    inner = Request("GET", target, body=content, content_type="application/json", content_length=len(content))
    inner.client = call.request.client
    answer = await host.resources.dispatch(inner)
    if 300 <= answer.status < 400 or (answer.status < 300 and answer.content_type != "application/json"):
        raise MldbError("failed to parse the redirect call", code=500)
    if answer.status >= 300:
        raise MldbError("failed to redirect call", code=answer.status)
    return answer


def _shutdown(host: Host, _: Call) -> FreeForm:
    host.shutdown.begin()
    return FreeForm({"shutdown": True})


async def _ready(host: Host, _: Call) -> FreeForm:
    checks = await asyncio.gather(*(_checked(check) for check in host.health_checks.values()))
    report: dict[str, Any] = dict(zip(host.health_checks, checks, strict=True))
    restored = host.registry.restored.is_set()
    ready = restored and all(check.get("ok", False) for check in checks)
    return FreeForm({"ready": ready, "restored": restored, "checks": report}, 200 if ready else 503)


async def _checked(check: Any) -> dict[str, Any]:
    try:
        answer = check()
        if inspect.isawaitable(answer):
            answer = await asyncio.wait_for(answer, _HEALTH_SECONDS)
    except Exception as error:
        # Whatever a check raises is its finding: not ready.
        return {"ok": False, "error": str(error) or type(error).__name__}
    return answer if isinstance(answer, dict) else {"ok": bool(answer)}
