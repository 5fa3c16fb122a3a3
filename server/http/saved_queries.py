"""``/v1/saved-queries``: queries under names, the same ones for all who use the server."""

from __future__ import annotations

from functools import partial
from typing import Final

from server.entities.json_answers import Typed, empty
from server.entities.parameters import body
from server.entities.routes import Call
from server.entities.saved_queries import SavedQueries
from server.http.answers import GONE, TEXT, answers, array, members, note
from server.http.host import Host
from server.messages import Response

_ONE: Final = "/v1/saved-queries/{name}"
_SAVED: Final = members({"name": TEXT, "query": note(TEXT, "Its text"), "saved": note(TEXT, "When, ISO 8601")})


def register(host: Host) -> None:
    saved = SavedQueries(host.settings.data_dir / "saved_queries.json", host.settings.saved_queries)
    add = host.resources.add
    add(
        "GET", "/v1/saved-queries", lambda _: Typed([each.shown() for each in saved.all()]),
        summary="List the saved queries", replies=answers(array(_SAVED)), inline=True,
    )  # fmt: skip
    add(
        "GET", _ONE, lambda call: Typed(saved.get(call["name"]).shown()),
        summary="A saved query", replies=answers(_SAVED), inline=True,
    )  # fmt: skip
    add(
        "PUT", _ONE, partial(_save, saved), body("query", "SQL text"),
        summary="Save a query under a name; one of that name is replaced", replies=answers(_SAVED, 201),
    )  # fmt: skip
    add("DELETE", _ONE, partial(_remove, saved), summary="Remove a saved query", replies=GONE)


def _save(saved: SavedQueries, call: Call) -> Typed:
    given = call.json()
    return Typed(saved.save(call["name"], given.get("query") if isinstance(given, dict) else None).shown(), 201)


def _remove(saved: SavedQueries, call: Call) -> Response:
    saved.remove(call["name"])
    return empty(204)
