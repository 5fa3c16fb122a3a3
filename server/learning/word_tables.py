"""Word tables: how often each word came with each outcome (entity-types.md §3.21, §4.3)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from operator import add

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from server.declarations import Creation, EntityType, OutputDataset, Params, Progress, Recorded, RunResult
from server.errors import MldbError
from server.learning.archive import Archive, ModelFile, pack
from server.learning.cell_arrays import CellArrays, cells_below
from server.learning.cell_functions import RowFunction
from server.learning.feature_reader import number_cells
from server.learning.origin import Origin, open_model
from server.learning.outcome_training import OutcomeTraining
from server.learning.saved import Count, member, require
from server.learning.stats_tables import Counts, TrainParams
from server.sql.tree import Select
from server.transfer.outputs import record_all
from server.values import compute as pc
from server.values.atoms import NEVER, Atom
from server.values.batches import RowBatch
from server.values.distinct import distinct
from server.values.paths import format_path, parse_path

_TRAIN = "statsTable.bagOfWords.train"
_KIND = "statsTable.bagOfWords"


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
        return pack(_KIND, {"outcomes": self.outcomes, "words": self.words}, Archive(), origin)


class WordTrainParams(TrainParams):
    functionOutcomeToUse: str | None = Field(default=None, description="Outcome that the created function tells")
    outputDataset: OutputDataset = Field(default=None, description="Dataset for the counts of each word")


class WordTrain(OutcomeTraining):
    """Counts words in one pass."""

    type_name, url_name = _TRAIN, "statsTableFileUrl"

    def check(self, params: WordTrainParams) -> Select | None:
        if params.functionName and not params.functionOutcomeToUse:
            raise MldbError(
                "The 'functionOutcomeToUse' parameter must be set when the 'functionName' parameter is set."
            )
        return super().check(params)

    def run(self, params: WordTrainParams, progress: Progress) -> RunResult:
        table = WordTable([name for name, _ in params.outcomes])
        batches, origin = self.training(params, progress)
        for batch in batches:
            table.add(batch.cells(), batch.won)
        if params.outputDataset is not None:
            _, dataset = self.services.output_dataset(params.outputDataset, "tabular")
            progress.step("recording", "counter")
            record_all(dataset, table.rows(), progress)
        told = {"outcomeToUse": params.functionOutcomeToUse}
        return self.finish(params, table.to_bytes(origin), "stats table", "statsTable.bagOfWords.posneg", told)


class PosnegParams(Params):
    statsTableFileUrl: str = Field(description="URL of the table, as statsTable.bagOfWords.train saved it")
    outcomeToUse: str = Field(description="Outcome whose share is told")
    numPos: int = Field(default=50, ge=0, description="Number of words with the highest shares")
    numNeg: int = Field(default=50, ge=0, description="Number of words with the lowest shares")
    minTrials: int = Field(default=50, ge=0, description="Rows that a word must have been in")


def _create_posneg(creation: Creation) -> RowFunction:
    params: PosnegParams = creation.params
    table, file = open_model(creation.services, params.statsTableFileUrl, _KIND, WordTable.of)
    shares = table.extremes(params.outcomeToUse, params.numPos, params.numNeg, params.minTrials)
    told = file.details({"type": _KIND, "outcomes": table.outcomes, "words": len(table.words)})
    return RowFunction("words", "probs", partial(_shares_of, shares, params.outcomeToUse), told)


def _shares_of(shares: dict[str, float], outcome: str, batch: RowBatch) -> pa.Array:
    """``probs.<word>.<outcome>`` of the chosen words of the row ``words``."""
    cells = cells_below(batch, "words")
    cells = cells.take(np.array([name in shares for name in cells.names], np.bool_)[cells.codes])
    numbers = np.array([shares.get(name, np.nan) for name in cells.names])[cells.codes]
    words = pc.binary_join_element_wise("probs", cells.words, format_path((outcome,)), ".")
    return number_cells(batch.length, cells.rows, words, numbers, cells.times)


TYPES = [
    EntityType(
        "procedure",
        _TRAIN,
        WordTrainParams,
        "Counts how often each word comes with each outcome",
        WordTrain.create,
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
