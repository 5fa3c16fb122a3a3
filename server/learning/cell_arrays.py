"""The cells of rows of any columns as arrays, for functions and trainings that work on whole batches of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from server.errors import MldbError
from server.transfer.results import element_paths, is_null
from server.values import compute as pc
from server.values.batches import Column, RowBatch, one_array
from server.values.cells import type_codes
from server.values.kinds import TAGS, Kind
from server.values.paths import format_path

Places = NDArray[np.int64]


@dataclass(frozen=True)
class CellArrays:
    """Cells that are not null, row by row, in a row as its columns stand.

    ``codes`` are places in ``names``, path texts; ``numbers`` is NaN for what is no number, which ``numeric`` tells
    from a NaN that is one.
    """

    rows: Places
    codes: Places
    names: list[str]
    numbers: NDArray[np.float64]
    numeric: NDArray[np.bool_]
    times: NDArray[np.float64]

    @property
    def words(self) -> pa.Array:
        """The path text of each cell."""
        return pa.array(self.names, pa.string()).take(pa.array(self.codes))

    def take(self, where: NDArray[Any]) -> CellArrays:
        """Some of the cells."""
        return CellArrays(
            self.rows[where], self.codes[where], self.names, self.numbers[where], self.numeric[where],
            self.times[where],
        )  # fmt: skip


_NO_CELLS = CellArrays(
    np.zeros(0, np.int64), np.zeros(0, np.int64), [], np.zeros(0), np.zeros(0, np.bool_), np.zeros(0)
)


def cell_arrays(batch: RowBatch) -> CellArrays:
    """The cells of a batch: known columns, the elements of embeddings, and the open rest."""
    parts = [_NO_CELLS, *_parts(batch)]
    names, codes = joint_codes([(part.names, part.codes) for part in parts])
    joined = CellArrays(
        np.concatenate([part.rows for part in parts]), codes, names,
        np.concatenate([part.numbers for part in parts]), np.concatenate([part.numeric for part in parts]),
        np.concatenate([part.times for part in parts]),
    )  # fmt: skip
    return joined.take(np.argsort(joined.rows, kind="stable"))


def cells_below(batch: RowBatch, name: str) -> CellArrays:
    """The cells of an input row. Null is an empty row; ``MldbError`` for any other atom in its place."""
    found = cell_arrays(batch.under((name,)))
    if "" in found.names and (found.codes == found.names.index("")).any():
        raise MldbError(f"The input '{name}' must be a row, not a single value")
    return found


def timed_columns(batch: RowBatch) -> Iterator[tuple[Column, pa.Array, NDArray[np.float64]]]:
    """The known columns of a batch, their values, and the time that these have in each row."""
    for index, (column, values) in enumerate(zip(batch.type.columns, batch.values, strict=True)):
        given = batch.timestamp(index)
        times = np.full(batch.length, given) if isinstance(given, float | int) else np.asarray(one_array(given))
        yield column, one_array(values), times


def elements(column: Column, values: pa.Array) -> tuple[Places, Places, list[str]]:
    """The elements of embeddings: the row of each, its place among the names, and the names (path texts)."""
    lengths = np.array([each or 0 for each in pc.list_value_length(values).to_pylist()], np.int64)
    rows = np.repeat(np.arange(len(values)), lengths)
    places = np.arange(len(rows)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return rows, places, [format_path(path) for path in element_paths(column, int(lengths.max(initial=0)))]


def places_of(array: pa.Array) -> Places:
    return np.asarray(array.to_numpy(zero_copy_only=False)).astype(np.int64)


def joint_codes(parts: Sequence[tuple[list[str], Places]]) -> tuple[list[str], Places]:
    """Names that several parts have and the places in them, as one list of different names and the places in that."""
    known: dict[str, int] = {}
    codes = [np.array([known.setdefault(each, len(known)) for each in names], np.int64)[at] for names, at in parts]
    return list(known), np.concatenate(codes)


def _parts(batch: RowBatch) -> Iterator[CellArrays]:
    for column, values, times in timed_columns(batch):
        yield _embedded(column, values, times) if column.shape else _atoms(column, values, times)
    if batch.rest is not None:
        yield _rest(one_array(batch.rest))


def _atoms(column: Column, values: pa.Array, times: NDArray[np.float64]) -> CellArrays:
    rows = np.flatnonzero(~is_null(values))
    numbers, numeric = _numbers(values)
    if column.kind not in (Kind.ANY, Kind.NULL) and not column.kind.numeric:
        numbers[:], numeric[:] = np.nan, False  # a timestamp lies as a number
    codes = np.zeros(len(rows), np.int64)
    return CellArrays(rows, codes, [format_path(column.path)], numbers[rows], numeric[rows], times[rows])


def _embedded(column: Column, values: pa.Array, times: NDArray[np.float64]) -> CellArrays:
    rows, places, names = elements(column, values)
    flat = values.drop_null().flatten()
    there = np.flatnonzero(~is_null(flat))
    numbers, numeric = _numbers(flat)
    return CellArrays(rows[there], places[there], names, numbers[there], numeric[there], times[rows[there]])


def _rest(lists: pa.Array) -> CellArrays:
    cells = lists.flatten()
    named = cells.field("p").dictionary_encode()
    there = np.flatnonzero(~is_null(cells.field("v")))
    numbers, numeric = _numbers(cells.field("v"))
    return CellArrays(
        places_of(pc.list_parent_indices(lists))[there], places_of(named.indices)[there],
        named.dictionary.to_pylist(), numbers[there], numeric[there],
        pc.fill_null(cells.field("t"), -np.inf).to_numpy(zero_copy_only=False)[there],
    )  # fmt: skip


def _numbers(values: pa.Array) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Each value as a number, and whether it is one."""
    numbers, numeric = np.full(len(values), np.nan), np.zeros(len(values), np.bool_)
    if not pa.types.is_union(values.type):
        if not (pa.types.is_floating(values.type) or pa.types.is_integer(values.type) or values.type == pa.bool_()):
            return numbers, numeric
        numbers = values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False).copy()
        return numbers, np.ones(len(values), np.bool_)
    codes = type_codes(values)
    for code in range(len(TAGS)):
        if TAGS[code] in "niu":
            mine = np.flatnonzero(codes == code)
            member = values.field(code).take(pa.array(mine))
            numbers[mine] = member.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
            numeric[mine] = True
    return numbers, numeric
