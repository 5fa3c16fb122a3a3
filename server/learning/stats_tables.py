"""Statistics tables: how often each value of a column came with each outcome (entity-types.md §3.21, §4.3)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from server.declarations import (
    Creation,
    EntityType,
    InputQuery,
    OutputDataset,
    Params,
    ProcedureParams,
    Progress,
    RunResult,
    SqlText,
    StatelessProcedure,
)
from server.learning.archive import Archive, ModelFile, pack
from server.learning.cell_functions import RowFunction
from server.learning.origin import Origin, open_model
from server.learning.outcome_rows import OutcomeBatch, Outcomes
from server.learning.outcome_training import OutcomeTraining
from server.learning.running_counts import RunningCounts, RunningResult, key_of
from server.learning.saved import Count, member, require
from server.learning.value_cells import ValueCells, spread_cells, value_cells_below
from server.values.batches import RowBatch
from server.values.paths import format_path

_TRAIN = "statsTable.train"
_KIND = "statsTable"  # of model files

Counts = list[int]  # trials, then the number of each outcome


@dataclass
class StatsTable:
    """For each column (path text) and value, the number of rows and of those with each outcome."""

    outcomes: list[str]
    columns: dict[str, dict[str, Counts]] = field(default_factory=dict)

    @staticmethod
    def of(file: ModelFile) -> StatsTable:
        outcomes, columns = (
            member(file.body, "outcomes", list[str]),
            member(file.body, "columns", dict[str, dict[str, list[Count]]]),
        )
        counts = (each for values in columns.values() for each in values.values())
        require(all(len(each) == 1 + len(outcomes) for each in counts), "a value has counts of other outcomes")
        return StatsTable(outcomes, columns)

    def counts(self, batch: RowBatch) -> pa.Array:
        """``counts.trial.<col>`` and ``counts.<outcome>.<col>`` of the columns of the row ``keys`` that were trained
        on; 0 for a value never seen."""
        cells = value_cells_below(batch, "keys")
        cells = cells.take(np.array([name in self.columns for name in cells.names], np.bool_)[cells.codes])
        pairs, which = cells.pairs()
        none = [0] * (1 + len(self.outcomes))
        found = np.array([self.columns[name].get(key_of(atom), none) for name, atom in pairs], np.float64)
        prefixes = [f"{format_path(('counts', name))}." for name in ("trial", *self.outcomes)]
        numbers = found.reshape(-1, len(prefixes))[which].T
        return spread_cells(batch.length, cells, prefixes, [""], numbers[:, :, None])

    @staticmethod
    def counted(outcomes: list[str], counts: RunningCounts) -> StatsTable:
        table = StatsTable(outcomes)
        for (name, key), found in zip(counts.values.known, counts.totals.tolist(), strict=True):
            table.columns.setdefault(name, {})[key] = found
        return table

    def to_bytes(self, origin: Origin) -> bytes:
        return pack(_KIND, {"outcomes": self.outcomes, "columns": self.columns}, Archive(), origin)


# ── procedures ───────────────────────────────────────────────────────────────────────────────────────────────────


class TrainParams(ProcedureParams):
    trainingData: InputQuery = Field(
        default=None, description="Query giving the columns to count, in the order to count in"
    )
    outcomes: Outcomes = Field(default=[], description="Outcomes: [name, SQL condition on the rows of the FROM]")
    statsTableFileUrl: str | None = Field(default=None, description="Where to save the table (.st)")
    functionName: str | None = Field(default=None, description="Name of a function to create from the table")
    outputDataset: OutputDataset = Field(default=None, description="Dataset for the counts before each row")


class StatsTrain(OutcomeTraining):
    """Counts in one pass; each row is recorded with the counts before it."""

    type_name, url_name = _TRAIN, "statsTableFileUrl"

    def run(self, params: TrainParams, progress: Progress) -> RunResult:
        names, counts = [name for name, _ in params.outcomes], RunningCounts(len(params.outcomes))

        def count(batch: OutcomeBatch) -> tuple[ValueCells, NDArray[Any]]:
            cells = batch.value_cells()
            return cells, counts.add(cells, batch.won).T[:, :, None]

        batches, origin = self.training(params, progress)
        self.count_all(params, RunningResult(batches, ["trial", *names], [""], count), progress, "sparse.mutable")
        table = StatsTable.counted(names, counts)
        return self.finish(params, table.to_bytes(origin), "stats table", "statsTable.getCounts", {})


class DerivedParams(ProcedureParams):
    functionId: str = Field(description="Name of the sql.expression to create")
    statsTableFileUrl: str = Field(description="URL of the table, as statsTable.train saved it")
    expression: SqlText = Field(description="SELECT list that is repeated for each column of the table")


def derived_expression(template: str, outcomes: list[str], columns: list[str]) -> str:
    """The template for each column: ``trial`` and outcomes become those of the column, ``$tbl`` its name.

    A name in quotes is one element of a path, so that the column's name goes behind the quotes.
    """
    names = "|".join(map(re.escape, sorted(["trial", *outcomes], key=len, reverse=True)))
    pattern = re.compile(rf'\$tbl|"(?:{names})"|{names}')

    def expanded(column: str) -> str:
        return pattern.sub(lambda found: column if found[0] == "$tbl" else f"{found[0]}.{column}", template)

    return ", ".join(expanded(column) for column in columns)


class DerivedColumns(StatelessProcedure):
    """Creates a function that computes further columns from the counts of a table."""

    def run(self, params: DerivedParams, progress: Progress) -> RunResult:
        progress.step("creating the function")
        table, _ = open_model(self.services, params.statsTableFileUrl, _KIND, StatsTable.of)
        expression = derived_expression(params.expression, table.outcomes, list(table.columns))
        config = {"id": params.functionId, "type": "sql.expression", "params": {"expression": expression}}
        self.services.create("function", config)
        return RunResult(config)


# ── functions ────────────────────────────────────────────────────────────────────────────────────────────────────


class CountsParams(Params):
    statsTableFileUrl: str = Field(description="URL of the table, as statsTable.train saved it")


def _create_counts(creation: Creation) -> RowFunction:
    table, file = open_model(creation.services, creation.params.statsTableFileUrl, _KIND, StatsTable.of)
    told = file.details({"type": _KIND, "outcomes": table.outcomes, "columns": list(table.columns)})
    return RowFunction("keys", "counts", table.counts, told)


TYPES = [
    EntityType(
        "procedure",
        _TRAIN,
        TrainParams,
        "Counts how often each value of a column comes with each outcome",
        StatsTrain.create,
        "The dataset gets, for each row, the counts of the rows before it: `trial.<column>` and `<outcome>.<column>`.",
    ),
    EntityType(
        "procedure",
        "experimental.statsTable.derivedColumnsGenerator",
        DerivedParams,
        "Creates a function that computes columns from the counts of a statistics table",
        DerivedColumns.create,
        "In the expression `trial` and the names of outcomes stand for the counts of a column, `$tbl` for its name.",
    ),
    EntityType(
        "function",
        "statsTable.getCounts",
        CountsParams,
        "Tells how often values came with each outcome",
        _create_counts,
        "`keys` is a row of values; gives `counts`. Columns that were not trained on are left out.",
    ),
]
