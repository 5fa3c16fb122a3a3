"""Embeddings whose elements all leave a query as columns leave as they lie, as one column each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from server.sql.bound import Atom, Embedding, Leaf, Row
from server.values.kinds import Kind
from server.values.paths import Path, element_names

_NUMBERS = frozenset({Kind.NUMBER, Kind.INTEGER, Kind.UNSIGNED})


def with_whole_embeddings(row: Row) -> Row:
    """The row in which elements that make up an embedding, side by side and in order, are that embedding again.

    Its path is what they have in common.
    """
    items = list(row.columns.items())
    columns: dict[Path, Leaf] = {}
    at = 0
    while at < len(items):
        whole = _whole(items, at)
        run = items[at : at + max(math.prod(whole.shape or ()), 1)] if whole is not None else items[at : at + 1]
        prefix, names = element_names([path for path, _ in run])
        if whole is None or prefix in row.columns or prefix in columns:
            columns |= run
        else:
            columns[prefix] = replace(whole, shape=(len(run),), names=names)
        at += len(run)
    return replace(row, columns=columns)


def _whole(items: Sequence[tuple[Path, Leaf]], at: int) -> Embedding | None:
    """The embedding of numbers whose elements begin at a place."""
    first = items[at][1]
    whole = first.part[0] if isinstance(first, Atom) and first.part is not None else None
    if whole is None or whole.shape is None or whole.kind not in _NUMBERS:
        return None
    size = math.prod(whole.shape)
    parts = [leaf.part if isinstance(leaf, Atom) else None for _, leaf in items[at : at + size]]
    own = [part is not None and part[0] is whole and part[1] == place for place, part in enumerate(parts)]
    return whole if len(own) == size > 1 and all(own) else None
