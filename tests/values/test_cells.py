"""Cells in Arrow: narrowing to a prefix gives what the same work on Python values gives."""

import math

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.values.atoms import Interval, PathValue, Timestamp
from server.values.cells import (
    Cell,
    any_array,
    atoms_of,
    cells_array,
    cells_of,
    narrow_cells,
    rows_array,
    same_in_all,
    tag_and_value,
    type_codes,
)
from server.values.kinds import EXACT, TAGS, Kind

ELEMENTS = st.sampled_from(["a", "ab", "b", "", 'q"', "x.y", "ü", "a\x01"])
PATHS = st.lists(ELEMENTS, min_size=1, max_size=3).map(tuple)
ATOMS = st.one_of(
    st.none(), st.integers(-5, 2**64 - 1), st.floats(allow_nan=False), st.text(max_size=3), st.binary(max_size=3),
    st.just(Timestamp(3.5)), st.just(Interval(1, 2, 3.0)), st.just(PathValue(("a", "b"))),
)  # fmt: skip
CELLS = st.builds(Cell, PATHS, ATOMS, st.sampled_from([-math.inf, 0.0, 7.0]))


@given(st.lists(st.lists(CELLS, max_size=5), max_size=5), st.lists(ELEMENTS, max_size=2).map(tuple), st.integers(0, 5))
def test_cells_below_a_prefix(rows, prefix, cut):
    size = len(prefix)
    expected = [
        [Cell(cell.path[size:], cell.value, cell.timestamp) for cell in row if cell.path[:size] == prefix]
        for row in rows
    ]
    rest = cells_array(rows)
    assert cells_of(narrow_cells(rest, prefix)) == expected
    assert cells_of(narrow_cells(rest.slice(min(cut, len(rest))), prefix)) == expected[cut:]
    chunked = pa.chunked_array([rest.slice(0, cut), rest.slice(cut)], rest.type)
    assert cells_of(narrow_cells(chunked, prefix)) == expected


@pytest.mark.parametrize("prefix", [(), ("features",)])
def test_null_rows_have_no_cells(prefix):
    rest = pa.nulls(2, cells_array([[]]).type)
    assert cells_of(narrow_cells(rest, prefix)) == [[], []]


@given(
    st.lists(st.tuples(st.dictionaries(PATHS, ATOMS, max_size=4), st.sampled_from([-math.inf, 0.0, 7.0])), max_size=4)
)
def test_rows_of_one_time(rows):
    cells = [[Cell(path, value, time) for path, value in atoms.items()] for atoms, time in rows]
    assert rows_array(rows).equals(cells_array(cells))


@given(st.lists(CELLS, max_size=3), st.lists(CELLS, max_size=3), st.integers(1, 4), st.integers(0, 2))
def test_what_is_seen_to_be_the_same_in_all_rows_is(row, other, count, cut):
    rest = cells_array([*[row] * count, other]).slice(cut)
    same = same_in_all(rest)
    assert not same or all(cells == cells_of(rest)[0] for cells in cells_of(rest))
    constant = cells_array([row] * count)
    assert same_in_all(constant) != any(isinstance(cell.value, Interval) for cell in row)


def test_the_sign_of_an_interval_is_not_overlooked():
    days = [[Cell(("d",), Interval(0, 1, seconds), 0.0)] for seconds in (0.0, -0.0)]
    assert not same_in_all(cells_array(days))


NUMBERS = st.integers(-EXACT - 9, EXACT + 9) | st.floats(allow_nan=False) | st.just(2.0**60)


@given(st.lists(ATOMS | NUMBERS) | st.lists(st.none() | st.text(max_size=3) | NUMBERS) | st.lists(NUMBERS))
def test_many_atoms_are_tagged_as_each_of_them(atoms):
    array = any_array(atoms)
    array.validate(full=True)
    assert [TAGS[code] for code in type_codes(array)] == [tag_and_value(atom)[0] for atom in atoms]
    assert atoms_of(array, Kind.ANY) == atoms


def test_integers_that_are_too_large_are_infinite():
    assert atoms_of(any_array([10**400, -(10**400), 2**1024 - 1]), Kind.ANY) == [math.inf, -math.inf, math.inf]
