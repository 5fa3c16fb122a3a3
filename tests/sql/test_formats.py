"""Output formats: what each says of the same rows agrees with ``full``, however ugly names and values are."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.declarations import NamedBatch
from server.errors import MldbError
from server.sql.formats import render
from server.values.atoms import Interval, PathValue, Timestamp, collapse
from server.values.batches import Cell, RowBatch, RowType
from server.values.cells import cells_array
from server.values.paths import Path, format_path, natural_key, parse_path
from tests.effort import cases

elements = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=4)
paths = st.lists(elements, min_size=1, max_size=3).map(tuple)
values = (
    st.none()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats().map(collapse)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
    | st.binary(max_size=4)
    | st.floats(-1e10, 1e10).map(Timestamp)
    | st.sampled_from([Timestamp(math.inf), Timestamp(-math.inf), Timestamp(math.nan)])
    | st.builds(Interval, st.integers(0, 30), st.integers(0, 30), st.floats(0, 1e4))
    | paths.map(PathValue)
)
cells = st.builds(Cell, paths, values, st.floats(-1e9, 1e9) | st.just(-math.inf))
Rows = list[tuple[Path, list[Cell]]]
rows_of_any_kind = st.lists(st.tuples(paths, st.lists(cells, max_size=5)), max_size=5)


class Answer:
    """A query's result, in batches of two rows."""

    type = RowType((), open=True)

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    def batches(self, progress: Any = None) -> Iterator[NamedBatch]:
        for at in range(0, len(self._rows), 2):
            part = self._rows[at : at + 2]
            names = pa.array([format_path(name) for name, _ in part], pa.string())
            rest = cells_array([row for _, row in part])
            yield NamedBatch(names, RowBatch(self.type, len(part), [], [], rest))


def rendered(rows: Rows, format: str, **options: bool) -> Any:
    return json.loads(render(Answer(rows), format, **options))


def full(rows: Rows) -> list[tuple[str, list[list[Any]]]]:
    return [(row["rowName"], row.get("columns", [])) for row in rendered(rows, "full")]


def as_text(value: Any) -> Any:
    """What ``table`` makes of a tagged atom."""
    if isinstance(value, dict) and "blob" not in value:
        ((tag, inner),) = value.items()
        return format_path(tuple(inner)) if tag == "path" else inner
    return value


@settings(max_examples=cases(150))
@given(rows_of_any_kind)
def test_formats_agree(rows: Rows) -> None:
    expected = full(rows)
    assert [name for name, _ in expected] == [format_path(name) for name, _ in rows]
    assert rendered(rows, "sparse") == [
        [["_rowName", name], *([column, value] for column, value, _ in cells)] for name, cells in expected
    ]
    objects = [{column: value for column, value, _ in cells} for _, cells in expected]
    names = [name for name, _ in expected]
    assert rendered(rows, "aos", row_names=False) == objects
    columns = {column for one in objects for column in one}
    assert rendered(rows, "soa", row_names=False) == {
        column: [one.get(column) for one in objects] for column in columns
    }
    header, *table = rendered(rows, "table")
    met = list(dict.fromkeys(column for _, cells in expected for column, _, _ in cells))
    assert header == ["_rowName", *met]
    assert table == [
        [name, *(as_text(one.get(column)) for column in met)] for name, one in zip(names, objects, strict=True)
    ]


@settings(max_examples=cases(100))
@given(rows_of_any_kind)
def test_cells_of_a_row_are_in_natural_order_and_by_time(rows: Rows) -> None:
    for (_, given_cells), (_, shown) in zip(rows, full(rows), strict=True):
        assert len(shown) == len(given_cells)
        keys = [natural_key(parse_path(column)) for column, _, _ in shown]
        assert keys == sorted(keys)


@settings(max_examples=cases(50))
@given(rows_of_any_kind)
def test_options(rows: Rows) -> None:
    header, *table = rendered(rows, "table", sort_columns=True, row_hashes=True)
    assert header[:2] == ["_rowName", "_rowHash"]
    assert [natural_key(parse_path(name)) for name in header[2:]] == sorted(
        natural_key(parse_path(name)) for name in header[2:]
    )
    assert all(len(row) == len(header) and len(row[1]) == 16 for row in table)
    assert rendered(rows, "table", headers=False, sort_columns=True, row_hashes=True) == table


ONE: Path = ("a",)


@pytest.mark.parametrize(
    ("rows", "answer"),
    [
        ([(ONE, [Cell(ONE, 5, 0.0)])], 5),
        ([(ONE, [Cell(ONE, None, 0.0)])], None),
        ([(ONE, [Cell(ONE, math.nan, 0.0)])], {"num": "NaN"}),
        ([(ONE, [Cell(ONE, b"\x00ab", 0.0)])], {"blob": [0, "ab"]}),
    ],
)
def test_atom(rows: Rows, answer: Any) -> None:
    assert rendered(rows, "atom") == answer


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "Query with atom format returned no rows."),
        ([(ONE, [])], "Query with atom format returned no columns."),
        ([(ONE, [Cell(ONE, 1, 0.0), Cell(("b",), 1, 0.0)])], "Query with atom format returned multiple columns."),
        ([(ONE, [Cell(ONE, 1, 0.0)])] * 2, "Query with atom format returning multiple rows. Consider using limit."),
    ],
)
def test_what_is_no_atom(rows: Rows, message: str) -> None:
    with pytest.raises(MldbError) as failure:
        rendered(rows, "atom")
    assert failure.value.message == message


def test_nothing() -> None:
    assert rendered([], "full") == rendered([], "aos") == rendered([], "sparse") == []
    assert rendered([], "soa") == {}
    assert rendered([], "table") == [["_rowName"]]
    assert rendered([(ONE, [])], "full") == [{"rowName": "a"}]
    with pytest.raises(MldbError, match="Unknown output format 'xml'"):
        rendered([], "xml")
