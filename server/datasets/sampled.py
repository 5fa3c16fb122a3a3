"""``sampled``: random rows of a dataset, the same ones for as long as it lives (entity-types.md §2.4)."""

from __future__ import annotations

import secrets
from functools import partial
from typing import Any, NoReturn

from pydantic import Field

from server.datasets.views import Spec, ViewDataset, inputs, refer
from server.declarations import Creation, EntityType, Params
from server.errors import MldbError
from server.sql.tree import Constant, Item, RowLiteral, Select, TableCall, Wildcard


class SampledParams(Params):
    dataset: Spec | None = Field(None, description="Dataset to draw from: its id, or an object with id or type")
    rows: int = Field(0, ge=0, description="Number of rows to draw")
    fraction: float = Field(0.0, description="Share of the rows to draw, above 0 and up to 1; instead of `rows`")
    withReplacement: bool = Field(False, description="Whether a row may be drawn several times")
    seed: int = Field(0, description="Draws with the same seed are the same; 0 for a random one")


class SampledDataset(ViewDataset):
    def _refuse(self) -> NoReturn:
        raise MldbError("'sampled' dataset type doesn't allow recording")


def _create(creation: Creation) -> SampledDataset:
    params: SampledParams = creation.params
    if params.dataset is None:
        raise MldbError("You need to define the dataset key")
    ids = inputs(creation, [params.dataset])
    # Drawn anew by each query, so one seed is kept: the sample does not change between two looks.
    seed = creation.stored["seed"] if creation.stored else params.seed or secrets.randbelow(2**31 - 1) + 1
    options = {"withReplacement": int(params.withReplacement), "seed": seed}
    if params.rows:
        options["rows"] = params.rows
    if params.fraction or not params.rows:
        options["fraction"] = params.fraction
    items = tuple(Item(Constant(value), (name,), name) for name, value in options.items())
    table = TableCall("sample", refer(ids), RowLiteral(items))
    if creation.stored is None:
        creation.services.query(Select((Wildcard(),), source=table, limit=0))  # binding it finds what is wrong
    stored = {"inputs": ids, "seed": seed}
    return SampledDataset("sampled", table, stored, services=creation.services, counts=partial(_drawn, params))


def _drawn(params: SampledParams, inputs: list[dict[str, Any]]) -> dict[str, Any]:
    (status,) = inputs
    if params.rows:
        return {"rowCount": params.rows}
    return {"rowCount": int(status["rowCount"] * params.fraction)} if "rowCount" in status else {}


TYPES = [
    EntityType(
        "dataset",
        "sampled",
        SampledParams,
        "Random rows of a dataset",
        _create,
        "Rows keep their names; one that is drawn twice appears twice. The same as `sample(d, {rows: 10})` in SQL.",
    ),
]
