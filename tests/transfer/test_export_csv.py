"""export.csv (entity-types.md §3.5)."""

from __future__ import annotations

import gzip
import io
import re

import pytest

from server.entities.progress import TaskProgress
from server.errors import MldbError
from server.transfer.export_csv import CsvWriter, Table, write_columns, write_rows


def exported(bench, query, name="out.csv", **params):
    bench.run("export.csv", exportData=query, dataFileUrl=bench.url(name), **params)
    raw = (bench.root / name).read_bytes()
    return (gzip.decompress(raw) if name.endswith("gz") else raw).decode()


@pytest.fixture
def abc(bench):
    bench.dataset(
        "t", [("1", [("A", "A1")]), ("2", [("B", "B2")]), ("3", [("C", "C3")]), ("4", [("A", "A4"), ("C", "C4")])]
    )
    return bench


def test_all_columns(abc):
    assert exported(abc, "SELECT * FROM t ORDER BY rowName()") == "A,B,C\nA1,,\n,B2,\n,,C3\nA4,,C4\n"


def test_row_names_and_no_header(abc):
    query = "SELECT rowName() AS rowName, * FROM t ORDER BY rowName()"
    assert exported(abc, query, headers=False) == "1,A1,,\n2,,B2,\n3,,,C3\n4,A4,,C4\n"


def test_columns_named_twice_and_missing(abc):
    query = "SELECT 'foo' AS foo, bar, rowName() AS rowName, *, B, B AS D FROM t ORDER BY rowName()"
    assert exported(abc, query).split("\n") == [
        "foo,bar,rowName,A,B,C,B,D",
        "foo,,1,A1,,,,",
        "foo,,2,,B2,,B2,B2",
        "foo,,3,,,C3,,",
        "foo,,4,A4,,C4,,",
        "",
    ]


def test_order_by_an_alias_of_a_doubled_column(abc):
    query = "SELECT B, B, rowName() AS n FROM t ORDER BY n DESC LIMIT 2"
    assert exported(abc, query) == "B,B,n\n,,4\n,,3\n"


def test_rows_as_values(bench):
    bench.dataset("p", [("0", [("x.a", 1), ("x.b", 2)])], "tabular")
    assert exported(bench, "SELECT x AS x FROM p") == "x.a,x.b\n1,2\n"


def test_quoting(bench):
    bench.dataset("q", [("0", [("a", 'say "x"'), ("b", "1,2"), ("c", "two\nlines"), ("d", " blank ")])])
    assert exported(bench, "SELECT a, b, c, d FROM q") == 'a,b,c,d\n"say ""x""","1,2",two\nlines, blank \n'
    assert exported(bench, "SELECT a, b FROM q", delimiter=";", quoteChar="'") == 'a;b\nsay "x";1,2\n'


@pytest.mark.parametrize(
    ("params", "error"),
    [
        ({"delimiter": "::"}, "delimiter must be 1 char long."),
        ({"delimiter": ""}, "delimiter must be 1 char long."),
        ({"quoteChar": ""}, "Quotechar must be 1 char long."),
        ({"quoteChar": "''"}, "Quotechar must be 1 char long."),
        ({"exportData": "SELECT 1"}, "export.csv must contain a FROM clause"),
    ],
)
def test_mistakes_are_told_when_it_is_made(bench, params, error):
    with pytest.raises(MldbError, match=re.escape(error)):
        bench.run("export.csv", **{"exportData": "SELECT a FROM q", "dataFileUrl": bench.url("m.csv")} | params)


@pytest.mark.parametrize("delimiter", [",", "\t", "|", "é", "."])
@pytest.mark.parametrize("quote", ['"', "'"])
def test_column_by_column_as_row_by_row(bench, delimiter, quote):
    values = ['say "x"', "it's", "a,b\tc||dé.", "", None, "two\nlines", 1, -2.5, True]
    rows = [(str(number), [("a", value), ("b", number / 3)]) for number, value in enumerate(values)]
    bench.dataset("q", rows, "tabular")
    writer, progress = CsvWriter(delimiter, quote), TaskProgress()
    table = Table(bench.services.query("SELECT a, b, a IS NULL AS c FROM q"), [("a",), ("b",), ("c",)], prefixed=False)
    assert table.columnar
    by_column, by_row = io.BytesIO(), io.BytesIO()
    write_columns(by_column, writer, table, progress)
    write_rows(by_row, writer, table.rows(False, progress), progress)
    assert by_column.getvalue() == by_row.getvalue()


def test_numbers(bench):
    bench.dataset("n", [("0", [("a", 1), ("b", 1.5), ("c", 1e300), ("d", float("nan"))])])
    assert exported(bench, "SELECT a, b, c, d FROM n").split("\n")[1] == "1,1.5,1e300,nan"


def test_packed(abc):
    assert exported(abc, "SELECT A FROM t WHERE A IS NOT NULL ORDER BY rowName()", "o/p.csv.gz") == "A\nA1\nA4\n"


def test_several_values(bench):
    bench.services.create("dataset", {"id": "m", "type": "sparse.mutable", "params": {}})
    dataset = bench.services.dataset("m")
    dataset.record_rows([(("r",), [(("x",), 1, 1.0), (("x",), 2, 2.0), (("y",), 3, 1.0)])])
    dataset.commit()
    with pytest.raises(MldbError) as caught:
        exported(bench, "SELECT * FROM m")
    text = "CSV export does not work over cells having multiple values, at row 'r' for column 'x'"
    assert caught.value.message == text
    assert not (bench.root / "out.csv").exists()
    assert exported(bench, "SELECT * FROM m", skipDuplicateCells=True).startswith("x,y\n")


def test_nowhere_to_write(abc):
    with pytest.raises(MldbError, match="outside the folders"):
        abc.run("export.csv", exportData="SELECT * FROM t", dataFileUrl="file:///etc/out.csv")


def test_no_code_into_plugin_folders(abc):
    for name in ("main.py", "static/index.html", "MLDB_PLUGIN.JSON", "a.Js"):
        with pytest.raises(MldbError, match="plugin folder"):
            abc.run("export.csv", exportData="SELECT * FROM t", dataFileUrl=f"file:///mldb_data/plugins/p/{name}")
    abc.run("export.csv", exportData="SELECT * FROM t", dataFileUrl="file:///mldb_data/plugins/p/data.csv")


def test_import_what_was_exported(bench):
    cells = [("i", 7), ("f", -2.25), ("s", 'a "b", c'), ("e", "é ö")]
    bench.dataset("w", [("r", cells)])
    exported(bench, "SELECT i, f, s, e FROM w")
    bench.run("import.text", dataFileUrl=bench.url("out.csv"), outputDataset="back")
    assert list(bench.rows("SELECT * FROM back").values()) == [dict(cells)]
