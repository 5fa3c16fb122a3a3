"""What went before each cell of training rows, whole batches at a time (statistics and distribution tables)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from server.declarations import NamedBatch, Progress
from server.learning.cell_arrays import Places
from server.learning.outcome_rows import OutcomeBatch
from server.learning.value_cells import ValueCells, spread_cells
from server.values.atoms import Atom, atom_to_json
from server.values.batches import RowBatch, RowType
from server.values.paths import format_path


def key_of(atom: Atom) -> str:
    """An atom as a key: 1 and "1" are two."""
    return orjson.dumps(atom_to_json(atom)).decode()


def run_starts(*keys: Places) -> Places:
    """Of each entry where the run of equal ones begins that it is in."""
    begins = np.ones(len(keys[0]), np.bool_)
    begins[1:] = np.any([key[1:] != key[:-1] for key in keys], axis=0)
    return np.maximum.accumulate(np.where(begins, np.arange(len(begins)), 0))


@dataclass
class Numbered:
    """Numbers for the keys of columns (path texts), in the order in which they were seen first."""

    known: dict[tuple[str, str], int] = field(default_factory=dict)

    def of_values(self, cells: ValueCells) -> Places:
        """The number of each cell's column and value."""
        pairs, which = cells.pairs()
        keys = [(name, key_of(atom)) for name, atom in pairs]
        return self.of(keys)[which]

    def of(self, keys: Sequence[tuple[str, str]]) -> Places:
        return np.array([self.known.setdefault(key, len(self.known)) for key in keys], np.int64)


@dataclass
class RunningCounts:
    """Rows that had a value, and those of them with each outcome: ``totals`` [number of the value, 1 + outcomes]."""

    outcomes: int
    values: Numbered = field(default_factory=Numbered)
    totals: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        self.totals = np.zeros((0, 1 + self.outcomes), np.int64)

    def add(self, cells: ValueCells, won: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Count the cells of rows; the counts [cell, 1 + outcomes] of the rows before each cell's row."""
        numbers = self.values.of_values(cells)
        self.totals = np.pad(self.totals, ((0, len(self.values.known) - len(self.totals)), (0, 0)))
        order = np.argsort(numbers, kind="stable")  # cells stand by row, and so do those of a value
        sorted_, rows = numbers[order], cells.rows[order]
        gains = np.column_stack([np.ones(len(rows), np.int64), won[rows]])
        before = np.cumsum(gains, axis=0) - gains
        counts = np.empty_like(gains)
        counts[order] = before[run_starts(sorted_, rows)] - before[run_starts(sorted_)] + self.totals[sorted_]
        np.add.at(self.totals, sorted_, gains)
        return counts


@dataclass(frozen=True)
class RunningResult:
    """Batches of training rows as the result of a query: for each cell some numbers, called
    ``<before>.<column><after>``. ``count`` counts a batch in and gives the cells and the numbers [before, cell, after].
    """

    training: Iterator[OutcomeBatch]
    before: Sequence[str]
    after: Sequence[str]
    count: Callable[[OutcomeBatch], tuple[ValueCells, NDArray[Any]]]

    type = RowType((), open=True)

    def batches(self, progress: Progress | None = None) -> Iterator[NamedBatch]:
        prefixes = [f"{format_path((name,))}." for name in self.before]
        for batch in self.training:
            cells, numbers = self.count(batch)
            rest = spread_cells(batch.rows.length, cells, prefixes, self.after, numbers)
            yield NamedBatch(batch.names, RowBatch(self.type, batch.rows.length, (), (), rest))
