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
    Creation,
    EntityType,
    InputQuery,
    OutputDataset,
    Params,
    ProcedureParams,
    Progress,
    Recorded,
    RunResult,
    Services,
    checked,
)
from server.errors import MldbError
from server.learning.archive import Archive, pack
from server.learning.cell_functions import RowFunction
from server.learning.model_params import checked_training, create_function, save_model
from server.learning.origin import open_model, training_rows
from server.sql.tree import Select
from server.transfer.melt import record_all
from server.transfer.results import named_rows
from server.values.atoms import NEVER
from server.values.batches import Cell, Row
from server.values.paths import format_path, parse_path

NAME = "tfidf.train"
_KIND = "tfidf"

Floats = NDArray[np.float64]
TermFrequency = Literal["raw", "log", "augmented"]
InverseFrequency = Literal["unary", "inverse", "inverseSmooth", "inverseMax", "probabilisticInverse"]


@dataclass(frozen=True)
class DocumentFrequencies:
    """Number of documents, and of those that have each term (by its path text)."""

    documents: int
    terms: dict[str, int]

    def to_bytes(self, origin: Mapping[str, Any]) -> bytes:
        return pack(_KIND, {"documents": self.documents, "terms": self.terms}, Archive(), origin)


def count_documents(rows: Iterable[Row]) -> DocumentFrequencies:
    """A row is a document; its columns that are not null are its terms."""
    terms: Counter[str] = Counter()
    documents = 0
    for row in rows:
        documents += 1
        terms.update({format_path(cell.path) for cell in row if cell.value is not None})
    return DocumentFrequencies(documents, dict(terms))


_TERM_WEIGHTS: dict[TermFrequency, Callable[[Floats], Floats]] = {
    "raw": lambda f: f,
    "log": np.log1p,
    "augmented": lambda f: 0.5 + 0.5 * f / f.max(initial=0),
}
_DOCUMENT_WEIGHTS: dict[InverseFrequency, Callable[[float, Floats], Floats]] = {
    "unary": lambda total, n: np.ones_like(n),
    "inverse": lambda total, n: np.log(total / (1 + n)),
    "inverseSmooth": lambda total, n: np.log1p(total / (1 + n)),
    "inverseMax": lambda total, n: np.log1p(n.max(initial=0) / (1 + n)),
    "probabilisticInverse": lambda total, n: np.log((total - n) / (1 + n)),
}


def weigh(frequencies: DocumentFrequencies, tf: TermFrequency, idf: InverseFrequency, row: Row) -> Row:
    """The scores of a document's terms, given their counts; cells that hold no number are left out."""
    counted = [cell for cell in row if isinstance(cell.value, int | float)]
    counts = np.array([cell.value for cell in counted], np.float64)
    having = np.array([frequencies.terms.get(format_path(cell.path), 0) for cell in counted], np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        scores = _TERM_WEIGHTS[tf](counts) * _DOCUMENT_WEIGHTS[idf](frequencies.documents, having)
    return [Cell(cell.path, score, cell.timestamp) for cell, score in zip(counted, scores.tolist(), strict=True)]


class TrainParams(ProcedureParams):
    trainingData: InputQuery = Field(default=None, description="Query: each row is a document, its columns are terms")
    outputDataset: OutputDataset = Field(
        default=None, description="Dataset for the number of documents that have each term"
    )
    modelFileUrl: str | None = Field(default=None, description="Where to save the model (.idf)")
    functionName: str | None = Field(default=None, description="Name of a tfidf function to create")


@dataclass(frozen=True)
class TfidfTrain:
    """Counts in how many documents each term is."""

    services: Services

    def check(self, params: TrainParams) -> Select | None:
        return checked_training(self.services, NAME, params)

    def run(self, params: TrainParams, progress: Progress) -> RunResult:
        select = self.check(params)
        if select is None:
            raise MldbError(f"{NAME} requires 'trainingData' to be set")
        progress.step("iterating")
        result, origin = training_rows(self.services, NAME, params, select)
        found = count_documents(row for _, row in named_rows(result, progress))
        if params.outputDataset is not None:
            _, dataset = self.services.output_dataset(params.outputDataset, "sparse.mutable")
            progress.step("recording", "counter")
            record_all(dataset, _count_rows(found), progress)
        save_model(self.services, params.modelFileUrl, found.to_bytes(origin), "tfidf")
        create_function(self.services, params.functionName, "tfidf", params.modelFileUrl)
        return RunResult()


def _count_rows(found: DocumentFrequencies) -> Iterator[Recorded]:
    for term, count in found.terms.items():
        yield parse_path(term), [(("count",), count, NEVER)]


class FunctionParams(Params):
    modelFileUrl: str = Field(description="URL of the model, as tfidf.train saved it")
    tfType: TermFrequency = Field(default="raw", description="How the count of a term in the document weighs")
    idfType: InverseFrequency = Field(default="inverseSmooth", description="How the rarity of a term weighs")


def _create_function(creation: Creation) -> RowFunction:
    params: FunctionParams = creation.params
    file = open_model(creation.services, params.modelFileUrl, _KIND)
    frequencies = DocumentFrequencies(file.body["documents"], file.body["terms"])
    told = file.details({"type": _KIND, "documents": frequencies.documents, "terms": len(frequencies.terms)})
    return RowFunction("input", "output", lambda row: weigh(frequencies, params.tfType, params.idfType, row), told=told)


TYPES = [
    EntityType("procedure", NAME, TrainParams, "Counts in how many documents each term is", checked(TfidfTrain)),
    EntityType(
        "function",
        "tfidf",
        FunctionParams,
        "Scores the terms of a document by their count and rarity",
        _create_function,
        "`input` is a row of terms with their counts; gives `output`, a row of terms with their scores.",
    ),
]
