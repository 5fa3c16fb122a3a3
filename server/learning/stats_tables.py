"""Statistics tables: how often each value of a column came with each outcome (entity-types.md §3.21, §4.3)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from operator import add
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
    QueryResult,
    Recorded,
    RunResult,
    Services,
    SqlText,
    StatelessProcedure,
)
from server.errors import MldbError
from server.learning.archive import Archive, ModelFile, pack
from server.learning.cell_arrays import CellArrays, cells_below
from server.learning.cell_functions import RowFunction
from server.learning.feature_reader import number_cells
from server.learning.model_params import no_model_url, save_model
from server.learning.origin import Origin, open_model, training_rows
from server.learning.outcome_rows import OutcomeBatch, Outcomes, check_outcomes, outcome_batches, with_outcomes
from server.learning.running_counts import RunningCounts, RunningResult, key_of
from server.learning.saved import Count, member, require
from server.learning.value_cells import ValueCells, spread_cells, value_cells_below
from server.procedures.validators import checked_query, required
from server.sql.tree import Select
from server.transfer.outputs import record_all, recording_dataset
from server.values import compute as pc
from server.values.atoms import NEVER, Atom
from server.values.batches import RowBatch
from server.values.distinct import distinct
from server.values.paths import format_path, parse_path

STATS_TRAIN, WORDS_TRAIN = "statsTable.train", "statsTable.bagOfWords.train"
_STATS, _WORDS = "statsTable", "statsTable.bagOfWords"  # kinds of model files

Counts = list[int]  # trials, then the number of each outcome


# ── by column and value ──────────────────────────────────────────────────────────────────────────────────────────


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
        return pack(_STATS, {"outcomes": self.outcomes, "columns": self.columns}, Archive(), origin)


# ── by word ──────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class WordTable:
    """For each word (the path text of a column), the number of rows that have it, and of those with each outcome."""

    outcomes: list[str]
    words: dict[str, Counts] = field(default_factory=dict)

    @staticmethod
    def of(file: ModelFile) -> WordTable:
        outcomes, words = (
            member(file.body, "outcomes", list[str]),
            member(file.body, "words", dict[str, list[Count]]),
        )
        require(all(len(each) == 1 + len(outcomes) for each in words.values()), "a word has counts of other outcomes")
        require(all(each[0] for each in words.values()), "a word was never seen")
        return WordTable(outcomes, words)

    def add(self, cells: CellArrays, won: NDArray[np.bool_]) -> None:
        """Count the words of rows, each once in a row; ``won``: which outcomes each row has (rows, outcomes)."""
        size = len(cells.names)
        rows, codes = np.divmod(distinct(cells.rows * size + cells.codes), size or 1)
        trials = np.bincount(codes, minlength=size)
        wins = [np.bincount(codes[won[rows, number]], minlength=size) for number in range(len(self.outcomes))]
        for word, found in zip(cells.names, np.column_stack([trials, *wins]).tolist(), strict=True):
            if found[0]:
                known = self.words.get(word)
                self.words[word] = found if known is None else list(map(add, known, found))

    def extremes(self, outcome: str, positive: int, negative: int, trials: int) -> dict[str, float]:
        """The share of an outcome among the rows of each word, for the words where it is highest and lowest.

        All words with enough trials when there are fewer than asked for; words equal to the last one count too.
        """
        if outcome not in self.outcomes:
            raise MldbError(f"Outcome '{outcome}' not found in stats table!")
        at = 1 + self.outcomes.index(outcome)
        shares = {
            word: float(np.float32(counts[at]) / np.float32(counts[0]))
            for word, counts in self.words.items()
            if counts[0] >= trials
        }
        if len(shares) < positive + negative:
            return shares
        ordered = sorted(shares.values())
        lowest = ordered[negative - 1] if negative else -np.inf
        highest = ordered[-positive] if positive else np.inf
        return {word: share for word, share in shares.items() if share >= highest or share <= lowest}

    def rows(self) -> Iterator[Recorded]:
        for word, counts in self.words.items():
            cells: list[tuple[tuple[str, ...], Atom, float]] = [(("trials",), counts[0], NEVER)]
            cells += [(("outcome", name), count, NEVER) for name, count in zip(self.outcomes, counts[1:], strict=True)]
            yield parse_path(word), cells

    def to_bytes(self, origin: Origin) -> bytes:
        return pack(_WORDS, {"outcomes": self.outcomes, "words": self.words}, Archive(), origin)


# ── procedures ───────────────────────────────────────────────────────────────────────────────────────────────────


class TrainParams(ProcedureParams):
    trainingData: InputQuery = Field(
        default=None, description="Query giving the columns to count, in the order to count in"
    )
    outcomes: Outcomes = Field(default=[], description="Outcomes: [name, SQL condition on the rows of the FROM]")
    statsTableFileUrl: str | None = Field(default=None, description="Where to save the table (.st)")
    functionName: str | None = Field(default=None, description="Name of a function to create from the table")
    outputDataset: OutputDataset = Field(default=None, description="Dataset for the counts before each row")


class WordTrainParams(TrainParams):
    functionOutcomeToUse: str | None = Field(default=None, description="Outcome that the created function tells")
    outputDataset: OutputDataset = Field(default=None, description="Dataset for the counts of each word")


def check_training(services: Services, name: str, params: Any, url: str | None, url_name: str) -> Select | None:
    """The query of a training, None when there is none yet; ``MldbError`` for what could not be saved or run."""
    if params.functionName:
        services.check_id("function", params.functionName)
    if url:
        services.urls.check_writable(url, url_name)
    elif params.functionName:
        raise MldbError(f"{no_model_url(name)} It is the parameter {url_name}")
    if params.trainingData is None:
        return None
    check_outcomes(params.outcomes, name)
    return checked_query(services, params.trainingData, name)


def outcome_query(services: Services, name: str, params: Any, select: Select) -> tuple[QueryResult, Origin]:
    """The query of a training with its outcomes, and where the table comes from."""
    return training_rows(services, name, params, select, read=with_outcomes(select, params.outcomes), timestamps=True)


class StatsTrain(StatelessProcedure):
    """Counts in one pass; each row is recorded with the counts before it."""

    def check(self, params: TrainParams) -> Select | None:
        return check_training(self.services, STATS_TRAIN, params, params.statsTableFileUrl, "statsTableFileUrl")

    def run(self, params: TrainParams, progress: Progress) -> RunResult:
        select = required(self.check(params), STATS_TRAIN)
        progress.step("iterating", "counter")
        names, counts = [name for name, _ in params.outcomes], RunningCounts(len(params.outcomes))
        result, origin = outcome_query(self.services, STATS_TRAIN, params, select)

        def count(batch: OutcomeBatch) -> tuple[ValueCells, NDArray[Any]]:
            cells = batch.value_cells()
            return cells, counts.add(cells, batch.won).T[:, :, None]

        training = outcome_batches(result, params.outcomes, progress)
        if params.outputDataset is None:
            for batch in training:
                count(batch)
        else:
            dataset = recording_dataset(self.services, params.outputDataset, "sparse.mutable")
            dataset.write(RunningResult(training, ["trial", *names], [""], count), progress)
        table = StatsTable.counted(names, counts)
        save_model(self.services, params.statsTableFileUrl, table.to_bytes(origin), "stats table")
        if params.functionName:
            of = {"statsTableFileUrl": params.statsTableFileUrl}
            config = {"id": params.functionName, "type": "statsTable.getCounts", "params": of}
            self.services.create("function", config)
        return RunResult()


class WordTrain(StatelessProcedure):
    """Counts words in one pass."""

    def check(self, params: WordTrainParams) -> Select | None:
        if params.functionName and not params.functionOutcomeToUse:
            raise MldbError(
                "The 'functionOutcomeToUse' parameter must be set when the 'functionName' parameter is set."
            )
        return check_training(self.services, WORDS_TRAIN, params, params.statsTableFileUrl, "statsTableFileUrl")

    def run(self, params: WordTrainParams, progress: Progress) -> RunResult:
        select = required(self.check(params), WORDS_TRAIN)
        progress.step("iterating", "counter")
        table = WordTable([name for name, _ in params.outcomes])
        result, origin = outcome_query(self.services, WORDS_TRAIN, params, select)
        for batch in outcome_batches(result, params.outcomes, progress):
            table.add(batch.cells(), batch.won)
        if params.outputDataset is not None:
            _, dataset = self.services.output_dataset(params.outputDataset, "tabular")
            progress.step("recording", "counter")
            record_all(dataset, table.rows(), progress)
        save_model(self.services, params.statsTableFileUrl, table.to_bytes(origin), "stats table")
        if params.functionName:
            of = {"statsTableFileUrl": params.statsTableFileUrl, "outcomeToUse": params.functionOutcomeToUse}
            config = {"id": params.functionName, "type": "statsTable.bagOfWords.posneg", "params": of}
            self.services.create("function", config)
        return RunResult()


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


@dataclass(frozen=True)
class DerivedColumns:
    """Creates a function that computes further columns from the counts of a table."""

    services: Services

    def run(self, params: DerivedParams, progress: Progress) -> RunResult:
        progress.step("creating the function")
        table, _ = open_model(self.services, params.statsTableFileUrl, _STATS, StatsTable.of)
        expression = derived_expression(params.expression, table.outcomes, list(table.columns))
        config = {"id": params.functionId, "type": "sql.expression", "params": {"expression": expression}}
        self.services.create("function", config)
        return RunResult(config)


# ── functions ────────────────────────────────────────────────────────────────────────────────────────────────────


class CountsParams(Params):
    statsTableFileUrl: str = Field(description="URL of the table, as statsTable.train saved it")


class PosnegParams(Params):
    statsTableFileUrl: str = Field(description="URL of the table, as statsTable.bagOfWords.train saved it")
    outcomeToUse: str = Field(description="Outcome whose share is told")
    numPos: int = Field(default=50, ge=0, description="Number of words with the highest shares")
    numNeg: int = Field(default=50, ge=0, description="Number of words with the lowest shares")
    minTrials: int = Field(default=50, ge=0, description="Rows that a word must have been in")


def _create_counts(creation: Creation) -> RowFunction:
    table, file = open_model(creation.services, creation.params.statsTableFileUrl, _STATS, StatsTable.of)
    told = file.details({"type": _STATS, "outcomes": table.outcomes, "columns": list(table.columns)})
    return RowFunction("keys", table.counts, told)


def _create_posneg(creation: Creation) -> RowFunction:
    params: PosnegParams = creation.params
    table, file = open_model(creation.services, params.statsTableFileUrl, _WORDS, WordTable.of)
    shares = table.extremes(params.outcomeToUse, params.numPos, params.numNeg, params.minTrials)
    told = file.details({"type": _WORDS, "outcomes": table.outcomes, "words": len(table.words)})
    return RowFunction("words", partial(_shares_of, shares, params.outcomeToUse), told)


def _shares_of(shares: dict[str, float], outcome: str, batch: RowBatch) -> pa.Array:
    """``probs.<word>.<outcome>`` of the chosen words of the row ``words``."""
    cells = cells_below(batch, "words")
    cells = cells.take(np.array([name in shares for name in cells.names], np.bool_)[cells.codes])
    numbers = np.array([shares.get(name, np.nan) for name in cells.names])[cells.codes]
    words = pc.binary_join_element_wise("probs", cells.words, format_path((outcome,)), ".")
    return number_cells(batch.length, cells.rows, words, numbers, cells.times)


def _create_derived(creation: Creation) -> DerivedColumns:
    return DerivedColumns(creation.services)


TYPES = [
    EntityType(
        "procedure",
        STATS_TRAIN,
        TrainParams,
        "Counts how often each value of a column comes with each outcome",
        StatsTrain.create,
        "The dataset gets, for each row, the counts of the rows before it: `trial.<column>` and `<outcome>.<column>`.",
    ),
    EntityType(
        "procedure",
        WORDS_TRAIN,
        WordTrainParams,
        "Counts how often each word comes with each outcome",
        WordTrain.create,
    ),
    EntityType(
        "procedure",
        "experimental.statsTable.derivedColumnsGenerator",
        DerivedParams,
        "Creates a function that computes columns from the counts of a statistics table",
        _create_derived,
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
    EntityType(
        "function",
        "statsTable.bagOfWords.posneg",
        PosnegParams,
        "Tells the share of an outcome for the words where it is highest and lowest",
        _create_posneg,
        "`words` is a row of words; gives `probs`, with `<word>.<outcome>` of the words that were chosen.",
    ),
]
