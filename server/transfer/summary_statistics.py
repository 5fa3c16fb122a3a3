"""``summary.statistics``: a row of figures for each column of a query (entity-types.md §3.10)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from pydantic import Field

from server.declarations import (
    Creation,
    EntityType,
    InputQuery,
    OutputDataset,
    ProcedureParams,
    Progress,
    Recorded,
    RunResult,
    Services,
)
from server.procedures.validators import input_query, require_from, whole_columns
from server.sql.tree import Select
from server.transfer.melt import record_all
from server.transfer.outputs import recording_dataset
from server.transfer.results import named_rows
from server.values.atoms import NEVER, Atom, atom_text, collapse
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


class SummaryStatistics:
    """The procedure entity."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def run(self, params: SummaryStatisticsParams, progress: Progress) -> RunResult:
        tree = checked_query(self._services, params.inputData)
        progress.step("reading")
        counts, rows = self._count(tree, progress)
        progress.step("summarising", "counter")
        dataset = recording_dataset(self._services, params.outputDataset, "sparse.mutable")
        summaries = (row_of(path, counter, rows - counter.total()) for path, counter in counts.items())
        record_all(dataset, summaries, progress)
        return RunResult()

    def _count(self, tree: Select, progress: Progress) -> tuple[dict[Path, Counter[Atom]], int]:
        """How often each non-null value of each column occurs, and the number of rows."""
        result = self._services.query(tree)
        counts: dict[Path, Counter[Atom]] = {column.path: Counter() for column in result.type.columns}
        rows = 0
        for _, cells in named_rows(result, progress):
            rows += 1
            for cell in cells:
                if cell.value is not None:
                    counts.setdefault(cell.path, Counter())[cell.value] += 1
        return counts, rows


def checked_query(services: Services, query: Any) -> Select:
    tree = input_query(services, query)
    require_from(tree, NAME)
    whole_columns(tree, NAME)
    return tree


def row_of(path: Path, counts: Counter[Atom], nulls: int) -> Recorded:
    """The row that describes a column."""
    figures: list[tuple[Path, Atom]] = [(("num_null",), nulls), (("num_unique",), len(counts))]
    numbers = [value for value in counts if isinstance(value, int | float)]
    if counts and len(numbers) == len(counts):
        figures += [(("data_type",), "number"), *numeric_figures(numbers, [counts[number] for number in numbers])]
    else:
        figures.append((("data_type",), "categorical"))
    figures += [(("most_frequent_items", text_of(value)), count) for value, count in most_frequent(counts)]
    return path, [(("value", *name), value, NEVER) for name, value in figures]


def numeric_figures(numbers: Sequence[int | float], counts: Sequence[int]) -> Iterator[tuple[Path, Atom]]:
    """Extremes, mean, sample deviation and quartiles of numbers that occur so many times."""
    order = np.argsort(np.array(numbers, dtype=float), kind="stable")
    values = np.array(numbers, dtype=float)[order]
    weights = np.array(counts)[order]
    total = int(weights.sum())
    mean = float((values * weights).sum() / total)
    spread = float((weights * (values - mean) ** 2).sum())
    yield ("min",), collapse(float(values[0]))
    yield ("max",), collapse(float(values[-1]))
    yield ("avg",), collapse(mean)
    yield ("stddev",), math.sqrt(spread / (total - 1)) if total > 1 else math.nan
    reached = np.cumsum(weights)
    for name, share in QUARTILES:
        at = int(np.searchsorted(reached, share * total, side="right"))
        yield (name,), collapse(float(values[min(at, len(values) - 1)]))


def most_frequent(counts: Counter[Atom]) -> list[tuple[Atom, int]]:
    """The most frequent values, the most frequent first; equally frequent ones by their text."""
    return sorted(counts.items(), key=lambda item: (-item[1], text_of(item[0])))[:MOST_FREQUENT]


def text_of(value: Atom) -> str:
    """As part of a column's name, which cannot hold a NUL character."""
    return atom_text(value).replace("\0", "\N{REPLACEMENT CHARACTER}")


def create(creation: Creation) -> SummaryStatistics:
    checked_query(creation.services, creation.params.inputData)
    return SummaryStatistics(creation.services)


TYPES = [
    EntityType(
        kind="procedure",
        name=NAME,
        params=SummaryStatisticsParams,
        summary="Figures about each column of a query",
        create=create,
        doc=(
            "Gives a row for each selected column: type of data, numbers of nulls and of distinct values, the most "
            "frequent values, and for numbers the extremes, mean, sample standard deviation and quartiles."
        ),
    )
]
