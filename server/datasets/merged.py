"""``merged`` and ``union``: several datasets seen as one (entity-types.md §2.4)."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from server.datasets.views import ViewDataset, inputs, refer
from server.declarations import Creation, EntityType, Params
from server.errors import MldbError
from server.sql.tree import TableCall


class SeveralParams(Params):
    datasets: list[dict[str, Any]] = Field(
        description="Datasets to combine: an object with the id of each, or with the type and params to create it"
    )


def _merged(creation: Creation) -> ViewDataset:
    if not creation.params.datasets:
        raise MldbError("Attempt to merge no datasets together")
    ids = inputs(creation, creation.params.datasets)
    return ViewDataset("merged", TableCall("merge", refer(ids)), {"inputs": ids}, services=creation.services)


def _union(creation: Creation) -> ViewDataset:
    if not creation.params.datasets:
        raise MldbError("Attempt to unify no datasets together")
    ids = inputs(creation, creation.params.datasets)
    table = TableCall("union", refer(ids))
    return ViewDataset("union", table, {"inputs": ids}, services=creation.services, counts=_rows_together)


def _rows_together(inputs: list[dict[str, Any]]) -> dict[str, Any]:
    counts = [status.get("rowCount") for status in inputs]
    return {} if None in counts else {"rowCount": sum(counts)}


TYPES = [
    EntityType(
        "dataset",
        "merged",
        SeveralParams,
        "Rows of equal name of several datasets combined",
        _merged,
        "A cell that several inputs have keeps all their values. The same as `merge(a, b)` in SQL.",
    ),
    EntityType(
        "dataset",
        "union",
        SeveralParams,
        "Rows of several datasets one after the other",
        _union,
        "Row `r` of input number k (from 0) is named `k.r`.",
    ),
]
