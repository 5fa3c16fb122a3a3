"""``GET /v1/query`` (rest-api.md §6)."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from server.entities import jsontext
from server.entities.parameters import boolean, hybrid, text
from server.entities.queries import WatchedResult
from server.entities.routes import Call
from server.errors import MldbError
from server.http.answers import ARROW, ROWS
from server.http.arrowstream import arrow_stream
from server.http.host import Host
from server.http.limits import limited
from server.messages import Response

FORMAT = (
    hybrid("format", "full", text, "full, table, aos, soa, sparse or atom"),
    hybrid("headers", True, boolean, "table: the first row holds the column names"),
    hybrid("rowNames", True, boolean, "Give _rowName"),
    hybrid("rowHashes", False, boolean, "Give _rowHash"),
    hybrid("sortColumns", False, boolean, "Sort the columns of the table"),
)
_FORMATS = ("full", "table", "aos", "soa", "sparse", "atom")


def register(host: Host) -> None:
    host.resources.add(
        "GET", "/v1/query", functools.partial(_query, host), hybrid("q", "", text, "SQL text"),
        hybrid("params", {}, jsontext.parse, "Object with the values of the query's $parameters"), *FORMAT,
        summary="Run an SQL query", replies=ROWS, result="rows in the format asked for",
    )  # fmt: skip


def _query(host: Host, call: Call) -> Response:
    query = call["q"]
    if not isinstance(query, str):
        raise MldbError("the query must be a text")
    parameters = call["params"]
    if not isinstance(parameters, dict):
        raise MldbError("the params of a query must be an object: {name: value, …}")
    return answer_query(host, call, query, parameters)


def answer_query(
    host: Host, call: Call, query: str | Mapping[str, Any], parameters: Mapping[str, Any] | None = None
) -> Response:
    """Run a query as the format parameters of a call say.

    It is listed while it runs, and ends as ``server.http.limits`` says.
    """
    from server.sql.formats import render

    format_ = call["format"] or "full"
    if format_ not in _FORMATS:
        raise MldbError(f"Unknown output format '{format_}'")
    arrow = ARROW in call.request.headers.get("accept", "")
    with limited(host, call, query) as running:
        timestamps = format_ == "full" and not arrow
        result = WatchedResult(host.services.query(query, parameters=parameters or None, timestamps=timestamps))
        if arrow:
            return Response(200, running.within(arrow_stream(result)), ARROW)
        content = render(
            result,
            format_,
            headers=call["headers"],
            row_names=call["rowNames"],
            row_hashes=call["rowHashes"],
            sort_columns=call["sortColumns"],
        )
        return Response(200, running.within(content))
