"""The columns of all batches of a training, as they must be known before a matrix can be made of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from server.learning.columns import AtomPiece, BlockPiece, CellsPiece, Piece, Values
from server.values.atoms import collapse, number_text
from server.values.distinct import distinct


@dataclass
class SeenColumns:
    """How many values each column has, and the texts of those that are categories."""

    texts: dict[str, set[str]]
    _places: dict[str, int] = field(default_factory=dict)
    _counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))

    def filled(self) -> tuple[list[str], NDArray[np.int64]]:
        """The columns that have any value, and how many."""
        counts = self._counts
        return [name for name, count in zip(self._places, counts.tolist(), strict=True) if count], counts[counts > 0]

    def empty(self) -> frozenset[str]:
        """The columns that have no value."""
        found = {name for name, count in zip(self._places, self._counts.tolist(), strict=True) if not count}
        return frozenset(found | (self.texts.keys() - self._places.keys()))

    def count(self, names: Sequence[str], counts: NDArray[Any] | Sequence[int]) -> None:
        known = self._places
        places = np.fromiter((known.setdefault(name, len(known)) for name in names), np.int64, len(names))
        self._counts = np.concatenate([self._counts, np.zeros(len(known) - len(self._counts), np.int64)])
        np.add.at(self._counts, places, counts)

    def add_texts(self, name: str, texts: Iterable[str]) -> None:
        self.texts.setdefault(name, set()).update(texts)


def see_columns(pieces: Sequence[Piece], texts: Collection[str]) -> SeenColumns:
    """``texts`` names columns that are categories even where these pieces have numbers only."""
    seen = SeenColumns({name: set() for name in texts})
    for piece in pieces:
        if isinstance(piece, BlockPiece):
            seen.count(piece.names, _present(piece.numbers))
        elif isinstance(piece, AtomPiece):
            seen.count([piece.name], [int(piece.values.present.sum())])
            if piece.values.codes is not None and (piece.values.codes >= 0).any():
                seen.add_texts(piece.name, _distinct_texts(piece.values))
        else:
            _see_cells(seen, piece)
    for piece in pieces if seen.texts else ():
        _see_numbers_among_texts(seen, piece)
    return seen


def _present(numbers: NDArray[Any]) -> Sequence[int] | NDArray[np.int64]:
    """How many numbers of each column are there."""
    with np.errstate(over="ignore", invalid="ignore"):
        total = numbers.sum()
    if not np.isnan(total):  # what is not a number would make the sum none: a quick look, for most have all
        return [len(numbers)] * numbers.shape[1]
    return np.asarray((~np.isnan(numbers)).sum(axis=0))


def _see_cells(seen: SeenColumns, piece: CellsPiece) -> None:
    seen.count(piece.names, np.bincount(piece.columns[piece.values.present], minlength=len(piece.names)))
    codes = piece.values.codes
    if codes is not None:
        for column, cells in by_key(piece.columns, codes >= 0):
            seen.add_texts(piece.names[column], _distinct_texts(piece.values, cells))


def _see_numbers_among_texts(seen: SeenColumns, piece: Piece) -> None:
    """Where a column has texts, its numbers are categories too."""
    if isinstance(piece, AtomPiece) and piece.name in seen.texts:
        seen.add_texts(piece.name, _number_texts(piece.values.numbers))
    elif isinstance(piece, CellsPiece):
        mixed = np.array([name in seen.texts for name in piece.names], np.bool_)
        numbers = piece.values.numbers
        there = ~np.isnan(numbers)
        for column, cells in by_key(piece.columns, there & mixed[piece.columns] if len(mixed) else there):
            seen.add_texts(piece.names[column], _number_texts(numbers[cells]))


def _number_texts(numbers: NDArray[np.float64]) -> set[str]:
    return {number_text(collapse(number)) for number in distinct(numbers[~np.isnan(numbers)]).tolist()}


def _distinct_texts(values: Values, cells: NDArray[np.int64] | slice = slice(None)) -> set[str]:
    """The different texts that some cells hold."""
    codes = values.codes
    assert codes is not None
    used = np.unique(codes[cells])
    return {values.texts[code] for code in used[used >= 0].tolist()}


def by_key(keys: NDArray[Any], where: NDArray[np.bool_]) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Each key that occurs where this is true, and the places where it does, ascending."""
    chosen = np.flatnonzero(where)
    order = chosen[np.argsort(keys[chosen], kind="stable")]
    if len(order):
        sorted_keys = keys[order]
        starts = np.flatnonzero(np.concatenate([[True], sorted_keys[1:] != sorted_keys[:-1]]))
        yield from zip(sorted_keys[starts].tolist(), np.split(order, starts[1:]), strict=True)
