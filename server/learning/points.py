"""Inputs of k-means, EM, t-SNE and SVM: rows that all have the same numeric columns (entity-types.md §1.3)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from server.declarations import NamedBatch
from server.errors import MldbError
from server.learning.columns import Piece, one_array, pieces_of
from server.learning.matrix import Floats, Sparse
from server.learning.table import build
from server.values.cityhash import hash_path_texts


@dataclass(frozen=True)
class Points:
    """Named points; ``columns`` name the coordinates, in natural order.

    ``order`` is the place of each among the rows as they were read.
    """

    names: pa.Array
    columns: list[str]
    matrix: Floats
    order: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.names)


def read_points(batches: Iterable[NamedBatch], what: str, *, dimensions: int = -1, keep_order: bool = False) -> Points:
    """All rows, by row hash unless the query's order is to be kept; ``MldbError`` for cells that are no numbers."""
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
    if not np.isfinite(dense).all():
        row, column = np.argwhere(~np.isfinite(dense))[0].tolist()
        raise MldbError(f"{what}: row '{names[row]}' has no finite number in column '{columns[column]}'")
    if keep_order:
        return Points(names, columns, dense, np.arange(len(names)))
    order = np.argsort(hash_path_texts(names), kind="stable")
    return Points(names.take(pa.array(order)), columns, dense[order], order)
