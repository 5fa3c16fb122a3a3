"""Values of every kind go in and come out the same: each way in, each output format, and Arrow."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pytest
from pymldb.frames import to_arrow

from server.http.query import arrow_stream
from server.sql.formats import render
from tests.inprocess import InProcess, in_process

LONG_AGO = -2208988800.25  # seconds: in 1899


@dataclass(frozen=True)
class Form:
    """A value as JSON of cells, as the ``table`` format shows it, and as Arrow gives it to Python."""

    name: str
    cell: Any
    table: Any
    arrow: Any


def num(text: str, value: float) -> Form:
    return Form(text, {"num": text}, text, value)


def plain(name: str, value: Any) -> Form:
    return Form(name, value, value, value)


def instant(text: str, seconds: float) -> Form:
    return Form(f"ts {text}", {"ts": text}, text, seconds)


def interval(text: str, months: int, days: int, seconds: float) -> Form:
    return Form(f"interval {text}", {"interval": text}, text, {"months": months, "days": days, "seconds": seconds})


def blob(name: str, runs: list[Any], value: bytes) -> Form:
    return Form(f"blob {name}", {"blob": runs}, {"blob": runs}, value)


def path(text: str, elements: list[str]) -> Form:
    return Form(f"path {text}", {"path": elements}, text, text)


FORMS = [
    *(plain(f"integer {number}", number) for number in (0, -5, 2**53, 2**53 + 1, 2**63 - 1, -(2**63), 2**64 - 1)),
    *(plain(f"number {number}", number) for number in (0.5, -1.25, 1e300, 5e-324, 1.7976931348623157e308, 1e19 / 3)),
    num("NaN", math.nan), num("Inf", math.inf), num("-Inf", -math.inf),
    *(plain(f"text {text!r}", text) for text in ("", "a", "é日本😀", "it's \"so\"", "two\nlines\t")),
    *(plain(f"text {text!r}", text) for text in ("\u0000", "null", "1.5")),
    instant("1970-01-01T00:00:00Z", 0), instant("2015-01-03T10:11:12.25Z", 1420279872.25),
    instant("1899-12-31T23:59:59.75Z", LONG_AGO), instant("Inf", math.inf), instant("-Inf", -math.inf),
    interval("3 MONTH 14D 1S", 3, 14, 1.0), interval("-1D", 0, -1, -0.0), interval("0S", 0, 0, 0.0),
    interval("1Y 2D 3H 0M 0S", 12, 2, 10800.0), interval("-2.5S", 0, 0, -2.5),
    blob("text", ["abc"], b"abc"), blob("bytes", [0, 255, "ab", 7, 65], b"\x00\xffab\x07A"),
    path("a", ["a"]), path("a.b", ["a", "b"]), path('"x.y".z', ["x.y", "z"]), path('""', [""]), path("é", ["é"]),
]  # fmt: skip
NULL = Form("null", None, None, None)
ALL = [*FORMS, NULL]
IDS = [form.name for form in ALL]
STORES = {"sparse": "sparse.mutable", "dense": "tabular", "mixed sparse": "sparse.mutable", "mixed dense": "tabular"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcess]:
    """Each value in a column of its own (typed where the dataset types its columns), and all in one column."""
    with in_process(tmp_path_factory.mktemp("server") / "data") as server:
        for name, type_ in STORES.items():
            params = {"unknownColumns": "add"} if type_ == "tabular" else {}
            address = f"/v1/datasets/{name.replace(' ', '%20')}"
            server.must("PUT", address, {"type": type_, "params": params})
            rows = [
                [f"r{number}", [["v" if name.startswith("mixed") else f"v{number}", form.cell, 5]]]
                for number, form in enumerate(ALL)
            ]
            server.must("POST", f"{address}/multirows", rows)
            server.must("POST", f"{address}/commit")
        yield server


def same(got: Any, wanted: Any) -> bool:
    """Equal, NaN being equal to itself, and -0.0 (the sign of an interval) not to 0.0."""
    if isinstance(wanted, dict) and isinstance(got, dict):
        return got.keys() == wanted.keys() and all(same(got[key], wanted[key]) for key in wanted)
    if isinstance(wanted, float) and isinstance(got, int | float):
        return (got != got and wanted != wanted) or (
            got == wanted and (wanted != 0 or math.copysign(1, got) == math.copysign(1, wanted))
        )
    return bool(got == wanted)


def check_formats(server: InProcess, query: str, form: Form, parameters: dict[str, Any] | None = None) -> None:
    """A query of one row and one column ``v`` in every format."""

    def shown(format: str) -> Any:
        result = server.engine.query(query, parameters=parameters, timestamps=format == "full")
        return json.loads(render(result, format))

    ((row),) = shown("full")
    ((name, value, _),) = row["columns"]
    assert name == "v"
    assert same(value, form.cell)
    assert same(shown("table")[1][1], form.table)
    assert same(shown("aos")[0]["v"], form.cell)
    assert same(shown("soa")["v"][0], form.cell)
    assert same(shown("sparse")[0][1][1], form.cell)
    assert same(shown("atom"), form.cell)
    stream = arrow_stream(server.engine.query(query, parameters=parameters))
    table = to_arrow(stream)
    assert table.column_names == ["_rowName", "v"]
    given = table["v"].to_pylist()[0]  # a moment, where all values of the column are timestamps
    assert same(given.timestamp() if isinstance(given, datetime) else given, form.arrow)


@pytest.mark.parametrize("form", ALL, ids=IDS)
@pytest.mark.parametrize("store", STORES)
def test_recorded(server: InProcess, store: str, form: Form) -> None:
    number = ALL.index(form)
    column = "v" if store.startswith("mixed") else f"v{number}"
    check_formats(server, f"SELECT {column} AS v FROM \"{store}\" WHERE rowName() = 'r{number}'", form)


@pytest.mark.parametrize("form", ALL, ids=IDS)
def test_parameter_of_a_query(server: InProcess, form: Form) -> None:
    check_formats(server, "SELECT $v AS v", form, {"v": form.cell})


@pytest.mark.parametrize("form", ALL, ids=IDS)
def test_input_of_a_function(server: InProcess, form: Form) -> None:
    server.must("PUT", "/v1/functions/same_again", {"type": "sql.expression", "params": {"expression": "v AS v"}})
    answer = server.must("GET", "/v1/functions/same_again/application", {"input": {"v": form.cell}})
    assert same(answer["output"]["v"], form.cell)
    server.must("DELETE", "/v1/functions/same_again")


@pytest.mark.parametrize("form", FORMS, ids=IDS[:-1])
def test_stored_again(server: InProcess, form: Form) -> None:
    """A query's rows as a dataset: through the engine into another store and out."""
    number = ALL.index(form)
    for source, type_ in (("mixed sparse", "tabular"), ("mixed dense", "sparse.mutable")):
        query = f"SELECT v FROM \"{source}\" WHERE rowName() = 'r{number}'"
        output = {"id": "again", "type": type_}
        server.must("PUT", "/v1/datasets/again", {"type": type_})
        server.must("DELETE", "/v1/datasets/again")
        params = {"inputData": query, "outputDataset": output, "runOnCreation": True}
        server.must("PUT", "/v1/procedures/again", {"type": "transform", "params": params})
        check_formats(server, "SELECT v FROM again", form)
        server.must("DELETE", "/v1/datasets/again")
        server.must("DELETE", "/v1/procedures/again")


def test_nested_rows(server: InProcess) -> None:
    """Rows in rows, lists and empty ones, as a parameter and as a function's input, in every format."""
    row = {"a": {"b": 1, "c.d": {"e": None}}, "l": [1, 2.5, 3], "m": [[1, 2], [3, 4]], "n": {}, "t": {"ts": "Inf"}}
    flat = {
        "a.b": 1, 'a."c.d".e': None, "l.0": 1, "l.1": 2.5, "l.2": 3, "m.0.0": 1, "m.0.1": 2, "m.1.0": 3, "m.1.1": 4,
        "t": {"ts": "Inf"},
    }  # fmt: skip
    query = "SELECT $r AS *"

    def shown(format: str) -> Any:
        result = server.engine.query(query, parameters={"r": row}, timestamps=format == "full")
        return json.loads(render(result, format))

    assert {name: value for name, value, _ in shown("full")[0]["columns"]} == flat
    assert dict(zip(*shown("table"), strict=True)) == {"_rowName": "result", **flat, "t": "Inf"}
    assert shown("aos") == [{"_rowName": "result", **flat}]
    assert shown("soa") == {"_rowName": ["result"], **{name: [value] for name, value in flat.items()}}
    assert dict(shown("sparse")[0]) == {"_rowName": "result", **flat}
