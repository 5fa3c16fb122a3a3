"""``/v1/credentials`` (rest-api.md §11)."""

from __future__ import annotations

import functools

from server.entities.credentials import Credentials
from server.entities.json_answers import Typed, empty
from server.entities.routes import Call
from server.http.answers import GONE, NAMES, answers, ref
from server.http.collections import ambiguous, entity_headers
from server.http.host import Host
from server.messages import Response

_ONE = "/v1/credentials/{credential}"


def register(host: Host) -> None:
    add = host.resources.add
    bind = functools.partial
    store = host.credentials
    add(
        "GET",
        "/v1/credentials",
        lambda _: Typed(store.ids()),
        summary="List the credentials",
        replies=NAMES,
        inline=True,
    )
    add(
        "POST",
        "/v1/credentials",
        bind(_add, store),
        summary="Store a credential",
        replies=answers(ref("CredentialStatus"), 201),
    )
    add(
        "PUT",
        _ONE,
        bind(_add, store),
        summary="Store a credential under an id",
        replies=answers(ref("CredentialStatus"), 201),
    )
    add(
        "GET",
        _ONE,
        lambda call: Typed(store.status(call["credential"])),
        summary="Status of a credential",
        replies=answers(ref("CredentialStatus")),
    )
    add("DELETE", _ONE, bind(_remove, store), summary="Forget a credential", replies=GONE)


def _add(store: Credentials, call: Call) -> Typed:
    config = call.json()
    in_path = call.segments.get("credential", "")
    in_body = config.get("id", "") if isinstance(config, dict) else ""
    if in_path and in_body and in_path != in_body:
        raise ambiguous("credentials", config, in_path)
    id, status = store.add(in_path or in_body, config)
    return Typed(status, 201, entity_headers("credentials", id))


def _remove(store: Credentials, call: Call) -> Response:
    store.remove(call["credential"])
    return empty(204)
