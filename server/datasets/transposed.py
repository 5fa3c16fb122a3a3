"""``transposed``: rows and columns changed over (entity-types.md §2.4)."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from server.datasets.views import Spec, ViewDataset, inputs, refer
from server.declarations import Creation, EntityType, Params
from server.sql.tree import TableCall


class TransposedParams(Params):
    dataset: Spec = Field(description="Dataset to transpose: its id, or an object with id or type")


def _create(creation: Creation) -> ViewDataset:
    ids = inputs(creation, [creation.params.dataset])
    table = TableCall("transpose", refer(ids))
    return ViewDataset("transposed", table, {"inputs": ids}, services=creation.services, counts=_changed_over)


def _changed_over(inputs: list[dict[str, Any]]) -> dict[str, Any]:
    (status,) = inputs
    names = {"rowCount": "columnCount", "columnCount": "rowCount", "valueCount": "valueCount"}
    return {name: status[other] for name, other in names.items() if other in status}


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
