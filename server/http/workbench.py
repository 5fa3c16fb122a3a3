"""What editors of queries need beside ``/v1/query``: the dialect's functions, the compiled form, results as files."""

from __future__ import annotations

import csv
import functools
import io
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import orjson

from server import tasks
from server.declarations import QueryResult
from server.entities.json_answers import FreeForm, Typed
from server.entities.parameters import Param
from server.entities.queries import WatchedResult
from server.entities.routes import Call, Reply
from server.errors import MldbError
from server.http.answers import ARROW, BOOLEAN, IDS, TEXT, answers, array, members, ref
from server.http.arrowstream import arrow_stream
from server.http.host import Host
from server.http.limits import limited
from server.messages import Response
from server.values.batches import RowType
from server.values.kinds import Kind
from server.values.paths import format_path, parse_path

if TYPE_CHECKING:
    import pyarrow as pa

_ROW_NAME: Final = "_rowName"
_ROWS_OF_FILE: Final = 65_536  # of a Parquet row group
_FARTHEST: Final = 9.2e12  # seconds from 1970 that 64 bits of microseconds hold


def register(host: Host) -> None:
    add = host.resources.add
    bind = functools.partial
    query = Param("q", "", help="SQL text")
    add(
        "GET",
        "/v1/dialect",
        _dialect,
        summary="The functions of SQL: signature, meaning, NULL rule, example",
        replies=answers(members({"functions": array(ref("Function"))})),
    )
    add(
        "GET", "/v1/query/plan", bind(_plan, host), query,
        summary="How a query is compiled, without running it",
        replies=answers(members({"sql": TEXT, "columns": IDS, "open": BOOLEAN, "plan": TEXT})),
        result="{sql, plan, columns}",
    )  # fmt: skip
    add(
        "GET", "/v1/query/check", bind(_check, host), query,
        summary="Whether a query can be compiled",
        replies=answers(members({"error": {"anyOf": [ref("Error"), {"type": "null"}]}})),
        result="{error}: null, or the error body that the query would get",
    )  # fmt: skip
    add(
        "GET", "/v1/query/export", bind(_export, host), query,
        Param("format", "csv", help="csv, json, parquet or arrow"), summary="The result of a query as a file",
        replies=tuple(Reply(200, None, media) for media, _ in _FORMS.values()),
    )  # fmt: skip


def _dialect(_: Call) -> Typed:
    from server.sql.reference import reference

    functions = [
        {"name": one.name, "signature": one.signature, "summary": one.summary, "family": title, "example": one.example,
         "null": one.null[0]}
        for title, notes in reference()
        for one in notes
    ]  # fmt: skip
    return Typed({"functions": functions})


def _plan(host: Host, call: Call) -> Typed:
    result = host.services.engine.query(call["q"])
    columns = [format_path(column.path) for column in result.type.columns]
    statements, plans = zip(*result.explain(), strict=True)
    shown = {"sql": ";\n".join(statements), "columns": columns, "open": result.type.open}
    return Typed(shown | {"plan": "\n".join(plans)})


def _check(host: Host, call: Call) -> FreeForm:
    try:
        host.services.engine.query(call["q"])
    except MldbError as error:
        return FreeForm({"error": error.body()})
    return FreeForm({"error": None})


def _export(host: Host, call: Call) -> Response:
    form = _FORMS.get(call["format"])
    if form is None:
        raise MldbError(f"Unknown file format '{call['format']}': csv, json, parquet or arrow")
    kind, write = form
    with limited(host, call, call["q"]) as running:
        content = running.within(write(WatchedResult(host.services.query(call["q"]))))
    name = f"result.{call['format']}"
    return Response(200, content, kind, [("Content-Disposition", f'attachment; filename="{name}"')])


# ── files ────────────────────────────────────────────────────────────────────────────────────────────────────


def _csv(result: QueryResult) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for line in _lines(result):
        tasks.check()
        writer.writerow([_as_text(value) if isinstance(value, list | dict) else value for value in line])
    return text.getvalue().encode("utf-8", "replace")


def _json(result: QueryResult) -> bytes:
    from server.sql.formats import render

    return render(result, "aos", row_names=True)


def _lines(result: QueryResult) -> list[list[Any]]:
    """The names of the columns, then the rows, as JSON has them: timestamps as texts, a column for each element."""
    from server.sql.formats import render

    lines: list[list[Any]] = orjson.loads(render(result, "table"))
    if not lines:
        return [[_ROW_NAME, *(format_path(column.path) for column in result.type.columns)]]
    return lines if result.type.open else _as_selected(lines, result.type)


def _as_selected(lines: list[list[Any]], type: RowType) -> list[list[Any]]:
    """The columns in the order of the query; those of an embedding where it stands."""
    places = {column.path: number for number, column in enumerate(type.columns)}

    def place(index: int) -> int:
        path = parse_path(lines[0][index])
        while path and path not in places:
            path = path[:-1]
        return places.get(path, len(places))

    order = [0, *sorted(range(1, len(lines[0])), key=place)]
    return [[line[index] for index in order] for line in lines]


def _parquet(result: QueryResult) -> bytes:
    import pyarrow as pa
    from pyarrow import parquet

    sink = pa.BufferOutputStream()
    table = _table_of_lines(_lines(result)) if result.type.open else _table(result)
    parquet.write_table(table, sink, row_group_size=_ROWS_OF_FILE)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def _table(result: QueryResult) -> pa.Table:
    """The rows with columns that files can hold: values of mixed types become JSON texts."""
    import pyarrow as pa

    kinds = [Kind.PATH, *(column.kind for column in result.type.columns)]
    names = [_ROW_NAME, *(format_path(column.path) for column in result.type.columns)]
    tables = []
    for batch in result.batches():
        arrays = [batch.names, *batch.rows.values]
        tables.append(pa.Table.from_arrays([_plain(*each) for each in zip(arrays, kinds, strict=True)], names))
    if not tables:
        return pa.table({name: pa.array([], pa.string()) for name in names})
    return pa.concat_tables(tables, promote_options="permissive")


def _plain(array: Any, kind: Kind) -> Any:
    import pyarrow as pa

    if kind is Kind.TIMESTAMP:
        return pa.array(map(_moment, array.to_pylist()), pa.timestamp("us", "UTC"))
    mixed = pa.types.is_union(array.type) or (
        pa.types.is_list(array.type) and pa.types.is_nested(array.type.value_type)
    )
    if not mixed:
        return array
    return pa.array([None if value is None else _as_text(value) for value in array.to_pylist()], pa.string())


def _moment(seconds: float | None) -> int | None:
    """Microseconds since 1970; None of what is no date, or so far off that nobody's files can hold it."""
    if seconds is None or not abs(seconds) < _FARTHEST:
        return None
    return round(seconds * 1e6)


def _table_of_lines(lines: list[list[Any]]) -> pa.Table:
    """Rows whose columns showed with the rows: each column of the type that all its values have, or of texts."""
    import pyarrow as pa

    names, *rows = lines
    columns = zip(*rows, strict=True) if rows else ([] for _ in names)
    return pa.Table.from_arrays([_uniform(list(column)) for column in columns], names)


def _uniform(values: list[Any]) -> Any:
    import pyarrow as pa

    kinds = {type(value) for value in values if value is not None}
    if kinds == {int} and all(abs(value) < 1 << 63 for value in values if value is not None):
        return pa.array(values, pa.int64())
    if kinds and kinds <= {int, float}:
        return pa.array([None if value is None else float(value) for value in values], pa.float64())
    return pa.array([None if value is None else _as_text(value) for value in values], pa.string())


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


_FORMS: Final[dict[str, tuple[str, Callable[[QueryResult], bytes]]]] = {
    "csv": ("text/csv", _csv),
    "json": ("application/json", _json),
    "parquet": ("application/vnd.apache.parquet", _parquet),
    "arrow": (ARROW, arrow_stream),
}
