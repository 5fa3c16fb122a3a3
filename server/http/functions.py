"""Applying functions over REST (rest-api.md §8)."""

from __future__ import annotations

import asyncio
import functools

from server.entities import jsontext
from server.entities.appliers import Appliers, OutputRow, read_input
from server.entities.json_answers import Typed
from server.entities.parameters import hybrid, text
from server.entities.rendering import compat, plain_json
from server.entities.routes import Call
from server.entities.rows import read_row
from server.errors import MldbError
from server.http.answers import ANY, OWN, answers, note, ref
from server.http.collections import hand_on, hook
from server.http.host import Host
from server.http.limits import Awaited, limited
from server.messages import Response
from server.values.info import function_info

_ONE = "/v1/functions/{function}"
_LARGE = 64 * 1024  # bytes: reading more JSON than this would hold up the event loop


def register(host: Host) -> None:
    add = host.resources.add
    bind = functools.partial
    appliers = Appliers(host.registry, host.resources.threads)
    add(
        "GET", f"{_ONE}/application", bind(_application, host, appliers),
        hybrid("input", {}, jsontext.parse, "Object with the function's input"),
        hybrid("keepValues", [], jsontext.parse, "Names of the outputs to keep; all when empty"),
        hybrid("outputFormat", "compat", text, "compat or json"),
        summary="Apply the function",
        replies=answers(note(ANY, "compat: {output}, a value or an object of them; json: the same without types")),
        result="the function's output",
    )  # fmt: skip
    add(
        "GET", f"{_ONE}/batch", bind(_batch, host, appliers),
        hybrid("input", None, jsontext.parse, "Array or object of inputs"),
        hybrid("inputFormat", "json", text, "json"), hybrid("outputFormat", "json", text, "json"),
        summary="Apply the function to many inputs",
        replies=answers(note(ANY, "An array or an object, as the inputs are")),
        result="the outputs, in the form of the inputs",
    )  # fmt: skip
    add(
        "GET",
        f"{_ONE}/info",
        bind(_info, host),
        summary="What the function takes and gives",
        replies=answers(ref("FunctionInfo")),
    )
    add(
        "GET",
        f"{_ONE}/details",
        bind(_details, host),
        summary="What the type tells of the function",
        replies=answers(ANY),
    )
    add(
        "GET PUT POST DELETE", f"{_ONE}/routes/{{*}}", bind(hand_on, host, "function", "route"),
        summary="Routes of the type's own", replies=OWN, lenient=True,
    )  # fmt: skip


async def _application(host: Host, appliers: Appliers, call: Call) -> Response:
    format_ = call["outputFormat"]
    if format_ not in ("compat", "json"):
        raise MldbError(f"Unknown 'format' for application call: got {format_}, accepted is 'compat' or 'json'")
    keep = call["keepValues"] or []
    if not (isinstance(keep, list) and all(isinstance(name, str) for name in keep)):
        raise MldbError("keepValues must be an array of names")
    applier = appliers.of(call["function"])
    given = applier.named(call["input"])
    large = len(call.request.body) > _LARGE
    row = await asyncio.to_thread(read_row, given) if large else read_row(given)
    render = _compat_text if format_ == "compat" else _plain_text
    with Awaited(host, call) as watch:
        content = await applier.call(row, functools.partial(render, keep), watch)
    return Response(200, content)


def _compat_text(keep: list[str], row: OutputRow) -> bytes:
    return jsontext.typed(compat(row, keep))


def _plain_text(keep: list[str], row: OutputRow) -> bytes:
    return jsontext.typed(plain_json(row, keep))


def _batch(host: Host, appliers: Appliers, call: Call) -> Typed:
    from server.sql import tasks

    for what in ("input", "output"):
        if (format_ := call[f"{what}Format"]) != "json":
            raise MldbError(f"batch apply only accepts 'json' {what} format currently; got '{format_}'")
    given = call["input"]
    applier = appliers.of(call["function"])
    if given is None:
        return Typed(None)
    names = sorted(given) if isinstance(given, dict) else []
    listed = (
        [given[name] for name in names] if isinstance(given, dict) else given if isinstance(given, list) else [given]
    )
    rows = [read_input(applier.named(item)) for item in listed]
    with limited(host, call) as running:
        results = tasks.stoppable(running, lambda: applier.apply_many(rows))
    plain = [plain_json(row) for row in results]
    if isinstance(given, dict):
        return Typed(dict(zip(names, plain, strict=True)))
    return Typed(plain if isinstance(given, list) else plain[0])


def _info(host: Host, call: Call) -> Typed:
    function = host.registry.reachable("function", call["function"]).entity
    info = getattr(function, "info", None)
    return Typed(function_info(function.input, function.output) if info is None else info(), newline=True)


def _details(host: Host, call: Call) -> Typed:
    details = hook(host, "function", "details", call)
    return Typed(None if details is None else details(), newline=True)
