"""The routes that all entity collections share (rest-api.md §4)."""

from __future__ import annotations

import functools
from typing import Any

from server.declarations import EntityKind
from server.entities import jsontext
from server.entities.configs import encode_id, generated_id, parse_config
from server.entities.json_answers import Typed, empty
from server.entities.route_tree import unknown_resource
from server.entities.routes import Call
from server.entities.types import PLURALS
from server.errors import MldbError
from server.http.answers import GONE, MADE, NAMES, STATUS
from server.http.host import Host
from server.messages import Request

MUST_BE_NEW = "mldb-must-be-new"  # private header of in-process calls: refuse an existing id


def register(host: Host) -> None:
    for kind in PLURALS:
        _register_kind(host, kind, PLURALS[kind])
    host.resources.add(
        "GET", "/v1/sensors", lambda _: Typed([]), summary="List the sensors",
        replies=NAMES,
        result="sensors in the collection",
        inline=True,
    )  # fmt: skip


def _register_kind(host: Host, kind: EntityKind, plural: str) -> None:
    add = host.resources.add
    bind = functools.partial
    path, one = f"/v1/{plural}", f"/v1/{plural}/{{{kind}}}"
    add(
        "GET", path, bind(_list, host, kind), summary=f"List the {plural}",
        replies=NAMES,
        result=f"{plural} in the collection",
    )  # fmt: skip
    add("POST", path, bind(_post, host, kind), summary=f"Create a {kind}", replies=MADE, result="status object")
    # An empty id, as upstream takes it: the body or the server names the entity.
    add("PUT", f"{path}/", bind(_post, host, kind), summary=f"Create a {kind}", replies=MADE, result="status object")
    add("GET", one, bind(_status, host, kind), summary=f"Status of a {kind}", replies=STATUS, result="status object")
    add(
        "PUT",
        one,
        bind(_put, host, kind),
        summary=f"Create or overwrite a {kind}",
        replies=MADE,
        result="status object",
    )
    add("DELETE", one, bind(_delete, host, kind), summary=f"Delete a {kind}", replies=GONE)
    host.resources.guard(plural, lambda id: _guard(host, kind, id))


def _guard(host: Host, kind: EntityKind, id: str) -> None:
    host.registry.reachable(kind, id)


def _list(host: Host, kind: EntityKind, _: Call) -> Typed:
    return Typed(host.registry.ids(kind))


def _status(host: Host, kind: EntityKind, call: Call) -> Typed:
    return Typed(host.registry.entry(kind, call[kind]).status())


def _delete(host: Host, kind: EntityKind, call: Call) -> Any:
    host.services.delete(kind, call[kind])
    return empty(204)


def _put(host: Host, kind: EntityKind, call: Call) -> Typed:
    config = read_config(call, PLURALS[kind])
    in_body = config.get("id")
    if in_body and in_body != call[kind]:
        raise ambiguous(PLURALS[kind], config, call[kind])
    return _create(host, kind, config | {"id": call[kind]}, call.request, 202)


def _post(host: Host, kind: EntityKind, call: Call) -> Typed:
    config = read_config(call, PLURALS[kind])
    return _create(host, kind, config | {"id": config.get("id") or generated_id(config)}, call.request, 201)


def _create(host: Host, kind: EntityKind, config: dict[str, Any], request: Request, async_status: int) -> Typed:
    background = request.headers.get("async") == "true"
    must_be_new = request.in_process and MUST_BE_NEW in request.headers
    status = host.services.make(kind, config, must_be_new=must_be_new, background=background)
    return Typed(status, async_status if background else 201, entity_headers(PLURALS[kind], config["id"]))


def read_config(call: Call, plural: str) -> dict[str, Any]:
    request = call.request
    if not request.body.strip():
        shown = {"verb": request.verb, "resource": request.path, "payload": ""}
        raise MldbError(
            f"{request.verb} to collection '{plural}' with empty payload.  "
            "Pass a JSON body that describes the entity, with its type.",
            details={"collection": plural, "request": shown},
        )
    return parse_config(call.json())


def ambiguous(plural: str, config: dict[str, Any], id: str) -> MldbError:
    return MldbError(
        "Ambiguous names between route and config: the id in the body must be absent or equal the one in the URL",
        details={"collection": plural, "config": config, "valueInConfig": config["id"], "valueInUri": id},
    )


def entity_headers(*path: str) -> list[tuple[str, str]]:
    """``Location`` and ``EntityPath``; ids (every second element) are percent-encoded."""
    encoded = [encode_id(part) if index % 2 else part for index, part in enumerate(path)]
    return [("Location", "/v1/" + "/".join(encoded)), ("EntityPath", jsontext.typed(encoded).decode())]


def hook(host: Host, kind: EntityKind, name: str, call: Call) -> Any:
    """What the entity of a path offers under a name (see ``declarations.Entity``), None when its type does not."""
    return getattr(host.registry.reachable(kind, call.segments[kind]).entity, name, None)


async def hand_on(host: Host, kind: EntityKind, name: str, call: Call) -> Any:
    """Let the entity answer for what lies below its own route."""
    request = call.request
    handler = hook(host, kind, name, call)
    if handler is None:
        raise unknown_resource(request)
    return await host.resources.own(handler, request)
