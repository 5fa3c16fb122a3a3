"""import.text from file to dataset (entity-types.md §3.2)."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile

import lz4.frame
import numpy as np
import pyarrow as pa
import pytest
import zstandard

from server.errors import MldbError
from server.storage.layouts import Wide
from server.transfer.csvblocks import Block
from server.transfer.staging import Staging
from server.values.kinds import Kind


def imported(bench, content, **params):
    """Rows of a file imported with these parameters."""
    bench.run("import.text", dataFileUrl=bench.file("f.csv", content), outputDataset="x", **params)
    return bench.rows("SELECT * FROM x")


def refusal(bench, content, **params):
    with pytest.raises(MldbError) as caught:
        imported(bench, content, **params)
    return caught.value


def test_header_and_row_names(bench):
    status = bench.run("import.text", dataFileUrl=bench.file("a.csv", "a,b,c\nd,e,f\n"), outputDataset="x")
    assert status == {"rowCount": 1, "numLineErrors": 0}
    assert bench.rows("SELECT * FROM x") == {"2": {"a": "d", "b": "e", "c": "f"}}


def test_generated_headers(bench):
    rows = imported(bench, "a,b\nd,e\n", autoGenerateHeaders=True)
    assert rows == {"1": {"0": "a", "1": "b"}, "2": {"0": "d", "1": "e"}}


def test_given_headers(bench):
    assert imported(bench, "1,x\n2,y\n", headers=["n", "s"]) == {"1": {"n": 1, "s": "x"}, "2": {"n": 2, "s": "y"}}


def test_whole_lines(bench):
    rows = imported(bench, 'a,"b\nc d\n', delimiter="", quoteChar="")
    assert rows == {"1": {"lineText": 'a,"b'}, "2": {"lineText": "c d"}}
    assert imported(bench, "a\n", delimiter="", quoteChar="", headers=["t"]) == {"1": {"t": "a"}}


@pytest.mark.parametrize(
    ("cell", "atom"),
    [
        ("", None),
        ('""', None),
        ("12", 12),
        ('"12"', 12),
        ("+7", 7),
        (" 7", 7),
        ("007", 7),
        ("1.0", 1),
        ("1e3", 1000),
        ("0x1A", 26),
        ("-.5", -0.5),
        ("inf", float("inf")),
        ("-INFINITY", float("-inf")),
        ("9007199254740993", 9007199254740993),
        ("18446744073709551615", 18446744073709551615),
        ("18446744073709551616", 18446744073709551616.0),
        ("7 x", "7 x"),
        ("1_000", "1_000"),
        ("2020-01-01", "2020-01-01"),
        ("é", "é"),
        ("１２", "１２"),
        ('="007"', 7),
        ('="x"', "x"),
        ("0x", "0x"),
        ("e5", "e5"),
        ("true", "true"),
    ],
)
def test_what_a_cell_is(bench, cell, atom):
    (row,) = imported(bench, f"a,b\n{cell},0\n").values()
    assert row == {"a": atom, "b": 0}


def test_nan_cell(bench):
    (row,) = imported(bench, "a,b\nnan,0\n").values()
    assert row["a"] != row["a"]


def test_a_blank_behind_a_number_makes_it_text(bench):
    rows = imported(bench, "a,b\n1 ,2\n3,4\n")
    assert [row["a"] for row in rows.values()] == ["1 ", 3]


def test_columns_of_one_kind_are_native(bench):
    imported(bench, "i,n,s,m,e\n1,1.5,x,1,\n2,2,y,z,\n")
    layout = bench.services.dataset("x").layout()
    assert isinstance(layout, Wide)
    assert [column.kind for column in layout.columns] == [Kind.INTEGER, Kind.NUMBER, Kind.STRING, Kind.ANY, Kind.NULL]
    assert layout.numbered


@pytest.mark.parametrize(
    "content",
    ["a,b\n1.0,\n1.0,1.0\n1.0,\"hello\"\n", "a,b\r\n1.0,\r\n1.0,1.0\r\n1.0,\"hello\"\r\n", "a,b\n1,\n1,1\n1,hello",
     "a,b \n1, \t\n1,1\t\r\n1,hello\n\n\r\n  \n"],
)  # fmt: skip
def test_ends_of_lines(bench, content):
    rows = imported(bench, content)
    assert [(row["a"], row["b"]) for row in rows.values()] == [(1, None), (1, 1), (1, "hello")]


def test_one_missing_cell_is_null(bench):
    assert imported(bench, "a,b,c\n1,2\n") == {"2": {"a": 1, "b": 2, "c": None}}


def test_trailing_comma_on_the_header(bench):
    assert imported(bench, "a,b,\n1,2,\n3,4\n") == {"2": {"a": 1, "b": 2}, "3": {"a": 3, "b": 4}}


@pytest.mark.parametrize("content", ["", "\n\n", "a,b\n", "a,b"])
def test_nothing_to_import(bench, content):
    assert imported(bench, content) == {}


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("", "empty line"),
        ("1,2,3,4", "too many columns in row"),
        ("1", "not enough columns in row"),
        ('1,2,"x', "Unclosed quoted CSV value"),
        ('1,"x"y,3', "Garbage after closing quote"),
    ],
)
def test_bad_lines(bench, line, why):
    error = refusal(bench, f"a,b,c\n1,2,3\n{line}\n4,5,6\n")
    assert error.message.partition(";")[0] == f"Error parsing CSV row: {why}"
    assert error.details["lineNumber"] == 3
    assert error.details["line"] == line
    assert "columnNumber" in error.details
    content = f"a,b,c\n1,2,3\n{line}\n4,5,6\n"
    url = bench.file("f.csv", content)
    status = bench.run("import.text", dataFileUrl=url, outputDataset="x", ignoreBadLines=True)
    assert status == {"rowCount": 2, "numLineErrors": 1}
    assert list(bench.rows("SELECT * FROM x")) == ["2", "4"]


def test_plain_quotes_inside_a_cell(bench):
    rows = imported(bench, 'a,b\nSports, " hockey "\n5"x,y""z\n')
    assert list(rows.values()) == [{"a": "Sports", "b": ' " hockey "'}, {"a": '5"x', "b": 'y""z'}]


def test_doubled_quotes(bench):
    assert imported(bench, 'a,b\n"say ""hi"", now","a,b"\n') == {"2": {"a": 'say "hi", now', "b": "a,b"}}


def test_multi_line_cells(bench):
    content = 'a,"b\nb"\n1,"x\ny"\n2\n3,4\n5\n,6\n'
    url = bench.file("m.csv", content)
    bench.run("import.text", dataFileUrl=url, outputDataset="x", allowMultiLines=True)
    assert bench.rows("SELECT * FROM x") == {
        "2": {"a": 1, "b b": "x y"},
        "3": {"a": 2, "b b": None},
        "4": {"a": 3, "b b": 4},
        "5": {"a": 5, "b b": None},
        "6": {"a": None, "b b": 6},
    }


def test_multi_line_rows_with_too_few_cells(bench):
    rows = imported(bench, "a,b,c\n1\n,2,3\n4,5,6\n", allowMultiLines=True)
    assert rows == {"2": {"a": "1 ", "b": 2, "c": 3}, "3": {"a": 4, "b": 5, "c": 6}}


def test_multi_line_quote_left_open(bench):
    assert refusal(bench, 'a,b\n1,"x\n2,3\n', allowMultiLines=True).message.endswith("Unclosed quoted CSV value")


def test_limit_and_offsets(bench):
    content = "junk\nmore junk\na\n" + "".join(f"{n}\n" for n in range(10))
    rows = imported(bench, content, preHeaderOffset=2, offset=3, limit=4)
    assert rows == {str(n + 4): {"a": n} for n in range(3, 7)}
    assert imported(bench, "a\n1\n2\n", limit=0) == {}


def test_bad_lines_count_for_the_limit(bench):
    assert list(imported(bench, "a,b\n1,2\n\n3,4\n5,6\n", limit=3, ignoreBadLines=True)) == ["2", "4"]


def test_skipped_lines(bench):
    rows = imported(bench, "# one\na\n1\n# two\r\n2\n#\n", skipLineRegex="#.*")
    assert rows == {"3": {"a": 1}, "5": {"a": 2}}


def test_extra_columns(bench):
    assert imported(bench, "a,b\n1,2,3,4\n5,6\n", ignoreExtraColumns=True) == {
        "2": {"a": 1, "b": 2},
        "3": {"a": 5, "b": 6},
    }


def test_formulas_as_they_are(bench):
    assert imported(bench, 'a\n="007"\n', processExcelFormulas=False) == {"2": {"a": '="007"'}}


def test_structured_names(bench):
    bench.run(
        "import.text", dataFileUrl=bench.file("s.csv", "x.y,z\n1,2\n"), outputDataset="x", structuredColumnNames=True
    )
    assert [column.path for column in bench.services.dataset("x").layout().columns] == [("x", "y"), ("z",)]
    bench.run("import.text", dataFileUrl=bench.file("s.csv", "x.y,z\n1,2\n"), outputDataset="x")
    assert [column.path for column in bench.services.dataset("x").layout().columns] == [("x.y",), ("z",)]


@pytest.mark.parametrize(("encoding", "raw"), [("latin1", b"a\n\xe9t\xe9\n"), ("iso8859-1", b"a\n\xe9t\xe9\n"),
                                               ("utf8", "a\nété\n".encode())])  # fmt: skip
def test_encodings(bench, encoding, raw):
    assert imported(bench, raw, encoding=encoding) == {"2": {"a": "été"}}


def test_a_byte_order_mark_is_no_text(bench):
    assert imported(bench, b"\xef\xbb\xbfa\n1\n") == {"2": {"a": 1}}


@pytest.mark.parametrize("more", [{}, {"allowMultiLines": True}, {"select": "*"}])
def test_texts_that_stand_for_null(bench, more):
    content = 'a,b,c\n1,NA,NA\n-,2.5,x\n3,,"NA"\n'
    nothing = dict.fromkeys("abc")
    assert imported(bench, content, nullValues=["NA", "-"], **more) == {
        "2": nothing | {"a": 1},
        "3": nothing | {"b": 2.5, "c": "x"},
        "4": nothing | {"a": 3},
    }
    assert bench.rows("SELECT sum(a) AS a, sum(b) AS b FROM x") == {"[]": {"a": 4, "b": 2.5}}


def test_bad_lines_tell_what_would_read_them(bench):
    assert refusal(bench, 'a,b\n1,"x\ny"\n').message.endswith("needs allowMultiLines")
    assert "latin1" in refusal(bench, b"a,b\n\xff,1\n").message
    assert "latin1" in refusal(bench, b"a,b\n\xff,1\n", allowMultiLines=True).message


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "us-ascii"])
def test_badly_encoded(bench, encoding):
    assert refusal(bench, b"a\n\xff\n", encoding=encoding).message.startswith("Error parsing CSV row: ")
    assert imported(bench, b"a,b\nx\xffy,1\n", encoding=encoding, replaceInvalidCharactersWith="?") == {
        "2": {"a": "x?y", "b": 1}
    }
    assert imported(bench, b"a,b\nx\xffy,1\nz,2\n", encoding=encoding, ignoreBadLines=True) == {"3": {"a": "z", "b": 2}}


@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({"autoGenerateHeaders": True, "headers": ["a"]}, "autoGenerateHeaders cannot be true if headers is defined."),
        ({"delimiter": ",,"}, "Separator string must have one character"),
        ({"quoteChar": "''"}, "Quoter string must have one character"),
        ({"delimiter": ""}, "Separator string must not be empty if we have a quoter string"),
        (
            {"delimiter": "", "quoteChar": "", "headers": ["a", "b"]},
            "Custom CSV header must have exactly one element if there is no delimiter",
        ),
        (
            {"encoding": "utf-32"},
            "Unknown encoding 'utf-32'for import.text parser: accepted are 'us-ascii', 'ascii', 'utf-8', 'utf8', "
            "'latin1', 'iso8859-1'",
        ),
        ({"headers": ["a", "a"]}, "Duplicate column name in CSV file"),
    ],
)
def test_refused_parameters(bench, params, text):
    assert refusal(bench, "1,2\n", **params).message == text


def test_a_missing_file(bench):
    with pytest.raises(MldbError, match="No such file or directory"):
        bench.run("import.text", dataFileUrl=bench.url("none.csv"), outputDataset="x")


@pytest.mark.parametrize(
    ("delimiter", "content"), [("\t", "a\tb\n1\tx y\n"), ("|", "a|b\n1|x y\n"), ("é", "aéb\n1éx y\n")]
)
def test_delimiters(bench, delimiter, content):
    assert imported(bench, content, delimiter=delimiter) == {"2": {"a": 1, "b": "x y"}}


def test_a_delimiter_that_never_occurs(bench):
    assert imported(bench, "a b\n1 2\n", delimiter="\t") == {"2": {"a b": "1 2"}}


def test_long_cells(bench):
    rows = imported(bench, "a,b\n" + "x" * 3_000_000 + ",1\n" + f'"{"y," * 1_000_000}",2\n')
    assert [len(row["a"]) for row in rows.values()] == [3_000_000, 2_000_000]


def test_packed_files_and_archives(bench):
    raw = b"a\n1\n"
    packers = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress, "lz4": lz4.frame.compress,
               "zst": zstandard.compress}  # fmt: skip
    for extension, pack in packers.items():
        bench.run("import.text", dataFileUrl=bench.file(f"p.csv.{extension}", pack(raw)), outputDataset="x")
        assert bench.rows("SELECT * FROM x") == {"2": {"a": 1}}
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("d/p.csv.gz", gzip.compress(raw))
    url = bench.file("a.zip", archive.getvalue())
    bench.run("import.text", dataFileUrl=f"archive+{url}#d/p.csv.gz", outputDataset="x")
    assert bench.rows("SELECT * FROM x") == {"2": {"a": 1}}


def test_a_truncated_packed_file(bench):
    packed = gzip.compress(b"a\n" + b"1\n" * 100_000)
    with pytest.raises(MldbError, match=r"decompress|ended early"):
        bench.run("import.text", dataFileUrl=bench.file("t.csv.gz", packed[: len(packed) // 2]), outputDataset="x")


def test_select_where_named_timestamp(bench):
    url = bench.file("a.csv", "a,b,c\n1,2,f\n3,4,g\n")
    status = bench.run(
        "import.text",
        dataFileUrl=url,
        outputDataset="x",
        select="a + 1 AS q, c, lineNumber() AS l, dataFileUrl() AS u",
        where="b > 2",
        named="'r' + lineNumber()",
        timestamp="'2020-01-01'",
    )
    assert status == {"rowCount": 2, "numLineErrors": 0}
    assert bench.rows("SELECT * FROM x") == {"r3": {"q": 4, "c": "g", "l": 3, "u": url}}
    batch = next(bench.services.query("SELECT c FROM x", timestamps=True).batches())
    assert batch.rows.timestamp(0).to_pylist() == [1577836800.0]


def test_the_file_time_is_the_timestamp(bench):
    url = bench.file("a.csv", "a\n1\n")
    bench.run("import.text", dataFileUrl=url, outputDataset="x")
    batch = next(bench.services.query("SELECT a FROM x", timestamps=True).batches())
    assert batch.rows.timestamp(0).to_pylist() == [(bench.root / "a.csv").stat().st_mtime]


def test_into_a_sparse_dataset(bench):
    assert imported(bench, "a,b\n1,x\n,y\n", select="*") == {"2": {"a": 1, "b": "x"}, "3": {"a": None, "b": "y"}}
    url = bench.file("a.csv", "a,b\n1,x\n,y\n")
    bench.run("import.text", dataFileUrl=url, outputDataset={"id": "y", "type": "sparse.mutable"})
    assert bench.services.dataset("y").status()["rowCount"] == 2
    assert bench.rows("SELECT b FROM y") == {"2": {"b": "x"}, "3": {"b": "y"}}


def test_names_that_repeat(bench):
    error = refusal(bench, "a\n1\n1\n2\n", named="a")
    assert error.message.startswith("Duplicate row name(s) in tabular dataset: 1")


@pytest.mark.parametrize(
    "params",
    [
        {"select": "aa, b"},
        {"select": "upper(aa)"},
        {"select": "{aa} AS *"},
        {"where": "aa > 1"},
        {"named": "aa"},
        {"timestamp": "aa"},
        {"select": "parse_json(aa)[b] AS c"},
    ],
)
def test_columns_that_the_file_has_not(bench, params):
    error = refusal(bench, "aab,b\n1,2\n", **params)
    assert error.message == "Unknown column name in import.text procedure: 'aa'. Did you mean 'aab'?"
    assert error.details == {"columnName": "aa", "knownColumnNames": ["aab", "b"]}


def test_names_that_are_no_columns_of_the_file(bench):
    params = {"select": "{j AS z}[z] AS k, COLUMN EXPR (WHERE columnName() = 'j')", "structuredColumnNames": True}
    bench.dataset("other", [("2", [("z", 1)])])
    rows = imported(bench, "a.x,a.y,j\n1,2,3\n", where="rowName() IN (SELECT rowName() FROM other)", **params)
    assert rows == {"2": {"k": 3, "j": 3}}
    assert imported(bench, "a.x,a.y,j\n1,2,3\n", select="a.*", structuredColumnNames=True) == {
        "2": {"a.x": 1, "a.y": 2}
    }


def test_row_valued_select(bench):
    text = "Import select expression cannot have row-valued columns."
    assert refusal(bench, "a\n1\n", select="CASE a WHEN 1 THEN {0} ELSE 1 END").message == text
    assert refusal(bench, "a\n1\n", select="{a} AS x").message == text
    assert refusal(bench, "a\n1\n", select="a, a").message == "Duplicate column name in select expression"


def test_select_whose_columns_show_only_with_the_data(bench):
    url = bench.file("a.csv", "a,words\n1,red blue red\n2,green\n")
    into = {"id": "y", "type": "sparse.mutable"}
    tokens = "a, tokenize(words, {splitChars: ' '}) AS *"
    bench.run("import.text", dataFileUrl=url, select=tokens, outputDataset=into)
    assert bench.rows("SELECT * FROM y") == {
        "2": {"a": 1, "red": 2, "blue": 1, "green": None},
        "3": {"a": 2, "red": None, "blue": None, "green": 1},
    }
    script = """jseval('var r = {n: a}; r[words.substr(0, 3)] = 1; return r', 'a,words', a, words) AS *"""
    bench.run("import.text", dataFileUrl=url, select=script, outputDataset=into)
    assert bench.rows("SELECT * FROM y") == {
        "2": {"n": 1, "red": 1, "gre": None},
        "3": {"n": 2, "red": None, "gre": 1},
    }
    refused = refusal(bench, "a,words\n1,red\n2,blue\n", select=tokens).message
    assert refused.startswith("New column name while recording row")


def test_rows_of_unknown_columns_need_to_be_spread(bench):
    text = "Import select expression cannot have row-valued columns."
    assert refusal(bench, "a\n1\n", select="tokenize(a) AS x").message == text
    assert refusal(bench, "a\n1\n", select="tokenize(a)").message == text


def test_a_failed_import_leaves_no_table(bench):
    refusal(bench, "a,b\n1,2\n\n3,4\n")
    refusal(bench, "a\n1\n1\n", named="a", select="a AS b")
    with bench.services.database.cursor() as cursor:
        tables = cursor.execute("SELECT table_name FROM duckdb_tables() WHERE starts_with(table_name, 'd_')").fetchall()
    assert tables == []


def test_the_first_block_says_what_columns_are(bench):
    """Changing each of thousands of columns would take a statement each."""
    statements = []

    class Noted:
        def __init__(self, cursor):
            self.cursor = cursor

        def execute(self, sql, *arguments):
            statements.append(sql)
            return self.cursor.execute(sql, *arguments)

        def __getattr__(self, name):
            return getattr(self.cursor, name)

    wide = [(f"c{index}",) for index in range(100)]
    with bench.services.database.transaction() as cursor:
        staging = Staging(Noted(cursor), "d_first", wide, 0.0)
        staging.append(Block(np.array([1, 2]), [(Kind.INTEGER, pa.array([1, None]))] * 99 + [(Kind.NULL, pa.nulls(2))]))
        staging.append(Block(np.array([3]), [(Kind.INTEGER, pa.array([3]))] * 99 + [(Kind.STRING, pa.array(["x"]))]))
        kinds = [column.kind for column in staging.finish().columns]
        cursor.execute("DROP TABLE d_first")
    assert kinds == [Kind.INTEGER] * 99 + [Kind.STRING]
    assert len(statements) < 10
