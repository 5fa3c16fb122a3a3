"""``structured.mutable``: recorded rows with nested values (entity-types.md §2.1).

A nested value is the cells below its path, as everywhere in the data model; timestamps are kept as given.
"""

from __future__ import annotations

from server.datasets.base import table_of
from server.datasets.sparse import SparseDataset
from server.declarations import Creation, EntityType, Params
from server.storage.cells import CellTables


class StructuredParams(Params):
    pass


def _create(creation: Creation) -> SparseDataset:
    return SparseDataset(CellTables(creation.services.database, table_of(creation)))


TYPES = [
    EntityType("dataset", "structured.mutable", StructuredParams, "Recorded rows with nested values", _create),
]
