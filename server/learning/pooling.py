"""The function ``pooling``: one vector for a bag of words, from the vectors of the words (entity-types.md §4.3)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from server.declarations import BoundFunction, Creation, DatasetSpec, EntityType, Params
from server.errors import MldbError
from server.learning.cell_functions import rows_below
from server.learning.embedding_neighbors import read_vectors, table_of
from server.learning.function_inputs import require_row, row_input
from server.learning.matrix import Floats
from server.sql.tree import Select, Wildcard
from server.values.atoms import NEVER
from server.values.batches import Column, Row, RowBatch, RowType
from server.values.kinds import Kind
from server.values.paths import format_path

_WORDS = ("words",)
_AGGREGATORS: dict[str, Callable[..., Any]] = {"avg": np.mean, "min": np.min, "max": np.max, "sum": np.sum}


class PoolingParams(Params):
    embeddingDataset: DatasetSpec = Field(
        description="Dataset with a row for each word and the same numeric columns in all"
    )
    aggregators: list[str] = Field(default=["avg"], description="How vectors are made one: avg, min, max, sum")


@dataclass(frozen=True)
class Pooling:
    """Aggregates the vectors of the words that are known. The vectors are read when the function is made."""

    rows: dict[str, int]
    vectors: Floats
    aggregators: list[str]

    input = row_input(_WORDS)

    @property
    def size(self) -> int:
        return int(self.vectors.shape[1]) * len(self.aggregators)

    @property
    def output(self) -> RowType:
        return RowType((Column(("embedding",), Kind.NUMBER, (self.size,)),))

    def bind(self, given: RowType) -> BoundFunction:
        require_row(given, _WORDS)
        return self

    def apply(self, batch: RowBatch) -> RowBatch:
        pooled = [self.pool(row) for row in rows_below(batch, _WORDS[0])]
        flat = np.concatenate(pooled) if pooled else np.zeros(0)
        values = pa.FixedSizeListArray.from_arrays(pa.array(flat), self.size)
        return RowBatch(self.output, batch.length, [values], [NEVER])

    def pool(self, row: Row) -> NDArray[np.float64]:
        """The aggregates one after the other; zeros when no word is known. Counts do not matter."""
        names = (format_path(cell.path) for cell in row if cell.value is not None)
        known = [self.rows[name] for name in names if name in self.rows]
        if not known:
            return np.zeros(self.size)
        vectors = self.vectors[known].astype(np.float64)
        return np.concatenate([_AGGREGATORS[name](vectors, axis=0) for name in self.aggregators])


def _create(creation: Creation) -> Pooling:
    params: PoolingParams = creation.params
    for name in params.aggregators:
        if name not in _AGGREGATORS:
            raise MldbError(f"Unknown aggregator: {name}")
    table = table_of(creation.services, params.embeddingDataset)
    result = creation.services.query(Select((Wildcard(),), source=table))
    names, columns, vectors = read_vectors(result.batches(creation.progress), ())
    if not columns:
        raise MldbError("pooling needs at least one numeric column in its embeddingDataset")
    return Pooling({name: row for row, name in enumerate(names)}, vectors, params.aggregators or ["avg"])


TYPES = [
    EntityType(
        "function",
        "pooling",
        PoolingParams,
        "Makes a bag of words one vector from the vectors of its words",
        _create,
        "`words` is a row whose columns are the words; gives `embedding`.",
    )
]
