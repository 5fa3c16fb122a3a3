"""Routes of datasets (rest-api.md §5): recording, rows, columns, values."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from server.collector import held_off
from server.declarations import Recorded
from server.entities import jsontext
from server.entities.inspection import column_paths, distinct_values, row_names, timestamp_range, value_counts
from server.entities.json_answers import Answer, FreeForm, Typed, empty, plain
from server.entities.parameters import Param, body, hybrid, integer, text
from server.entities.profile import profile
from server.entities.queries import RunningQuery
from server.entities.routes import Call
from server.errors import MldbError
from server.http import recording
from server.http.answers import DONE, INTEGER, NAMES, OWN, PLAIN_ERRORS, ROWS, TIME, answers, array, members, pair, ref
from server.http.collections import hand_on
from server.http.host import Host
from server.http.limits import limited
from server.http.query import FORMAT, answer_query
from server.messages import Response
from server.values.atoms import atom_to_json, timestamp_text
from server.values.paths import format_path

_ONE = "/v1/datasets/{dataset}"


def register(host: Host) -> None:
    add = host.resources.add
    bind = functools.partial
    _register_recording(host)
    add(
        "POST",
        f"{_ONE}/commit",
        bind(_commit, host),
        summary="Make what was recorded durable and readable",
        replies=DONE,
    )
    add(
        "GET", f"{_ONE}/rows", bind(_rows, host), Param("start", 0, integer, "First row"),
        Param("limit", -1, integer, "Number of rows, -1 for all"), summary="Row names", replies=(*NAMES, *PLAIN_ERRORS),
        lenient=True,
    )  # fmt: skip
    add(
        "GET", f"{_ONE}/columns", bind(_columns, host), Param("offset", 0, integer, "First column"),
        Param("limit", -1, integer, "Number of columns, -1 for all"), summary="Column names", replies=NAMES,
    )  # fmt: skip
    add(
        "GET",
        f"{_ONE}/columns/{{column}}/values",
        bind(_values, host),
        summary="Distinct values of a column",
        replies=(*answers(array(ref("Value"))), *PLAIN_ERRORS),
    )
    add(
        "GET", f"{_ONE}/columns/{{column}}/valuecounts", bind(_value_counts, host),
        Param("offset", 0, integer, "Not used"), Param("limit", -1, integer, "Not used"),
        summary="Distinct values of a column, with the number of rows that have them",
        replies=answers(array(pair(ref("Value"), INTEGER))),
    )  # fmt: skip
    add(
        "GET", f"{_ONE}/profile", bind(_profile, host), Param("search", "", text, "Text in the column's name"),
        Param("offset", 0, integer, "First column"), Param("limit", 50, integer, "Number of columns, 100 at most"),
        summary="What columns hold: kinds, fill, range, distribution",
        replies=answers(members({"total": INTEGER, "rows": INTEGER, "columns": array(ref("ColumnProfile"))})),
    )  # fmt: skip
    add(
        "GET",
        f"{_ONE}/timestampRange",
        bind(_timestamp_range, host),
        summary="Earliest and latest timestamp",
        replies=answers(pair(TIME, TIME)),
    )
    add("GET", f"{_ONE}/query", bind(_query, host), *_QUERY_PARTS, *FORMAT, summary="Query this dataset", replies=ROWS)
    add(
        "GET PUT POST DELETE", f"{_ONE}/routes/{{*}}", bind(_own_routes, host),
        summary="Routes of the type's own; POST saves writes a dataset file", replies=OWN, lenient=True,
    )  # fmt: skip


async def _own_routes(host: Host, call: Call) -> Any:
    """Every dataset can be saved, those whose type says nothing of it too."""
    entity = host.registry.reachable("dataset", call.segments["dataset"]).entity
    if hasattr(entity, "route"):
        return await hand_on(host, "dataset", "route", call)
    return await host.resources.in_thread(_save, host, call)


def _save(host: Host, call: Call) -> Response:
    from server.datasets.files import save_dataset, saved, saves_url

    url = saves_url(call.request)
    return saved(save_dataset(host.services, call.segments["dataset"], url), url)


# ── recording ────────────────────────────────────────────────────────────────────────────────────────────────


def _register_recording(host: Host) -> None:
    bind = functools.partial
    row = bind(recording.one, name="rowName", cells="columns")
    column = bind(recording.one, name="columnName", cells="rows")
    routes = (
        ("rows", "record_rows", row, (body("rowName", "Path"), body("columns", "Cells"))),
        ("multirows", "record_rows", recording.several, ()),
        ("columns", "record_columns", column, (body("columnName", "Path"), body("rows", "Cells"))),
        ("multicolumns", "record_columns", recording.several, ()),
    )
    for name, method, read, params in routes:
        host.resources.add(
            "POST", f"{_ONE}/{name}", bind(_record, host, method, read), *params, summary=f"Record {name}", replies=DONE
        )  # fmt: skip


def _record(host: Host, method: str, read: Callable[[bytes], list[Recorded]], call: Call) -> Response:
    found = host.registry.reachable("dataset", call["dataset"])
    record = getattr(found.entity, method, None)
    if record is None:
        raise MldbError(f"Dataset type '{found.type.name}' doesn't allow recording")
    with held_off():
        record(read(call.request.body))
    host.registry.touch()
    return empty()


def _commit(host: Host, call: Call) -> Response:
    found = host.registry.reachable("dataset", call["dataset"])
    commit = getattr(found.entity, "commit", None)
    if commit is None:
        raise MldbError(f"Dataset type '{found.type.name}' doesn't allow recording")
    commit()
    host.registry.changed("dataset", call["dataset"])
    return empty()


# ── looking in ───────────────────────────────────────────────────────────────────────────────────────────────


def _rows(host: Host, call: Call) -> Answer:
    """Failures here are plain text (§2.2)."""
    start, limit = call["start"], call["limit"]
    if start < 0:
        return plain("Invalid start for row names", 400)
    if limit < -1:
        return plain("Invalid limit for row names", 400)
    try:
        with limited(host, call) as running:
            return _typed(running, row_names(host.services, call["dataset"], start, limit))
    except MldbError as error:
        return plain(error.message, error.code)


def _typed(running: RunningQuery, value: Any, end: bytes = b"") -> Response:
    """The answer as typed JSON, if it is not larger than an answer may be."""
    return Response(200, running.within(jsontext.typed(value) + end))


def _columns(host: Host, call: Call) -> Response:
    offset, limit = call["offset"], call["limit"]
    with limited(host, call) as running:
        paths = column_paths(host.services, call["dataset"])
        chosen = paths[offset:] if limit < 0 else paths[offset : offset + limit]
        return _typed(running, [format_path(path) for path in chosen], b"\n")


def _values(host: Host, call: Call) -> Answer:
    try:
        with limited(host, call) as running:
            values = distinct_values(host.services, call["dataset"], call["column"])
            return _typed(running, [atom_to_json(value) for value in values])
    except MldbError as error:
        return plain(error.message, error.code)


def _value_counts(host: Host, call: Call) -> Response:
    with limited(host, call) as running:
        counts = value_counts(host.services, call["dataset"], call["column"])
        return _typed(running, [[atom_to_json(value), count] for value, count in counts], b"\n")


def _profile(host: Host, call: Call) -> FreeForm:
    page = (call["search"], max(0, call["offset"]), max(0, call["limit"]))
    with limited(host, call) as running:
        return FreeForm(profile(host.services, call["dataset"], *page, running))


def _timestamp_range(host: Host, call: Call) -> Typed:
    with limited(host, call):
        earliest, latest = timestamp_range(host.services, call["dataset"])
    return Typed([timestamp_text(earliest), timestamp_text(latest)], newline=True)


_QUERY_PARTS = (
    hybrid("select", "*", text, "SELECT expression"),
    hybrid("when", "", text, "WHEN expression"),
    hybrid("where", "", text, "WHERE expression"),
    hybrid("groupBy", "", text, "GROUP BY expression"),
    hybrid("having", "", text, "HAVING expression"),
    hybrid("orderBy", "", text, "ORDER BY expression"),
    hybrid("rowName", "", text, "NAMED expression"),
    hybrid("offset", 0, integer, "Rows to skip"),
    hybrid("limit", -1, integer, "Number of rows, -1 for all"),
)


def _query(host: Host, call: Call) -> Response:
    names = {"rowName": "named"}
    given = {part.name: call[part.name] for part in _QUERY_PARTS if call[part.name] != part.default}
    query = {"select": "*", **{names.get(name, name): value for name, value in given.items()}}
    return answer_query(host, call, {**query, "from": {"id": call["dataset"]}})
