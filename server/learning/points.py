"""Inputs of k-means, EM, t-SNE and SVM: rows that all have the same numeric columns (entity-types.md §1.3)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from server.declarations import NamedBatch
from server.errors import MldbError
from server.learning.columns import Piece, pieces_of
from server.learning.matrix import Floats, Sparse
from server.learning.table import build
from server.sql.tree import Select
from server.values.batches import one_array
from server.values.cityhash import Hashes, hash_path_texts

_SEED = 1


@dataclass(frozen=True)
class Points:
    """Named points as they were read; ``columns`` name the coordinates, in natural order.

    Their order is that of ``hashes``, those of the rows' names, or that in which they were read (None) where the query
    tells it: what a method draws at random must not depend on how rows happen to come.
    """

    names: pa.Array
    columns: list[str]
    matrix: Floats
    hashes: Hashes | None

    def __len__(self) -> int:
        return len(self.names)

    def draw(self, count: int) -> NDArray[np.int64]:
        """``count`` of the points at random (their numbers); all in their order when there are no more."""
        if self.hashes is not None:  # hashes are as good as drawn
            first = np.argpartition(self.hashes, count)[:count] if count < len(self) else np.arange(len(self))
            return np.asarray(first[np.lexsort((first, self.hashes[first]))])
        if count < len(self):
            return np.random.default_rng(_SEED).permutation(len(self))[:count]
        return np.arange(len(self))

    def arranged(self) -> Points:
        """The points in their order."""
        order = self.draw(len(self))
        return Points(self.names.take(pa.array(order)), self.columns, self.matrix[order], None)


def tells_order(query: Select) -> bool:
    """Whether the order of a query's rows is part of what it says: it takes the first of them."""
    return query.limit is not None or query.offset > 0


def read_points(batches: Iterable[NamedBatch], what: str, *, dimensions: int = -1, keep_order: bool) -> Points:
    """All rows; ``MldbError`` for cells that are no numbers."""
    chunks: list[pa.Array] = []
    parts: list[tuple[int, list[Piece]]] = []
    for batch in batches:
        chunks.append(one_array(batch.names))
        parts.append((batch.rows.length, list(pieces_of(batch.rows))))
    names = pa.concat_arrays(chunks) if chunks else pa.array([], pa.string())
    space, matrix = build(parts, lambda at: str(names[at]))
    if space.ignored:
        name = min(space.ignored)
        raise MldbError(f"{what}: column '{name}' has no value in any row; leave it out with EXCLUDING ({name})")
    texts = [feature.name for feature in space.features if feature.categories is not None]
    if texts:
        raise MldbError(f"{what}: column '{texts[0]}' holds texts where numbers are needed")
    dense = matrix.dense(0, len(names)) if isinstance(matrix, Sparse) else matrix
    columns = [feature.name for feature in space.features]
    if dimensions >= 0:
        columns, dense = columns[:dimensions], dense[:, :dimensions]
    if not columns:
        raise MldbError(f"{what}: the rows have no columns, numbers are needed")
    with np.errstate(over="ignore", invalid="ignore"):
        total = dense.sum()
    if not np.isfinite(total) and not np.isfinite(dense).all():  # the sum is a quick look
        row, column = np.argwhere(~np.isfinite(dense))[0].tolist()
        raise MldbError(f"{what}: row '{names[row]}' has no finite number in column '{columns[column]}'")
    return Points(names, columns, dense, None if keep_order else hash_path_texts(names))
