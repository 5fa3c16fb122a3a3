"""Training rows of statistics tables: the columns of a query, and outcomes that are computed beside them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from server.declarations import Progress, QueryResult
from server.errors import MldbError
from server.learning.cell_arrays import CellArrays, cell_arrays
from server.learning.training_set import is_true
from server.sql.parser import parse_expression
from server.sql.tree import Item, Select
from server.transfer.results import named_rows, rows_of
from server.values.atoms import Atom
from server.values.batches import Row
from server.values.paths import parse_path

# Outcomes are columns of the query below a name that no dataset has.
_OUTCOMES = "\x01outcomes"

_TOLD_ROWS = 1000  # between two reports of progress

Outcomes = list[tuple[str, str]]  # name, SQL over the rows of the query's FROM


@dataclass(frozen=True)
class OutcomeRow:
    """A training row: its name, its cells, and the value of each outcome."""

    name: str
    cells: Row
    outcomes: list[Atom]


def with_outcomes(select: Select, outcomes: Outcomes) -> Select:
    """The query with its outcomes as further columns; ``MldbError`` when one does not parse."""
    items = (Item(parse_expression(text), name=(_OUTCOMES, str(number))) for number, (_, text) in enumerate(outcomes))
    return replace(select, clauses=(*select.clauses, *items))


def outcome_rows(result: QueryResult, outcomes: Outcomes, progress: Progress) -> Iterator[OutcomeRow]:
    """The rows of a query ``with_outcomes``, in its order."""
    for number, (name, row) in enumerate(named_rows(result, progress)):
        if not number % _TOLD_ROWS:
            progress.update(number)
        values: list[Atom] = [None] * len(outcomes)
        cells = []
        for cell in row:
            if cell.path[0] == _OUTCOMES:
                values[int(cell.path[1])] = cell.value
            else:
                cells.append(cell)
        yield OutcomeRow(name, cells, values)


def outcome_batches(
    result: QueryResult, outcomes: Outcomes, progress: Progress
) -> Iterator[tuple[CellArrays, NDArray[np.bool_]]]:
    """The rows of a query ``with_outcomes`` in batches: their cells, and which outcomes are true (rows, outcomes)."""
    done = 0
    for batch in result.batches(progress):
        won = [[False] * len(outcomes) for _ in range(batch.rows.length)]
        for values, row in zip(won, rows_of(batch.rows.under((_OUTCOMES,))), strict=True):
            for cell in row:
                values[int(cell.path[0])] = is_true(cell.value)
        cells = cell_arrays(batch.rows)
        columns = np.array([parse_path(name)[0] != _OUTCOMES for name in cells.names], np.bool_)
        yield cells.take(columns[cells.codes]), np.array(won, np.bool_).reshape(-1, len(outcomes))
        done += batch.rows.length
        progress.update(done)


def check_outcomes(outcomes: Sequence[tuple[str, str]], type_name: str) -> None:
    """``MldbError`` unless there are outcomes with distinct names."""
    names = [name for name, _ in outcomes]
    if not names:
        raise MldbError(f"{type_name} needs at least one outcome: [name, SQL expression]")
    if len(set(names)) < len(names):
        raise MldbError(f"{type_name}: each outcome needs a name of its own")
