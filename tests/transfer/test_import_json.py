"""import.json (entity-types.md §3.3)."""

from __future__ import annotations

import pytest

from server.errors import MldbError

LINES = """{"colA":1,"colB":"pwet pwet"}
{"colA":2,"colB":"pwet pwet 2"}
{"colA":3,"colC":{"a":1,"b":2}}
{"colD":[{"a":1},{"b":2}]}
{"colD":[1,"abc",true]}
{"colC":{"a":{"b":2}},"n":null}
"""


def present(rows):
    return {name: {path: value for path, value in row.items() if value is not None} for name, row in rows.items()}


def imported(bench, content=LINES, **params):
    status = bench.run("import.json", dataFileUrl=bench.file("f.json", content), outputDataset="x", **params)
    return status, present(bench.rows("SELECT * FROM x"))


def refusal(bench, **params):
    with pytest.raises(MldbError) as caught:
        imported(bench, **params)
    return caught.value


def test_arrays_parsed(bench):
    status, rows = imported(bench)
    assert status == {"rowCount": 6, "numLineErrors": 0}
    assert rows["1"] == {"colA": 1, "colB": "pwet pwet"}
    assert rows["3"] == {"colA": 3, "colC.a": 1, "colC.b": 2}
    assert rows["4"] == {"colD.0.a": 1, "colD.1.b": 2}
    assert rows["5"] == {"colD.0": 1, "colD.1": "abc", "colD.2": 1}
    assert rows["6"] == {"colC.a.b": 2}


def test_arrays_encoded(bench):
    _, rows = imported(bench, arrays="encode")
    assert rows["4"] == {"colD.0": '{"a":1}', "colD.1": '{"b":2}'}
    assert rows["5"] == {"colD.1": 1, "colD.abc": 1, "colD.true": 1}


def test_select(bench):
    _, _ = imported(bench, select="colA")
    assert bench.rows("SELECT * FROM x") == {str(n): {"colA": n if n < 4 else None} for n in range(1, 7)}


def test_where(bench):
    status, rows = imported(bench, where="colA IN (1, 2)")
    assert list(rows) == ["1", "2"]
    assert status == {"rowCount": 2, "numLineErrors": 0}


def test_named(bench):
    _, rows = imported(bench, named="lineNumber() - 1")
    assert list(rows) == ["0", "1", "2", "3", "4", "5"]
    _, rows = imported(bench, named="colB", where="colB IS NOT NULL")
    assert list(rows) == ["pwet pwet", "pwet pwet 2"]


def test_named_by_an_object(bench):
    assert refusal(bench, named="colC", where="colC IS NOT NULL").message.startswith("Cannot convert value of type")


def test_staging_leaves_no_dataset(bench):
    imported(bench, where="colA = 1")
    refusal(bench, select="nothing(colA)")
    with bench.services.database.cursor() as cursor:
        tables = cursor.execute("SELECT table_name FROM duckdb_tables() WHERE starts_with(table_name, 'd_')").fetchall()
    assert len({name for (name,) in tables}) == 1


def test_limit_and_offset(bench):
    _, rows = imported(bench, limit=2, offset=1)
    assert list(rows) == ["2", "3"]


DEEP = f'{{"a":{"[" * 600}1{"]" * 600}}}'


@pytest.mark.parametrize("line", ["", "{", "[1]", "3", '{"a":1} x', "{'a':1}", DEEP])
def test_bad_lines(bench, line):
    content = f'{{"a":1}}\n{line}\n{{"a":3}}\n'
    error = refusal(bench, content=content)
    assert error.message.startswith("Error parsing JSON row: ")
    assert error.details["lineNumber"] == 2
    assert "line 1" not in error.message
    status, rows = imported(bench, content, ignoreBadLines=True)
    assert status == {"rowCount": 2, "numLineErrors": 1}
    assert rows == {"1": {"a": 1}, "3": {"a": 3}}


def test_a_file_is_needed(bench):
    for params in ({}, {"dataFileUrl": ""}):
        with pytest.raises(MldbError) as caught:
            bench.run("import.json", outputDataset="x", **params)
        assert caught.value.message == "dataFileUrl is a required property and must not be empty"


def test_unknown_columns_as_errors(bench):
    url = bench.file("f.json", LINES)
    output = {"id": "x", "params": {"unknownColumns": "error"}}
    with pytest.raises(MldbError, match="unknownColumns=ERROR"):
        bench.run("import.json", dataFileUrl=url, outputDataset=output)


def test_sparse_output(bench):
    url = bench.file("f.json", LINES)
    bench.run("import.json", dataFileUrl=url, outputDataset={"id": "y", "type": "sparse.mutable"})
    assert present(bench.rows("SELECT colA, colB FROM y"))["2"] == {"colA": 2, "colB": "pwet pwet 2"}


def test_columns_of_lines_left_out_are_not_there(bench):
    bench.run("import.json", dataFileUrl=bench.file("f.json", LINES), outputDataset="x", where="colA IN (1, 2)")
    layout = bench.services.dataset("x").layout()
    assert {column.path: column.sparse for column in layout.columns}[("colC", "a")]


def test_binary_output_has_no_nulls(bench):
    url = bench.file("f.json", '{"a":1,"b":null}\n{"a":1,"c":1}\n{"b":null}')
    bench.run("import.json", dataFileUrl=url, outputDataset={"id": "y", "type": "beh.binary.mutable"})
    assert present(bench.rows("SELECT * FROM y")) == {"1": {"a": 1}, "2": {"a": 1, "c": 1}, "3": {}}
