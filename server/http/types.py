"""The type catalogue (rest-api.md §12), made from the declarations."""

from __future__ import annotations

import functools
from typing import Any

from server.declarations import EntityKind, EntityType
from server.entities.entry import Unreachable, missing
from server.entities.json_answers import FreeForm, Typed, empty
from server.entities.parameters import Param, boolean
from server.entities.routes import Call, Reply
from server.entities.types import KINDS
from server.errors import MldbError, NotFound
from server.http.answers import IDS, NAMES, OWN, TEXT, answers, array, members, pair, ref
from server.http.describe import describe_type_params, type_info
from server.http.host import Host
from server.messages import Response

_CLASSES = ["datasets", "functions", "plugin.setups", "plugin.startups", "plugins", "procedures"]
_ONE = "/v1/types/{class}/{type}"


def register(host: Host) -> None:
    add = host.resources.add
    bind = functools.partial
    add("GET", "/v1/types", lambda _: Typed(_CLASSES), summary="Classes of types", replies=NAMES, inline=True)
    add(
        "GET", "/v1/types/{class}", bind(_names, host),
        Param("details", False, boolean, "Give [name, info] pairs"), summary="Types of a class",
        replies=answers({"anyOf": [IDS, array(pair(TEXT, ref("TypeInfo")))]}),
    )  # fmt: skip
    add(
        "GET",
        _ONE,
        bind(_state, host),
        summary="State of a type",
        replies=answers(members({"state": TEXT})),
    )
    add(
        "GET",
        f"{_ONE}/info",
        bind(_info, host),
        summary="Parameters and description of a type",
        replies=answers(ref("TypeInfo")),
    )
    add("GET", f"{_ONE}/doc", bind(_doc, host), summary="Documentation of a type", replies=(Reply(301, None, ""),))
    add(
        "GET POST PUT DELETE HEAD", f"{_ONE}/routes/{{*}}", bind(_route, host),
        summary="Routes of the type's own", replies=OWN, lenient=True,
    )  # fmt: skip
    add(
        "GET", "/v1/typeInfo", bind(_type_info, host), Param("type", help="Name of the parameters' type"),
        summary="Description of a parameter type", replies=answers({"anyOf": [ref("ParameterType"), {"type": "null"}]}),
    )  # fmt: skip


def _kind(name: str) -> EntityKind | None:
    if name not in _CLASSES:
        raise NotFound(f"type class '{name}' does not exist")
    return KINDS.get(name)


def _find(host: Host, call: Call) -> EntityType | None:
    """It may have to load the type's module, which takes its time."""
    kind = _kind(call["class"])
    return host.types.find(kind, call["type"]) if kind is not None else None


def _reach(host: Host, call: Call) -> EntityType:
    """The type below which a route is asked for."""
    found = _find(host, call)
    if found is None:
        noun, name = call["class"].removesuffix("s"), call["type"]
        members = {"kind": noun, "resource": name}
        raise Unreachable(f"{noun} entry '{name}' does not exist or has been deleted", members)
    return found


def _names(host: Host, call: Call) -> Typed:
    kind = _kind(call["class"])
    names = host.types.names(kind) if kind is not None else []
    if not call["details"] or kind is None:
        return Typed(names)
    return Typed([[name, info(host.types.get(kind, name))] for name in names], newline=True)


def _state(host: Host, call: Call) -> Typed:
    if _find(host, call) is None:
        raise missing(call["class"].removesuffix("s"), call["type"])
    return Typed({"state": "ok"})


def _info(host: Host, call: Call) -> FreeForm:
    return FreeForm(info(_reach(host, call)))


def info(declared: EntityType) -> dict[str, Any]:
    return {
        "configType": describe_type_params(declared),
        "description": declared.summary,
        "docRoute": f"/v1/types/{declared.kind}s/{declared.name}/doc",
        "flags": [],
    }


def _doc(host: Host, call: Call) -> Response:
    declared = _reach(host, call)
    page = f"/doc/builtin/{declared.kind}s/{declared.name}.md.html"
    return empty(301, [("location" if call.request.in_process else "Location", page)])


async def _route(host: Host, call: Call) -> Any:
    declared = await host.resources.in_thread(_reach, host, call)
    if declared.route is None:
        raise NotFound(f"type {declared.name} has no custom route handler registered")
    return await host.resources.own(declared.route, host.services, call.request)


def _type_info(host: Host, call: Call) -> Typed:
    if call["type"] is None:
        raise MldbError("key type not found in RestParams: give a name as /info has in configType.typeName")
    return Typed(type_info(host.types, call["type"]), newline=True)
