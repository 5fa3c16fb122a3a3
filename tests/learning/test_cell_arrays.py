"""Cells of whole batches as arrays are the cells of their rows."""

from __future__ import annotations

import math
import random

import pyarrow as pa
import pytest

from server.learning.cell_arrays import cell_arrays
from server.transfer.results import rows_of
from server.values.atoms import Timestamp
from server.values.batches import Cell, Column, RowBatch, RowType
from server.values.cells import any_array, cells_array
from server.values.kinds import Kind
from server.values.paths import format_path

ATOMS = [None, 1, -2.5, math.nan, 2**60, 2**63 + 1, "a", "", b"\0", Timestamp(3.0)]


def random_batch(rng: random.Random) -> RowBatch:
    count = rng.randrange(5)

    def some(values):
        return [rng.choice(values) for _ in range(count)]

    columns = [
        (Column(("i",), Kind.INTEGER), pa.array(some([None, 1, 2]), pa.int64())),
        (Column(("b",), Kind.BOOLEAN), pa.array(some([None, True, False]), pa.bool_())),
        (Column(("s",), Kind.STRING), pa.array(some([None, "x"]), pa.string())),
        (Column(("t",), Kind.TIMESTAMP), pa.array(some([None, 1.5]), pa.float64())),
        (Column(("lacking",), Kind.NUMBER, sparse=True), pa.array(some([None, 1.5]), pa.float64())),
        (Column(("a", "b"), Kind.ANY), any_array(some(ATOMS))),
        (Column(("e",), Kind.NUMBER, (2,)), pa.array(some([None, [1.0, 2.0]]), pa.list_(pa.float64(), 2))),
        (
            Column(("v",), Kind.NUMBER, (-1,)),
            pa.array(some([None, [], [1.0], [1.0, None, 3.0]]), pa.list_(pa.float64())),
        ),
    ]
    chosen = rng.sample(columns, rng.randrange(len(columns) + 1))
    times = [rng.choice([1.0, pa.array(some([2.0, 3.0]), pa.float64())]) for _ in chosen]
    rest = None
    if rng.random() < 0.7:
        paths = [("w", str(number)) for number in range(3)]
        rest = cells_array(
            [[Cell(rng.choice(paths), rng.choice(ATOMS), 4.0) for _ in range(rng.randrange(4))] for _ in range(count)]
        )
    type_ = RowType(tuple(column for column, _ in chosen), rest is not None)
    return RowBatch(type_, count, [values for _, values in chosen], times, rest)


@pytest.mark.parametrize("seed", range(60))
def test_arrays_are_the_cells_of_rows(seed):
    batch = random_batch(random.Random(seed))
    found = cell_arrays(batch)
    listed = zip(
        found.rows.tolist(), found.words.to_pylist(), found.numbers.tolist(), found.numeric.tolist(),
        found.times.tolist(), strict=True,
    )  # fmt: skip
    expected = [
        (at, format_path(cell.path), number, numeric, cell.timestamp)
        for at, row in enumerate(rows_of(batch))
        for cell in row
        if cell.value is not None
        for numeric in [isinstance(cell.value, int | float)]
        for number in [float(cell.value) if numeric else math.nan]
    ]
    assert repr(list(listed)) == repr(expected)
