"""Columns that hold numbers in some rows and texts in others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from server.learning.columns import BlockPiece, CellsPiece, Piece


def mixed_columns(parts: Sequence[Sequence[Piece]]) -> list[str]:
    """Names of the columns that have both numbers and texts, sorted."""
    pieces = [piece for each in parts for piece in each]
    texts = {name for piece in pieces for name in _with_texts(piece)}
    return sorted({name for piece in pieces for name in _with_numbers(piece, texts)}) if texts else []


def _with_texts(piece: Piece) -> list[str]:
    if isinstance(piece, BlockPiece) or piece.values.codes is None:
        return []
    there = piece.values.codes >= 0
    if isinstance(piece, CellsPiece):
        return [piece.names[column] for column in np.unique(piece.columns[there]).tolist()]
    return [piece.name] if there.any() else []


def _with_numbers(piece: Piece, wanted: set[str]) -> list[str]:
    """Which of the wanted columns have a number."""
    if isinstance(piece, BlockPiece):
        return [name for name in piece.names if name in wanted]
    there = ~np.isnan(piece.values.numbers)
    if isinstance(piece, CellsPiece):
        names = (piece.names[column] for column in np.unique(piece.columns[there]).tolist())
        return [name for name in names if name in wanted]
    return [piece.name] if piece.name in wanted and there.any() else []
