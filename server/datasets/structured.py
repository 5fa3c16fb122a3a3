"""``structured.mutable``: recorded rows with nested values (entity-types.md §2.1).

A nested value is the cells below its path, as everywhere in the data model; timestamps are kept as given.
"""

from __future__ import annotations

from server.datasets.base import table_of
from server.datasets.sparse import SparseDataset
from server.declarations import Creation, EntityType, Params


class StructuredParams(Params):
    pass


def _create(creation: Creation) -> SparseDataset:
    prefix = table_of(creation)
    return SparseDataset(creation.services.database, prefix)


TYPES = [
    EntityType("dataset", "structured.mutable", StructuredParams, "Recorded rows with nested values", _create),
]
