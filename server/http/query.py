"""``GET /v1/query`` (rest-api.md §6)."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator, Mapping
from typing import Any

from server.declarations import NamedBatch, Progress, QueryResult
from server.entities import jsontext
from server.entities.dispatch import Call, boolean, hybrid, text
from server.entities.messages import Response
from server.entities.queries import RunningQuery
from server.errors import Cancelled, Conflict, MldbError
from server.http.host import Host
from server.values.batches import RowType
from server.values.paths import format_path

ARROW = "application/vnd.apache.arrow.stream"
FORMAT = (
    hybrid("format", "full", text, "full, table, aos, soa, sparse or atom"),
    hybrid("headers", True, boolean, "table: the first row holds the column names"),
    hybrid("rowNames", True, boolean, "Give _rowName"),
    hybrid("rowHashes", False, boolean, "Give _rowHash"),
    hybrid("sortColumns", False, boolean, "Sort the columns of the table"),
)
ID_HEADER = "x-query-id"  # by which a caller may name the query, to ask after it and to cancel it
_GONE = MldbError("the query was stopped: its client has gone", code=499)
_FORMATS = ("full", "", "table", "aos", "soa", "sparse", "atom")


def register(host: Host) -> None:
    host.resources.add(
        "GET", "/v1/query", functools.partial(_query, host), hybrid("q", "", text, "SQL text"),
        hybrid("params", {}, jsontext.parse, "Object with the values of the query's $parameters"), *FORMAT,
        summary="Run an SQL query", result="rows in the format asked for",
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

    It is listed while it runs, and ends when it is cancelled, its client goes, time is up or the answer grows large.
    """
    if call["format"] not in _FORMATS:
        raise MldbError(f"Unknown output format '{call['format']}'")
    with host.queries.running(query, call.request.headers.get(ID_HEADER, "")) as running:
        host.services.when_gone(call.request.client, lambda: running.stop(_GONE))
        timer = _limit(host, running)
        try:
            return _answer(host, call, running, parameters)
        except Cancelled:
            raise running.why or Conflict("the query was cancelled") from None
        finally:
            if timer is not None:
                timer.cancel()


def _answer(host: Host, call: Call, running: RunningQuery, parameters: Mapping[str, Any] | None) -> Response:
    from server.sql import tasks
    from server.sql.formats import render

    arrow = ARROW in call.request.headers.get("accept", "")
    timestamps = call["format"] in ("full", "") and not arrow
    with tasks.acting_for(running):
        found = host.services.query(running.query, parameters=parameters or None, timestamps=timestamps)
        result = Watched(found, running, host.settings.result_size << 20)
        if arrow:
            return Response(200, result.within(arrow_stream(result)), ARROW)
        content = render(
            result,
            call["format"] or "full",
            headers=bool(call["headers"]),
            row_names=bool(call["rowNames"]),
            row_hashes=bool(call["rowHashes"]),
            sort_columns=bool(call["sortColumns"]),
        )
    return Response(200, result.within(content))


class Watched:
    """A query result that belongs to a running query and may have so many bytes (0: any number)."""

    def __init__(self, result: QueryResult, running: RunningQuery, limit: int) -> None:
        self._result = result
        self._running = running
        self._limit = limit

    @property
    def type(self) -> RowType:
        return self._result.type

    def batches(self, progress: Progress | None = None) -> Iterator[NamedBatch]:
        """The batches, counted. ``MldbError`` as soon as they are larger than the answer may be."""
        size = 0
        for batch in self._result.batches(progress or self._running):
            size += batch_size(batch)
            self._check(size)
            self._running.rows += batch.rows.length
            yield batch

    def within(self, content: bytes) -> bytes:
        """The answer, if it is not larger than it may be."""
        self._check(len(content))
        return content

    def _check(self, size: int) -> None:
        if self._limit and size > self._limit:
            raise MldbError(
                f"the answer has more than the {self._limit >> 20} MiB that the setting result-size allows: ask for "
                "fewer rows (LIMIT and OFFSET) or columns, or write a file with the procedure export.csv",
                code=413,
            )


def batch_size(batch: NamedBatch) -> int:
    """Bytes that the values of a batch take."""
    rows = batch.rows
    arrays = [batch.names, *rows.values, *([] if rows.rest is None else [rows.rest])]
    return sum(int(array.nbytes) for array in arrays)


def arrow_stream(result: QueryResult) -> bytes:
    """An Arrow IPC stream: ``_rowName``, a field per known column, and ``_rest`` for rows with further columns."""
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    writer = None
    for batch in result.batches():
        names = ["_rowName", *(format_path(column.path) for column in batch.rows.type.columns)]
        arrays = [batch.names, *batch.rows.values]
        if batch.rows.rest is not None:
            names.append("_rest")
            arrays.append(batch.rows.rest)
        table = pa.Table.from_arrays(arrays, names)
        if writer is None:
            writer = pa.ipc.new_stream(sink, table.schema)
        writer.write_table(table)
    if writer is None:
        writer = pa.ipc.new_stream(sink, pa.schema([("_rowName", pa.string())]))
    writer.close()
    content: bytes = sink.getvalue().to_pybytes()
    return content


def _limit(host: Host, running: RunningQuery) -> threading.Timer | None:
    """Stop the query when the setting query-timeout says so."""
    seconds = host.settings.query_timeout
    if not seconds:
        return None
    text = f"the query was stopped: it took longer than the {seconds:g} s that the setting query-timeout allows"
    timer = threading.Timer(seconds, running.stop, [MldbError(text, code=408)])
    timer.daemon = True
    timer.start()
    return timer
