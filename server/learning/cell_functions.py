"""Functions from rows of any columns to such rows, and from texts to texts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa

from server.declarations import BoundFunction
from server.errors import MldbError
from server.learning.function_inputs import require_atom, require_row, row_input
from server.transfer.results import column_atoms, rows_of
from server.values.atoms import atom_text
from server.values.batches import Cell, Column, Row, RowBatch, RowType, rows_of_any_columns
from server.values.cells import cells_array
from server.values.kinds import Kind

RowMap = Callable[[Row], Row]
TextMap = Callable[[str], str]
_WORDS = "words"


@dataclass(frozen=True)
class RowFunction:
    """Maps the input row ``given`` to the row ``result``: ``cells`` gives the cells of all rows of a batch."""

    given: str
    result: str
    cells: Callable[[RowBatch], pa.Array]
    told: Mapping[str, Any] | None = None  # of the model that it applies
    alone: bool = False  # nothing may stand beside the input

    def details(self) -> Mapping[str, Any] | None:
        return self.told

    @property
    def digest(self) -> str | None:
        return None if self.told is None else self.told["digest"]

    @property
    def input(self) -> RowType:
        return row_input((self.given,)) if self.alone else RowType((Column((self.given,), Kind.ANY),), open=True)

    @cached_property
    def output(self) -> RowType:
        return rows_of_any_columns(self.result)

    def bind(self, given: RowType) -> BoundFunction:
        require_row(given, (self.given,))
        return self

    def apply(self, batch: RowBatch) -> RowBatch:
        return RowBatch(self.output, batch.length, (), (), self.cells(batch))


def words_function(apply: RowMap) -> RowFunction:
    """Bags of words to bags of words, row by row: both input and output are called ``words``."""

    def cells(batch: RowBatch) -> pa.Array:
        return cells_array([
            [Cell((_WORDS, *cell.path), cell.value, cell.timestamp) for cell in apply(row)]
            for row in rows_below(batch, _WORDS)
        ])  # fmt: skip

    return RowFunction(_WORDS, _WORDS, cells, alone=True)


def rows_below(batch: RowBatch, name: str) -> list[Row]:
    """The cells of an input row. Null is an empty row; ``MldbError`` for any other atom in its place."""
    rows = rows_of(batch.under((name,)))
    if any(not cell.path and cell.value is not None for row in rows for cell in row):
        raise MldbError(f"The input '{name}' must be a row, not a single value")
    return [[cell for cell in row if cell.path] for row in rows]


@dataclass(frozen=True)
class TextFunction:
    """Maps the text ``given`` to the text ``result``; null stays null."""

    given: str
    result: str
    map: TextMap
    alone: bool = False  # as of RowFunction

    @property
    def input(self) -> RowType:
        return RowType((Column((self.given,), Kind.STRING),), open=not self.alone)

    @property
    def output(self) -> RowType:
        return RowType((Column((self.result,), Kind.STRING),))

    def bind(self, given: RowType) -> BoundFunction:
        require_atom(given, self.given, "text")
        return self

    def apply(self, batch: RowBatch) -> RowBatch:
        atoms = column_atoms(batch, self.given)
        texts = [None if atom is None else self.map(atom_text(atom)) for atom in atoms]
        return RowBatch(self.output, batch.length, [pa.array(texts, pa.string())])
