"""The procedure ``tfidf.train`` and the function ``tfidf`` (entity-types.md §3.20, §4.3)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from server.declarations import (
    BoundFunction,
    Creation,
    EntityType,
    InputQuery,
    OutputDataset,
    ProcedureParams,
    Progress,
    Recorded,
    RunResult,
    StatelessProcedure,
)
from server.learning.archive import Archive, ModelFile, pack
from server.learning.cell_arrays import cell_arrays, cells_below
from server.learning.feature_reader import number_cells
from server.learning.function_inputs import require_row
from server.learning.model_function import ModelFileParams, ModelFunction
from server.learning.model_params import checked_training, create_function, write_model
from server.learning.origin import open_model, training_rows
from server.learning.saved import Count, member
from server.procedures.validators import required
from server.sql.tree import Select
from server.transfer.outputs import record_all
from server.values import compute as pc
from server.values.atoms import NEVER
from server.values.batches import Column, RowBatch, RowType, rows_of_any_columns
from server.values.distinct import distinct
from server.values.kinds import Kind
from server.values.paths import parse_path

NAME = "tfidf.train"
_KIND = "tfidf"
_INPUT = ("input",)

Floats = NDArray[np.float64]
TermFrequency = Literal["raw", "log", "augmented"]
InverseFrequency = Literal["unary", "inverse", "inverseSmooth", "inverseMax", "probabilisticInverse"]


@dataclass(frozen=True)
class DocumentFrequencies:
    """Number of documents, and of those that have each term (by its path text)."""

    documents: int
    terms: dict[str, int]

    @staticmethod
    def of(file: ModelFile) -> DocumentFrequencies:
        body = file.body
        return DocumentFrequencies(member(body, "documents", Count), member(body, "terms", dict[str, Count]))

    def to_bytes(self, origin: Mapping[str, Any]) -> bytes:
        return pack(_KIND, {"documents": self.documents, "terms": self.terms}, Archive(), origin)


def count_documents(batches: Iterable[RowBatch]) -> DocumentFrequencies:
    """A row is a document; its columns that are not null are its terms."""
    terms: Counter[str] = Counter()
    documents = 0
    for batch in batches:
        documents += batch.length
        cells = cell_arrays(batch)
        different = distinct(cells.rows * len(cells.names) + cells.codes) % max(len(cells.names), 1)
        counts = np.bincount(different, minlength=len(cells.names)).tolist()
        terms.update({name: count for name, count in zip(cells.names, counts, strict=True) if count})
    return DocumentFrequencies(documents, dict(terms))


# Of a term's count and the largest count of its document; of all documents, those that have a term, and the most of
# these among the terms of its document.
_TERM_WEIGHTS: dict[TermFrequency, Callable[[Floats, Floats], Floats]] = {
    "raw": lambda f, _: f,
    "log": lambda f, _: np.log1p(f),
    "augmented": lambda f, most: 0.5 + 0.5 * f / most,
}
_DOCUMENT_WEIGHTS: dict[InverseFrequency, Callable[[float, Floats, Floats], Floats]] = {
    "unary": lambda total, n, most: np.ones_like(n),
    "inverse": lambda total, n, most: np.log(total / (1 + n)),
    "inverseSmooth": lambda total, n, most: np.log1p(total / (1 + n)),
    "inverseMax": lambda total, n, most: np.log1p(most / (1 + n)),
    "probabilisticInverse": lambda total, n, most: np.log((total - n) / (1 + n)),
}


@dataclass(frozen=True)
class TfidfFunction(ModelFunction):
    """Scores the terms of documents, given their counts; cells that hold no number are left out."""

    frequencies: DocumentFrequencies
    tf: TermFrequency
    idf: InverseFrequency
    file: ModelFile

    input = RowType((Column(_INPUT, Kind.ANY),), open=True)
    output = rows_of_any_columns("output")

    def described(self) -> dict[str, Any]:
        return {"type": _KIND, "documents": self.frequencies.documents, "terms": len(self.frequencies.terms)}

    def bind(self, given: RowType) -> BoundFunction:
        require_row(given, _INPUT)
        return self

    def apply(self, batch: RowBatch) -> RowBatch:
        cells = cells_below(batch, "input")
        cells = cells.take(cells.numeric)
        known = np.array([self.frequencies.terms.get(name, 0) for name in cells.names], np.float64)[cells.codes]
        with np.errstate(divide="ignore", invalid="ignore"):
            terms = _TERM_WEIGHTS[self.tf](cells.numbers, _largest(cells.rows, cells.numbers, batch.length))
            most = _largest(cells.rows, known, batch.length)
            scores = terms * _DOCUMENT_WEIGHTS[self.idf](self.frequencies.documents, known, most)
        words = pc.binary_join_element_wise("output", cells.words, ".")
        rest = number_cells(batch.length, cells.rows, words, scores, cells.times)
        return RowBatch(self.output, batch.length, (), (), rest)


def _largest(rows: NDArray[np.int64], numbers: Floats, length: int) -> Floats:
    """For each cell the largest number of its row, at least 0."""
    found = np.zeros(length)
    np.maximum.at(found, rows, numbers)
    return found[rows]


class TrainParams(ProcedureParams):
    trainingData: InputQuery = Field(default=None, description="Query: each row is a document, its columns are terms")
    outputDataset: OutputDataset = Field(
        default=None, description="Dataset for the number of documents that have each term"
    )
    modelFileUrl: str | None = Field(default=None, description="Where to save the model (.idf)")
    functionName: str | None = Field(default=None, description="Name of a tfidf function to create")


class TfidfTrain(StatelessProcedure):
    """Counts in how many documents each term is."""

    def check(self, params: TrainParams) -> Select | None:
        return checked_training(self.services, NAME, params)

    def run(self, params: TrainParams, progress: Progress) -> RunResult:
        select = required(self.check(params), NAME)
        progress.step("iterating")
        result, origin = training_rows(self.services, NAME, params, select)
        found = count_documents(batch.rows for batch in result.batches(progress))
        if params.outputDataset is not None:
            _, dataset = self.services.output_dataset(params.outputDataset, "sparse.mutable")
            progress.step("recording", "counter")
            record_all(dataset, _count_rows(found), progress)
        write_model(self.services, params.modelFileUrl, found.to_bytes(origin), "tfidf")
        create_function(self.services, params.functionName, "tfidf", params.modelFileUrl)
        return RunResult()


def _count_rows(found: DocumentFrequencies) -> Iterator[Recorded]:
    for term, count in found.terms.items():
        yield parse_path(term), [(("count",), count, NEVER)]


class FunctionParams(ModelFileParams):
    tfType: TermFrequency = Field(default="raw", description="How the count of a term in the document weighs")
    idfType: InverseFrequency = Field(default="inverseSmooth", description="How the rarity of a term weighs")


def _create_function(creation: Creation) -> TfidfFunction:
    params: FunctionParams = creation.params
    frequencies, file = open_model(creation.services, params.modelFileUrl, _KIND, DocumentFrequencies.of)
    return TfidfFunction(frequencies, params.tfType, params.idfType, file)


TYPES = [
    EntityType("procedure", NAME, TrainParams, "Counts in how many documents each term is", TfidfTrain.create),
    EntityType(
        "function",
        "tfidf",
        FunctionParams,
        "Scores the terms of a document by their count and rarity",
        _create_function,
        "`input` is a row of terms with their counts; gives `output`, a row of terms with their scores.",
    ),
]
