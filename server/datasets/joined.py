"""``joined``: the join of two table expressions (entity-types.md §2.1)."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from server.datasets.views import Spec, ViewDataset, inputs
from server.declarations import Creation, EntityType, Params
from server.sql.parser import parse_expression, parse_table
from server.sql.tree import DatasetRef, Join, Table

_KINDS: dict[str, Literal["inner", "left", "right", "full"]] = {
    "JOIN_INNER": "inner",
    "JOIN_LEFT": "left",
    "JOIN_RIGHT": "right",
    "JOIN_FULL": "full",
}


class JoinedParams(Params):
    left: Spec = Field(description="Left side: a table expression, or a dataset object")
    right: Spec = Field(description="Right side: a table expression, or a dataset object")
    on: str = Field("", description="Condition; without one every pair of rows is joined")
    qualification: Literal["JOIN_INNER", "JOIN_LEFT", "JOIN_RIGHT", "JOIN_FULL"] = Field(
        "JOIN_INNER", description="Which rows without a partner are kept"
    )


def _create(creation: Creation) -> ViewDataset:
    params: JoinedParams = creation.params
    specs = [side for side in (params.left, params.right) if not isinstance(side, str)]
    ids = inputs(creation, specs)
    named = iter(ids)
    left, right = (_side(side, named) for side in (params.left, params.right))
    condition = parse_expression(params.on) if params.on else None
    table = Join(left, right, _KINDS[params.qualification], condition)
    return ViewDataset("joined", table, {"inputs": ids}, services=creation.services)


def _side(side: Spec, named: Any) -> Table:
    return parse_table(side) if isinstance(side, str) else DatasetRef(next(named))


TYPES = [
    EntityType(
        "dataset",
        "joined",
        JoinedParams,
        "Join of two table expressions",
        _create,
        "The same as `FROM left JOIN right ON …` in SQL.",
    ),
]
