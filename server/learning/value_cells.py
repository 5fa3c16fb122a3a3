"""Cells of rows with their values as places in a list, for functions that look values up: each is looked at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from server.errors import MldbError
from server.learning.cell_arrays import Places, elements, joint_codes, places_of, timed_columns
from server.learning.feature_reader import number_cells
from server.transfer.results import is_null
from server.values import compute as pc
from server.values.atoms import Atom
from server.values.batches import Column, RowBatch, one_array
from server.values.cells import atoms_of, type_codes
from server.values.kinds import TAGS, Kind
from server.values.paths import format_path


@dataclass(frozen=True)
class ValueCells:
    """Cells, row by row, in a row as its columns stand; null is a value.

    ``codes`` are places in ``names`` (path texts), ``values`` places in ``atoms``, where an atom may stand more than
    once.
    """

    rows: Places
    codes: Places
    names: list[str]
    values: Places
    atoms: list[Atom]
    times: NDArray[np.float64]

    def take(self, where: NDArray[Any]) -> ValueCells:
        """Some of the cells."""
        return ValueCells(
            self.rows[where], self.codes[where], self.names, self.values[where], self.atoms, self.times[where]
        )

    def pairs(self) -> tuple[list[tuple[str, Atom]], Places]:
        """The names and atoms that stand together, and which of these each cell has."""
        size = max(len(self.atoms), 1)
        different, which = np.unique(self.codes * size + self.values, return_inverse=True)
        found = [(self.names[code], self.atoms[value]) for code, value in zip(*np.divmod(different, size), strict=True)]
        return found, which


_NO_CELLS = ValueCells(np.zeros(0, np.int64), np.zeros(0, np.int64), [], np.zeros(0, np.int64), [], np.zeros(0))


def value_cells(batch: RowBatch) -> ValueCells:
    """The cells of a batch: known columns, the elements of embeddings, and the open rest."""
    parts = [_NO_CELLS, *_parts(batch)]
    names, codes = joint_codes([(part.names, part.codes) for part in parts])
    values, atoms = [], list[Atom]()
    for part in parts:
        values.append(part.values + len(atoms))
        atoms += part.atoms
    found = ValueCells(
        np.concatenate([part.rows for part in parts]), codes, names, np.concatenate(values), atoms,
        np.concatenate([part.times for part in parts]),
    )  # fmt: skip
    return found.take(np.argsort(found.rows, kind="stable"))


def value_cells_below(batch: RowBatch, name: str) -> ValueCells:
    """The cells of an input row. Null is an empty row; ``MldbError`` for any other atom in its place."""
    found = value_cells(batch.under((name,)))
    if "" not in found.names:
        return found
    whole = found.codes == found.names.index("")
    if any(found.atoms[value] is not None for value in np.unique(found.values[whole])):
        raise MldbError(f"The input '{name}' must be a row, not a single value")
    return found.take(~whole)


def _parts(batch: RowBatch) -> Iterator[ValueCells]:
    for index, (column, values, times) in enumerate(timed_columns(batch)):
        if column.shape:
            yield _embedded(column, values, times)
        else:
            yield _atoms(column, values, times, batch.timestamp(index))
    if batch.rest is not None:
        yield _rest(one_array(batch.rest))


def _atoms(column: Column, values: pa.Array, times: NDArray[np.float64], given: Any) -> ValueCells:
    lacks: Any = True if column.sparse else False if isinstance(given, float | int) else is_null(one_array(given))
    rows = np.flatnonzero(~(is_null(values) & lacks))  # what a row lacks has no time
    places, atoms = coded_atoms(values, column.kind)
    codes = np.zeros(len(rows), np.int64)
    return ValueCells(rows, codes, [format_path(column.path)], places[rows], atoms, times[rows])


def _embedded(column: Column, values: pa.Array, times: NDArray[np.float64]) -> ValueCells:
    rows, at, names = elements(column, values)
    encoded = values.drop_null().flatten().dictionary_encode(null_encoding="encode")
    return ValueCells(rows, at, names, places_of(encoded.indices), encoded.dictionary.to_pylist(), times[rows])


def _rest(lists: pa.Array) -> ValueCells:
    cells = lists.flatten()
    named = cells.field("p").dictionary_encode()
    places, atoms = coded_atoms(cells.field("v"), Kind.ANY)
    return ValueCells(
        places_of(pc.list_parent_indices(lists)), places_of(named.indices), named.dictionary.to_pylist(), places, atoms,
        pc.fill_null(cells.field("t"), -np.inf).to_numpy(zero_copy_only=False),
    )  # fmt: skip


def coded_atoms(values: pa.Array, kind: Kind) -> tuple[Places, list[Atom]]:
    """Each value's place in a list of atoms."""
    if pa.types.is_union(values.type):
        return _coded_members(values)
    if pa.types.is_nested(values.type) or pa.types.is_null(values.type):  # which Arrow does not encode
        return np.arange(len(values)), atoms_of(values, kind)
    encoded = values.dictionary_encode(null_encoding="encode")
    return places_of(encoded.indices), atoms_of(encoded.dictionary, kind)


_KINDS = {
    "n": Kind.NUMBER, "i": Kind.INTEGER, "u": Kind.UNSIGNED, "s": Kind.STRING, "t": Kind.TIMESTAMP,
    "v": Kind.INTERVAL, "b": Kind.BLOB, "p": Kind.PATH,
}  # fmt: skip


def _coded_members(values: pa.Array) -> tuple[Places, list[Atom]]:
    places, atoms = np.zeros(len(values), np.int64), list[Atom]()
    codes = type_codes(values)
    for code, tag in enumerate(TAGS):
        rows = np.flatnonzero(codes == code)
        if len(rows):
            found, listed = coded_atoms(values.field(code).take(pa.array(rows)), _KINDS[tag])
            places[rows] = found + len(atoms)
            atoms += listed
    return places, atoms


def spread_cells(
    length: int,
    cells: ValueCells,
    before: Sequence[str],
    after: Sequence[str],
    numbers: NDArray[Any],
) -> pa.Array:
    """Several numbers for each cell as an array of cells, all with the cell's time.

    ``numbers`` [prefix, cell, suffix]: the first are called ``<before[0]><name><after[0]>``. In a row, those of a
    prefix stand together.
    """
    count, size = len(cells.rows), len(cells.names)
    texts = [f"{prefix}{name}{suffix}" for prefix in before for name in cells.names for suffix in after]
    prefix, cell, suffix = (
        each.reshape(-1) for each in np.indices((len(before), count, len(after))).astype(np.int64)
    )  # fmt: skip
    order = np.argsort(cells.rows[cell], kind="stable")
    prefix, cell, suffix = prefix[order], cell[order], suffix[order]
    named = (prefix * size + cells.codes[cell]) * len(after) + suffix
    words = pa.array(texts, pa.string()).take(pa.array(named))
    return number_cells(length, cells.rows[cell], words, numbers[prefix, cell, suffix], cells.times[cell])
