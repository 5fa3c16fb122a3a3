"""``import.sentiwordnet``: how positive and negative words are (entity-types.md §3.4).

The file of SentiWordNet 3 has a line per meaning: part of speech, number, positive score, negative score, and the
words ``word#rank`` that may mean it. A word's scores are the means over its meanings, weighted by 1/rank.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from pydantic import Field

from server.declarations import (
    EntityType,
    OutputDataset,
    ProcedureParams,
    Progress,
    Recorded,
    RunResult,
    StatelessProcedure,
)
from server.errors import MldbError
from server.transfer.lines import LineSource
from server.transfer.outputs import record_all
from server.values.atoms import Atom

_FIELDS = 5  # of a line, the gloss that follows left aside
_SHOWN = 200  # characters of a bad line that its error repeats
Sums = dict[tuple[str, str], tuple[float, float, float]]  # word and part of speech: positive, negative, weight


class ImportSentiWordNetParams(ProcedureParams):
    """Parameters of import.sentiwordnet."""

    dataFileUrl: str = Field(description="URL of the file of SentiWordNet 3; packed files are read as well")
    outputDataset: OutputDataset = Field(
        default={}, description="Dataset to create; sparse.mutable unless it says otherwise"
    )


def sums_of(source: LineSource, progress: Progress) -> Sums:
    """Weighted sums of the scores of each word; ``MldbError`` for a line that is no meaning."""
    sums: Sums = defaultdict(lambda: (0.0, 0.0, 0.0))
    while (line := source.next_line()) is not None:
        text = line.decode("utf-8", "replace").strip()
        if text and not text.startswith("#"):
            try:
                add_meaning(sums, text)
            except ValueError:
                raise MldbError(
                    f"Line {source.line - 1} of the SentiWordNet file is no meaning (part of speech, number, two "
                    "scores, words, separated by tabs)",
                    details={"lineNumber": source.line - 1, "line": text[:_SHOWN]},
                ) from None
        if source.line % 10_000 == 0:
            progress.update(source.line)
    return sums


def add_meaning(sums: Sums, line: str) -> None:
    """Add one meaning to the words that may mean it; ``ValueError`` for what is none."""
    fields = line.split("\t")
    if len(fields) < _FIELDS:
        raise ValueError(line)
    speech, positive, negative = fields[0], float(fields[2]), float(fields[3])
    for term in fields[4].split():
        word, _, rank = term.rpartition("#")
        weight = 1 / int(rank) if int(rank) > 0 and word else float("nan")
        if weight != weight:
            raise ValueError(term)
        before = sums[word, speech]
        sums[word, speech] = (before[0] + weight * positive, before[1] + weight * negative, before[2] + weight)


def rows_of(sums: Sums, time: float) -> Iterator[Recorded]:
    """A row ``word#part of speech`` for each word, all at the time of the file."""
    for (word, speech), (positive, negative, weight) in sums.items():
        plus, minus = positive / weight, negative / weight
        cells: dict[str, Atom] = {
            "SentiPos": plus, "SentiNeg": minus, "SentiObj": 1 - plus - minus, "POS": speech, "baseWord": word,
        }  # fmt: skip
        yield (f"{word}#{speech}",), [((name,), value, time) for name, value in cells.items()]


class ImportSentiWordNet(StatelessProcedure):
    def run(self, params: ImportSentiWordNetParams, progress: Progress) -> RunResult:
        progress.step("iterating", "lines")
        source = self.services.urls.open_source(params.dataFileUrl, patient=True)
        with source.stream as stream:
            sums = sums_of(LineSource(stream), progress)
        progress.step("recording", "counter")
        _, dataset = self.services.output_dataset(params.outputDataset, "sparse.mutable")
        return RunResult({"rowCount": record_all(dataset, rows_of(sums, source.last_modified), progress)})


TYPES = [
    EntityType(
        kind="procedure",
        name="import.sentiwordnet",
        params=ImportSentiWordNetParams,
        summary="Import the sentiments of words from SentiWordNet",
        create=ImportSentiWordNet.create,
        doc=(
            "Each word becomes a row `word#part of speech` with `SentiPos`, `SentiNeg` and `SentiObj` (their rest to "
            "1), means over its meanings weighted by 1/rank, and with `POS` and `baseWord`."
        ),
    )
]
