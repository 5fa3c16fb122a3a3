"""``transposed``: rows and columns changed over (entity-types.md §2.4)."""

from __future__ import annotations

from pydantic import Field

from server.datasets.views import Spec, ViewDataset, inputs, refer
from server.declarations import Creation, EntityType, Params
from server.sql.tree import TableCall


class TransposedParams(Params):
    dataset: Spec = Field(description="Dataset to transpose: its id, or an object with id or type")


def _create(creation: Creation) -> ViewDataset:
    ids = inputs(creation, [creation.params.dataset])
    return ViewDataset("transposed", TableCall("transpose", refer(ids)), {"inputs": ids})


TYPES = [
    EntityType(
        "dataset",
        "transposed",
        TransposedParams,
        "A dataset with rows and columns changed over",
        _create,
        "Each cell keeps its timestamp. The same as `transpose(d)` in SQL.",
    ),
]
