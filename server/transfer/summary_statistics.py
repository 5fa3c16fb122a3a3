"""``summary.statistics``: a row of figures for each column of a query (entity-types.md §3.10)."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from pydantic import Field

from server.declarations import (
    EntityType,
    InputQuery,
    OutputDataset,
    ProcedureParams,
    Progress,
    Recorded,
    RunResult,
    StatelessProcedure,
)
from server.procedures.validators import checked_query, whole_columns
from server.sql.tree import Select
from server.transfer.occurrences import Occurring, Places, occurrences
from server.transfer.outputs import record_all, recording_dataset
from server.values.atoms import NEVER, Atom, collapse
from server.values.paths import Path

NAME = "summary.statistics"
MOST_FREQUENT = 10
QUARTILES = (("1st_quartile", 0.25), ("median", 0.5), ("3rd_quartile", 0.75))


class SummaryStatisticsParams(ProcedureParams):
    """Parameters of summary.statistics."""

    inputData: InputQuery = Field(description="A query that selects whole columns")
    outputDataset: OutputDataset = Field(
        default={}, description="Dataset to create; sparse.mutable unless it says otherwise"
    )


class SummaryStatistics(StatelessProcedure):
    def check(self, params: SummaryStatisticsParams) -> Select:
        tree = checked_query(self.services, params.inputData, NAME, "groupBy", "having")
        whole_columns(tree, NAME)
        return tree

    def run(self, params: SummaryStatisticsParams, progress: Progress) -> RunResult:
        tree = self.check(params)
        progress.step("reading")
        result = self.services.query(tree)
        described = occurrences(result, progress)
        progress.step("summarising", "counter")
        dataset = recording_dataset(self.services, params.outputDataset, "sparse.mutable")
        record_all(dataset, (row_of(path, occurring) for path, occurring in described), progress)
        return RunResult(dataset.status())


def row_of(path: Path, occurring: Occurring) -> Recorded:
    """The row that describes a column."""
    counts, numbers = occurring.counts, occurring.numbers
    figures: list[tuple[Path, Atom]] = [(("num_null",), occurring.nulls), (("num_unique",), len(counts))]
    if len(counts) and numbers is not None:
        figures += [(("data_type",), "number"), *numeric_figures(numbers, counts)]
    else:
        figures.append((("data_type",), "categorical"))
    figures += [(("most_frequent_items", text), count) for text, count in most_frequent(occurring)]
    return path, [(("value", *name), value, NEVER) for name, value in figures]


def numeric_figures(numbers: npt.NDArray[np.float64], counts: Places) -> Iterator[tuple[Path, Atom]]:
    """Extremes, mean, sample deviation and quartiles of numbers that occur so many times."""
    order = np.argsort(numbers, kind="stable")
    values, weights = numbers[order], counts[order]
    total = int(weights.sum())
    mean = float((values * weights).sum() / total)
    with np.errstate(invalid="ignore"):  # infinities have no deviation
        spread = float((weights * (values - mean) ** 2).sum())
    yield ("min",), collapse(float(values[0]))
    yield ("max",), collapse(float(values[-1]))
    yield ("avg",), collapse(mean)
    yield ("stddev",), math.sqrt(spread / (total - 1)) if total > 1 else math.nan
    reached = np.cumsum(weights)
    for name, share in QUARTILES:
        at = int(np.searchsorted(reached, share * total, side="right"))
        yield (name,), collapse(float(values[min(at, len(values) - 1)]))


def most_frequent(occurring: Occurring) -> list[tuple[str, int]]:
    """The most frequent values as texts, the most frequent first; equally frequent ones by their text.

    A name of a column, which the texts become, cannot hold a NUL character.
    """
    counts = occurring.counts
    least = np.partition(counts, -MOST_FREQUENT)[-MOST_FREQUENT] if len(counts) > MOST_FREQUENT else 0
    places = np.flatnonzero(counts >= least)
    texts = [text.replace("\0", "\N{REPLACEMENT CHARACTER}") for text in occurring.texts(places)]
    found = zip((-counts[places]).tolist(), texts, strict=True)
    return [(text, -count) for count, text in heapq.nsmallest(MOST_FREQUENT, found)]


TYPES = [
    EntityType(
        kind="procedure",
        name=NAME,
        params=SummaryStatisticsParams,
        summary="Figures about each column of a query",
        create=SummaryStatistics.create,
        doc=(
            "Gives a row for each selected column: type of data, numbers of nulls and of distinct values, the most "
            "frequent values, and for numbers the extremes, mean, sample standard deviation and quartiles."
        ),
    )
]
