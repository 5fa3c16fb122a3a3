"""Runs of procedures (rest-api.md §9)."""

from __future__ import annotations

import functools

from server.entities.configs import encode_id
from server.entities.json_answers import Typed, empty
from server.entities.parameters import body
from server.entities.routes import Call
from server.errors import MldbError
from server.http.answers import ANY, GONE, NAMES, REDIRECT, RUN, RUN_MADE, TEXT, answers, members, note
from server.http.collections import entity_headers
from server.http.host import Host
from server.messages import Response

_RUNS = "/v1/procedures/{procedure}/runs"
_CONFIG = (body("id", "Name of the run"), body("params", "Merged over the procedure's parameters for this run"))


def register(host: Host) -> None:
    add = host.resources.add
    bind = functools.partial
    add("GET", _RUNS, bind(_list, host), summary="List the runs", replies=NAMES, result="runs in the collection")
    add("POST", _RUNS, bind(_start, host), *_CONFIG, summary="Start a run", replies=RUN_MADE, result="run status")
    add("PUT", f"{_RUNS}/{{run}}", bind(_start, host), *_CONFIG, summary="Start a run of that name", replies=RUN_MADE)
    add("GET", f"{_RUNS}/{{run}}", bind(_status, host), summary="Status of a run", replies=RUN, result="run status")
    add("DELETE", f"{_RUNS}/{{run}}", bind(_delete, host), summary="Delete a run; cancels it", replies=GONE)
    add(
        "GET",
        f"{_RUNS}/{{run}}/state",
        bind(_state, host),
        summary="State of a run",
        replies=answers(members({"state": TEXT})),
    )
    add(
        "PUT", f"{_RUNS}/{{run}}/state", bind(_cancel, host), body("state", "cancelled"),
        summary="Cancel a run and wait until it has stopped", replies=answers(members({})),
    )  # fmt: skip
    add(
        "GET",
        f"{_RUNS}/{{run}}/details",
        bind(_details, host),
        summary="Details of a run's result",
        replies=answers(note(ANY, "As the procedure tells it; null without any")),
    )
    add(
        "GET",
        "/v1/procedures/{procedure}/latestrun",
        bind(_latest, host),
        summary="Redirect to the last run",
        replies=(REDIRECT,),
    )


def _headers(call: Call, run: str) -> list[tuple[str, str]]:
    return entity_headers("procedures", call["procedure"], "runs", run)


def _list(host: Host, call: Call) -> Typed:
    return Typed(host.runner.runs_of(call["procedure"]).ids())


def _start(host: Host, call: Call) -> Typed:
    background = call.request.headers.get("async") == "true"
    run = host.runner.start(call["procedure"], call.json(), run_id=call.segments.get("run", ""), background=background)
    async_status = 202 if call.request.verb == "PUT" else 201
    status = run.at_start if background else run.status_json()
    return Typed(status, async_status if background else 201, _headers(call, run.id))


def _status(host: Host, call: Call) -> Typed:
    return Typed(host.runner.runs_of(call["procedure"]).find(call["run"]).status_json())


def _delete(host: Host, call: Call) -> Response:
    host.runner.remove(call["procedure"], call["run"])
    return empty(204)


def _state(host: Host, call: Call) -> Typed:
    return Typed({"state": host.runner.runs_of(call["procedure"]).find(call["run"]).state})


def _cancel(host: Host, call: Call) -> Typed:
    run = host.runner.runs_of(call["procedure"]).find(call["run"])
    wanted = call.json()
    if not isinstance(wanted, dict) or wanted.get("state") != "cancelled":
        raise MldbError("the only state that a run can be put into is 'cancelled'")
    run.stop()
    return Typed({}, 200, _headers(call, run.id))


def _details(host: Host, call: Call) -> Typed:
    run = host.runner.runs_of(call["procedure"]).reachable(call["run"])
    return Typed(run.result.details if run.result is not None else None, newline=True)


def _latest(host: Host, call: Call) -> Response:
    run = host.runner.runs_of(call["procedure"]).latest()
    location = f"/v1/procedures/{encode_id(call['procedure'])}/runs/{encode_id(run.id)}"
    return empty(307, [("location" if call.request.in_process else "Location", location)])
