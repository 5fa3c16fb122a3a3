"""Texts of whole columns are those of their atoms."""

from __future__ import annotations

import math
import struct

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from server.values.arrow_types import ARROW_TYPES
from server.values.atoms import atom_text
from server.values.cells import any_array, atoms_of
from server.values.kinds import Kind
from server.values.texts import column_texts
from tests.effort import cases

bits = st.integers(0, 2**64 - 1).map(lambda bits: struct.unpack("d", struct.pack("Q", bits))[0])
numbers = st.floats() | bits | st.integers(-(2**60), 2**60).map(float) | st.floats(-1e6, 1e6)
instants = st.integers(-70_000_000_000, 260_000_000_000).map(float) | st.floats()


def same(array: pa.Array, kind: Kind) -> None:
    expected = [None if atom is None else atom_text(atom) for atom in atoms_of(array, kind)]
    assert column_texts(array, kind).to_pylist() == expected


@settings(max_examples=cases(300))
@given(st.lists(numbers | st.none(), max_size=20))
@example([0.0, -0.0, math.nan, math.inf, -math.inf, 1e-5, 1e15, 2.0**53, 2.0**63, None])
def test_numbers(values):
    same(pa.array(values, pa.float64()), Kind.NUMBER)


@settings(max_examples=cases(300))
@given(st.lists(instants | st.none(), max_size=20))
@example([0.0, 0.5, -30_610_224_000.0, -30_610_224_001.0, 253_402_300_799.0, math.nan, math.inf, None])
def test_instants(values):
    same(pa.array(values, pa.float64()), Kind.TIMESTAMP)


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (Kind.INTEGER, [1, -(2**63), None]),
        (Kind.UNSIGNED, [0, 2**64 - 1, None]),
        (Kind.BOOLEAN, [True, False, None]),
        (Kind.STRING, ["", "é\n", None]),
        (Kind.BLOB, [b"a\xff", None]),
        (Kind.PATH, ['a."b.c"', None]),
    ],
)
def test_other_kinds(kind, values):
    same(pa.array(values, ARROW_TYPES[kind]), kind)


def test_values_of_several_kinds():
    same(any_array([1, 2.5, "a", None, b"x"]), Kind.ANY)


@pytest.mark.parametrize("kind", [Kind.NUMBER, Kind.TIMESTAMP, Kind.INTEGER])
def test_no_rows_and_nothing_but_nulls(kind):
    same(pa.array([], ARROW_TYPES[kind]), kind)
    same(pa.array([None, None], ARROW_TYPES[kind]), kind)
    same(pa.array([None, 3, 4], ARROW_TYPES[kind]).slice(1), kind)
