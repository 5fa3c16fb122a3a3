"""``bucketize`` and ``ranking``: the place of each row in an order, as a column (entity-types.md §3.8)."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from server.declarations import (
    EntityType,
    InputQuery,
    NamedBatch,
    OutputDataset,
    ProcedureParams,
    Progress,
    RunResult,
    Services,
    StatelessProcedure,
)
from server.errors import MldbError
from server.procedures.validators import checked_query
from server.sql.tree import Constant, Item, Select
from server.transfer.results import TableResult, seconds
from server.values.atoms import NEVER
from server.values.batches import Column, RowBatch, RowType
from server.values.kinds import Kind

BUCKETIZE = "bucketize"
RANKING = "ranking"
Bounds = tuple[float, float]


class BucketizeParams(ProcedureParams):
    """Parameters of bucketize."""

    inputData: InputQuery = Field(description="A query; its ORDER BY is what counts, what it selects is ignored")
    outputDataset: OutputDataset = Field(
        default={}, description="Dataset to create; sparse.mutable unless it says otherwise"
    )
    percentileBuckets: dict[str, Bounds] = Field(
        description="Names of buckets with the percentiles where they begin and end, from 0 to 100"
    )


class RankingParams(ProcedureParams):
    """Parameters of ranking."""

    inputData: InputQuery = Field(description="A query; its ORDER BY is what counts, what it selects is ignored")
    outputDataset: OutputDataset = Field(
        default={}, description="Dataset to create; sparse.mutable unless it says otherwise"
    )
    rankingType: Literal["index"] = Field("index", description="Kind of rank: the index of the row, from 0")
    rankingColumnName: str = Field("rank", description="Column for the rank")


class Bucketize(StatelessProcedure):
    def check(self, params: BucketizeParams) -> Select:
        checked_buckets(params.percentileBuckets)
        return checked_query(self.services, params.inputData, BUCKETIZE)

    def run(self, params: BucketizeParams, progress: Progress) -> RunResult:
        buckets = checked_buckets(params.percentileBuckets)
        progress.step("iterating")
        names, newest = ordered_names(self.services, self.check(params), progress)
        progress.step("bucketizing")
        labels = np.full(len(names), None, dtype=object)
        for label, (low, high) in buckets:
            end = len(names) if high == 100 else int(high / 100 * len(names))
            labels[int(low / 100 * len(names)) : end] = label
        inside = np.array([label is not None for label in labels], dtype=bool)
        result = one_column(
            names.filter(pa.array(inside)),
            "bucket",
            Kind.STRING,
            pa.array(labels[inside].tolist(), pa.string()),
            newest,
        )
        _, dataset = self.services.output_dataset(params.outputDataset, "sparse.mutable")
        dataset.write(result, progress)
        return RunResult(dataset.status())


class Ranking(StatelessProcedure):
    def check(self, params: RankingParams) -> Select:
        return checked_query(self.services, params.inputData, RANKING)

    def run(self, params: RankingParams, progress: Progress) -> RunResult:
        progress.step("iterating")
        names, newest = ordered_names(self.services, self.check(params), progress)
        progress.step("ranking")
        ranks = pa.array(np.arange(len(names), dtype=np.int64))
        result = one_column(names, params.rankingColumnName, Kind.INTEGER, ranks, newest)
        _, dataset = self.services.output_dataset(params.outputDataset, "sparse.mutable")
        dataset.write(result, progress)
        return RunResult(dataset.status())


def ordered_names(services: Services, tree: Select, progress: Progress) -> tuple[pa.Array, float]:
    """Row names in the query's order, and the newest timestamp of what it is ordered by (-inf without an order)."""
    keys = tuple(Item(key.expression, ("key", str(index))) for index, key in enumerate(tree.order_by))
    tree = dataclasses.replace(tree, clauses=keys or (Item(Constant(1), ("one",)),))
    names: list[pa.Array] = []
    newest = NEVER
    for batch in services.query(tree, timestamps=True).batches(progress):
        progress.check()
        names.append(batch.names.cast(pa.string()))
        if keys:
            newest = max(newest, newest_of(batch.rows))
    return pa.concat_arrays(names) if names else pa.array([], pa.string()), newest


def newest_of(batch: RowBatch) -> float:
    """The newest timestamp of the known columns."""
    newest = NEVER
    for index in range(len(batch.type.columns)):
        times = [time for time in seconds(batch.timestamp(index), batch.length) if not math.isnan(time)]
        newest = max([newest, *times])
    return newest


def one_column(names: pa.Array, column: str, kind: Kind, values: pa.Array, time: float) -> TableResult:
    """Rows of one cell each, all of one timestamp."""
    type_ = RowType((Column((column,), kind),))
    return TableResult(type_, [NamedBatch(names, RowBatch(type_, len(names), [values], [time]))])


def checked_buckets(buckets: Mapping[str, Bounds]) -> Sequence[tuple[str, Bounds]]:
    """Buckets by lower bound; ``MldbError`` for bounds that make no sense and buckets that overlap."""
    ordered = sorted(buckets.items(), key=lambda item: item[1])
    for _, (low, high) in ordered:
        shown = _shown((low, high))
        if low < 0:
            raise MldbError(f"Invalid percentileBucket {shown}: lower bound must be greater or equal to 0")
        if high > 100:
            raise MldbError(f"Invalid percentileBucket {shown}: higher bound must be lower or equal to 1")
        if not low < high:
            raise MldbError(f"Invalid percentileBucket {shown}: higher bound must  be greater than lower bound")
    for (_, before), (_, after) in itertools.pairwise(ordered):
        if after[0] < before[1]:
            raise MldbError(f"Invalid percentileBucket: {_shown(before)} is overlapping with {_shown(after)}")
    return ordered


def _shown(bounds: Bounds) -> str:
    return f"[{bounds[0]:f}, {bounds[1]:f}]"


TYPES = [
    EntityType(
        kind="procedure",
        name=BUCKETIZE,
        params=BucketizeParams,
        summary="Put rows into buckets by their place in an order",
        create=Bucketize.create,
        doc="Rows are taken in the query's order; column `bucket` names the percentile range that a row falls into.",
    ),
    EntityType(
        kind="procedure",
        name=RANKING,
        params=RankingParams,
        summary="Number rows by their place in an order",
        create=Ranking.create,
        doc="Rows are taken in the query's order and numbered from 0.",
    ),
]
