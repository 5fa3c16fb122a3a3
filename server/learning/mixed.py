"""Columns that hold numbers in some rows and texts in others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from server.learning.columns import AtomPiece, BlockPiece, CellsPiece, Piece, Values


def mixed_columns(parts: Sequence[Sequence[Piece]]) -> list[str]:
    """Names of the columns that have both numbers and texts, sorted."""
    texts: set[str] = set()
    numbers: set[str] = set()
    for pieces in parts:
        for piece in pieces:
            if isinstance(piece, BlockPiece):
                numbers.update(piece.names)
            elif isinstance(piece, AtomPiece):
                _note(piece.name, piece.values, texts, numbers)
            else:
                _note_cells(piece, texts, numbers)
    return sorted(texts & numbers)


def _note(name: str, values: Values, texts: set[str], numbers: set[str]) -> None:
    if values.codes is not None and (values.codes >= 0).any():
        texts.add(name)
    if not np.isnan(values.numbers).all():
        numbers.add(name)


def _note_cells(piece: CellsPiece, texts: set[str], numbers: set[str]) -> None:
    there = np.unique(piece.columns[~np.isnan(piece.values.numbers)])
    numbers.update(piece.names[at] for at in there.tolist())
    if piece.values.codes is not None:
        texts.update(piece.names[at] for at in np.unique(piece.columns[piece.values.codes >= 0]).tolist())
