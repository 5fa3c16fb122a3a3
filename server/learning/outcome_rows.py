"""Training rows of statistics tables: the columns of a query, and outcomes that are computed beside them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from server.declarations import Progress, QueryResult
from server.errors import MldbError
from server.learning.cell_arrays import CellArrays, cell_arrays
from server.learning.training_set import is_true
from server.learning.value_cells import ValueCells, value_cells
from server.sql.parser import parse_expression
from server.sql.tree import Item, Select
from server.transfer.results import column_atoms, sliced
from server.values.atoms import Atom
from server.values.batches import RowBatch
from server.values.paths import parse_path

# Outcomes are columns of the query below a name that no dataset has.
_OUTCOMES = "\x01outcomes"

_ROWS = 10_000  # that are counted between two looks for a cancel

Outcomes = list[tuple[str, str]]  # name, SQL over the rows of the query's FROM

_Cells = TypeVar("_Cells", CellArrays, ValueCells)


@dataclass(frozen=True)
class OutcomeBatch:
    """Training rows: their names, their cells, and of each outcome the value that each row has."""

    names: pa.Array
    rows: RowBatch
    outcomes: list[list[Atom]]

    @property
    def won(self) -> NDArray[np.bool_]:
        """Which outcomes are true: [row, outcome]."""
        truths = [[is_true(value) for value in values] for values in self.outcomes]
        return np.array(truths, np.bool_).reshape(len(self.outcomes), -1).T

    def cells(self) -> CellArrays:
        return _of_columns(cell_arrays(self.rows))

    def value_cells(self) -> ValueCells:
        return _of_columns(value_cells(self.rows))


def _of_columns(cells: _Cells) -> _Cells:
    """The cells that are no outcomes."""
    columns = np.array([parse_path(name)[0] != _OUTCOMES for name in cells.names], np.bool_)
    return cells.take(columns[cells.codes])


def with_outcomes(select: Select, outcomes: Outcomes) -> Select:
    """The query with its outcomes as further columns; ``MldbError`` when one does not parse."""
    items = (Item(parse_expression(text), name=(_OUTCOMES, str(number))) for number, (_, text) in enumerate(outcomes))
    return replace(select, clauses=(*select.clauses, *items))


def outcome_batches(result: QueryResult, outcomes: Outcomes, progress: Progress) -> Iterator[OutcomeBatch]:
    """The rows of a query ``with_outcomes``, in its order."""
    done = 0
    for batch in result.batches(progress):
        for begin in range(0, batch.rows.length, _ROWS):
            part = sliced(batch, begin, _ROWS)
            below = part.rows.under((_OUTCOMES,))
            yield OutcomeBatch(part.names, part.rows, [column_atoms(below, str(at)) for at in range(len(outcomes))])
            done += part.rows.length
            progress.update(done)


def check_outcomes(outcomes: Sequence[tuple[str, str]], type_name: str) -> None:
    """``MldbError`` unless there are outcomes with distinct names."""
    names = [name for name, _ in outcomes]
    if not names:
        raise MldbError(f"{type_name} needs at least one outcome: [name, SQL expression]")
    if len(set(names)) < len(names):
        raise MldbError(f"{type_name}: each outcome needs a name of its own")
