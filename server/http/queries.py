"""``/v1/queries``: the queries under way, how far they are, and their cancelling."""

from __future__ import annotations

import functools

from server.entities.json_answers import Typed, empty
from server.entities.routes import Call
from server.http.answers import GONE, answers, array, ref
from server.http.host import Host
from server.messages import Response


def register(host: Host) -> None:
    add = host.resources.add
    bind = functools.partial
    add(
        "GET", "/v1/queries", bind(_list, host), summary="List the queries under way",
        replies=answers(array(ref("RunningQuery"))),
        result="their entries, the oldest first", inline=True,
    )  # fmt: skip
    add(
        "GET", "/v1/queries/{query}", bind(_one, host), summary="How far a query is",
        replies=answers(ref("RunningQuery")),
        result="{id, query, started, elapsed, progress, rows}", inline=True,
    )  # fmt: skip
    add("DELETE", "/v1/queries/{query}", bind(_cancel, host), summary="Cancel a query", replies=GONE)


def _list(host: Host, call: Call) -> Typed:
    return Typed([query.shown() for query in host.queries.all()])


def _one(host: Host, call: Call) -> Typed:
    return Typed(host.queries.get(call["query"]).shown())


def _cancel(host: Host, call: Call) -> Response:
    host.queries.cancel(call["query"])
    return empty(204)
