"""Blocks read at once and lines read one by one give the same rows (entity-types.md §3.2)."""

from __future__ import annotations

import io
import math

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from server.errors import MldbError
from server.transfer import csvread
from server.transfer.celltypes import cell_atom, typed_column
from server.transfer.csvblocks import parse_block
from server.transfer.csvformat import CsvFormat
from server.transfer.csvread import CsvReader, ReadOptions
from server.transfer.lines import LineSource
from server.values.cells import atoms_of
from server.values.kinds import Kind

NUMBERS = [
    *(
        " 5",
        "5 ",
        "\t5",
        "",
        "0",
        "-0",
        "-0.0",
        "-00",
        "+1",
        "007",
        "1.5",
        "1.",
        ".5",
        "1e3",
        "1e400",
        "1_0",
        "1e",
        "e1",
    ),
    *("0x1A", "0xFFFFFFFFFFFFFFFF", "nan", "-nan", "inf", "-Infinity", "٣", "1.0", "9007199254740993"),
    *("9223372036854775808", "18446744073709551615", "99999999999999999999", "12345678901234567890.5"),
]
TEXTS = [
    "a",
    "né",
    '"',
    '""',
    '"x"',
    '"a,b"',
    '"a""b"',
    '"a"b',
    'a"b',
    ' "x"',
    '"x" ',
    '=""',
    '="7"',
    '"="',
    "\r",
    "\x0b",
    "i",
    "n",
    "in",
]
CELLS = st.one_of(
    st.sampled_from(NUMBERS),
    st.sampled_from(TEXTS),
    st.text(alphabet='ab1.-" \t,\r\né=x0', max_size=6),
    st.integers().map(str),
    st.floats().map(repr),
)
LINES = st.lists(st.lists(CELLS, min_size=0, max_size=4).map(",".join), max_size=8)


def plain(atom):
    """An atom such that NaN equals itself and numbers keep their sign and type of value."""
    if isinstance(atom, float) and math.isnan(atom):
        return ("nan", math.copysign(1, atom))
    return (type(atom).__name__, atom, math.copysign(1, atom) if isinstance(atom, float) else 0)


def read(content, block_bytes, options, csv):
    try:
        reader = CsvReader(LineSource(io.BytesIO(content), block_bytes), csv, options)
        rows = []
        for block in reader.blocks():
            columns = [
                [None] * len(block.lines) if kind is Kind.NULL else atoms_of(values, kind)
                for kind, values in block.columns
            ]
            for line, row in zip(block.lines.tolist(), zip(*columns, strict=True), strict=True):
                rows.append((line, [plain(atom) for atom in row]))
    except MldbError as error:
        return error.message, error.details
    return reader.paths, rows, reader.rows, reader.errors


@settings(max_examples=400)
@given(lines=LINES, end=st.sampled_from(["\n", "\r\n"]), size=st.sampled_from([1, 7, 40, 1 << 20]), bad=st.booleans())
@example(lines=["-0.0, 5", "9007199254740993, 5"], end="\n", size=1, bad=False)
def test_same_rows(monkeypatch, lines, end, size, bad):
    content = ("c1,c2,c3" + end + end.join(lines)).encode()
    options = ReadOptions(ignore_bad=bad)
    with monkeypatch.context() as slow:
        slow.setattr(csvread, "parse_block", lambda *_args, **_options: None)
        expected = read(content, 1 << 20, options, CsvFormat())
    assert read(content, size, options, CsvFormat()) == expected


@settings(max_examples=150)
@given(
    columns=st.tuples(
        *[st.sampled_from([st.integers(), st.floats(allow_nan=False), st.sampled_from(["x", "n y", "in", "nan"])])] * 3
    ),
    data=st.data(),
    quote=st.sampled_from(["", '"']),
    delimiter=st.sampled_from([",", "\t", " ", "|"]),
    nulls=st.sampled_from([(), ("x", "0", "nan")]),
)
def test_same_rows_of_tidy_files(monkeypatch, columns, data, quote, delimiter, nulls):
    rows = data.draw(st.lists(st.tuples(*(st.lists(column, min_size=1, max_size=3) for column in columns)), max_size=6))
    lines = [delimiter.join(f"{quote}{cells[0]}{quote}" for cells in row) for row in rows]
    content = "\n".join([delimiter.join("abc"), *lines]).encode()
    csv = CsvFormat(delimiter=delimiter, quote='"', nulls=nulls)
    with monkeypatch.context() as slow:
        slow.setattr(csvread, "parse_block", lambda *_args, **_options: None)
        expected = read(content, 1 << 20, ReadOptions(ignore_bad=True), csv)
    assert read(content, 16, ReadOptions(ignore_bad=True), csv) == expected


@settings(max_examples=300)
@given(
    st.lists(
        st.one_of(st.sampled_from(NUMBERS), st.integers().map(str), st.floats().map(repr), st.text(max_size=3)),
        min_size=1,
    )
)
def test_a_column_is_its_cells(cells):
    import pyarrow as pa

    from server.values.atoms import collapse

    def number(atom):
        return plain(collapse(atom) if isinstance(atom, float) else atom)

    kind, values = typed_column(pa.array([cell or None for cell in cells], pa.string()))
    found = [None] * len(cells) if kind is Kind.NULL else atoms_of(values, kind)
    assert [number(atom) for atom in found] == [number(cell_atom(cell)) for cell in cells]


def test_tidy_blocks_are_read_at_once():
    data = b'1,2.5,x,"a, ""b"""\n2,,y z,"c"\n'
    block = parse_block(data, 7, CsvFormat(), 4, [Kind.NULL] * 4, trailing_delimiter=False)
    assert block is not None
    assert block.lines.tolist() == [7, 8]
    assert [kind for kind, _ in block.columns] == [Kind.INTEGER, Kind.NUMBER, Kind.STRING, Kind.STRING]
    assert block.columns[3][1].to_pylist() == ['a, "b"', "c"]


@pytest.mark.parametrize(
    "data",
    [b'"a"b,1\n', b'"a,"b",1\n', b'"a\n1"\n', b"a\n", b"a,b,c\n", b"\n1,2\n", b"a\rb,1\n", b"\xff,1\n", b'="1",2\n'],
)
def test_blocks_that_lines_must_read(data):
    assert parse_block(data, 1, CsvFormat(), 2, [Kind.NULL] * 2, trailing_delimiter=False) is None


@pytest.mark.parametrize("size", [1, 3, 1 << 20])
def test_line_source(size):
    source = LineSource(io.BytesIO(b"a\nbb\n\nc\n\n \n"), size)
    assert source.next_line() == b"a"
    source.unread([b"a"])
    lines = []
    while (line := source.next_line()) is not None:
        lines.append((source.line - 1, line))
    assert lines == [(1, b"a"), (2, b"bb"), (3, b""), (4, b"c")]
