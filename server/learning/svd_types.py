"""The procedure ``svd.train`` and the function ``svd.embedRow`` (entity-types.md §3.17, §4.2)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import Field

from server.declarations import (
    BoundFunction,
    Creation,
    EntityType,
    InputQuery,
    OutputDataset,
    ProcedureParams,
    Progress,
    RunResult,
    StatelessProcedure,
)
from server.errors import MldbError
from server.learning.archive import Archive, ModelFile, pack, unpack
from server.learning.array_results import VectorResult
from server.learning.columns import AtomPiece, CellsPiece, Piece, Values, pieces_of
from server.learning.feature_reader import FeatureReader
from server.learning.feature_space import FeatureSpace
from server.learning.function_inputs import row_input
from server.learning.mixed import mixed_columns
from server.learning.model_function import ModelFileParams, ModelFunction
from server.learning.model_params import checked_training, create_function, write_model
from server.learning.origin import open_model, training_rows
from server.learning.row_files import read_rows, row_names
from server.learning.svd import SvdModel, decompose
from server.learning.table import build, take_values
from server.learning.training_job import Report, TrainingFiles, throttled, trained_in_job
from server.procedures.validators import required
from server.sql.tree import Select
from server.values.batches import Column, RowBatch, RowType
from server.values.kinds import Kind
from server.values.paths import parse_path

NAME = "svd.train"
KIND = "svd"
_ROW = ("row",)
_COORDINATES = "coordinates.npy"  # among the files of a training: those of the rows


class SvdParams(ProcedureParams):
    trainingData: InputQuery = Field(default=None, description="Query whose rows are decomposed")
    numSingularValues: int = Field(default=100, ge=0, description="Singular values to find at most")
    numDenseBasisVectors: int = Field(default=1000, ge=0, description="Accepted for compatibility; has no effect")
    outputColumn: str = Field(default="embedding", description="Name of the column that holds coordinates")
    rowOutputDataset: OutputDataset = Field(default=None, description="Dataset for the coordinates of rows")
    columnOutputDataset: OutputDataset = Field(default=None, description="Dataset for the coordinates of columns")
    modelFileUrl: str | None = Field(default=None, description="Where to save the model (.svd)")
    functionName: str | None = Field(default=None, description="Name of a function to create from the model")


class SvdTrain(StatelessProcedure):
    """Reads the rows here, decomposes them in a job process, records the coordinates."""

    def check(self, params: SvdParams) -> Select | None:
        if not params.outputColumn:
            raise MldbError("SVD training procedure requires a non-empty output column name")
        return checked_training(self.services, NAME, params, "groupBy", "having")

    def run(self, params: SvdParams, progress: Progress) -> RunResult:
        select = required(self.check(params), NAME)
        progress.step("classifying columns")
        result, origin = training_rows(self.services, NAME, params, select, whole=True)
        arguments = {"wanted": params.numSingularValues, "origin": origin}
        job, empty = "server.learning.svd_types:train", "SVD training requires at least 1 row: the query gave none"
        with trained_in_job(self.services, result, job, arguments, progress, empty=empty) as files:
            data = files.model.read_bytes()
            self._record(params, data, files, progress)
        write_model(self.services, params.modelFileUrl, data, "SVD")
        create_function(self.services, params.functionName, "svd.embedRow", params.modelFileUrl)
        return RunResult()

    def _record(self, params: SvdParams, data: bytes, files: TrainingFiles, progress: Progress) -> None:
        progress.step("recording")
        file = unpack(KIND, data)
        model = SvdModel.load(file.body, file.archive)
        path = parse_path(params.outputColumn)
        coordinates = np.load(files.folder / _COORDINATES, allow_pickle=False)
        for spec, vectors in (
            (params.rowOutputDataset, VectorResult(row_names(files.rows), path, coordinates)),
            (params.columnOutputDataset, VectorResult(model.columns.names(), path, model.vectors)),
        ):
            if spec is None:
                continue
            _, dataset = self.services.output_dataset(spec, "embedding")
            if model.size:
                dataset.write(vectors, progress)
            else:
                dataset.commit()


def train(arguments: Mapping[str, Any], report: Report) -> dict[str, Any]:
    """The job: from a file of rows to a model, and the coordinates of the rows."""
    names: list[str] = []
    parts: list[tuple[int, list[Piece]]] = []
    report("extracting features", "percentile", 0.0)
    files = TrainingFiles(Path(arguments["folder"]))
    for batch in read_rows(files.rows):
        names += batch.names.to_pylist()
        parts.append((batch.rows.length, list(pieces_of(batch.rows))))
    if mixed := mixed_columns([pieces for _, pieces in parts]):
        raise MldbError(f"Column '{mixed[0]}' has both numbers and texts, which SVD cannot take")
    space, matrix = build(parts, names.__getitem__)
    report("inverting features", "percentile", 0.0)
    model = decompose(space, matrix, arguments["wanted"], throttled("calculating correlations", report))
    np.save(files.folder / _COORDINATES, model.embed(matrix))
    archive = Archive()
    body = model.save(archive)
    files.model.write_bytes(pack(KIND, body, archive, arguments["origin"]))
    return {"rows": len(names)}


class EmbedParams(ModelFileParams):
    maxSingularValues: int = Field(default=-1, description="Singular values to use; -1 uses all")
    acceptUnknownValues: bool = Field(default=False, description="Ignore values never seen in training")


@dataclass(frozen=True)
class EmbedRow(ModelFunction):
    """Gives the coordinates of a row in the space of a decomposition."""

    model: SvdModel
    accept_unknown: bool
    file: ModelFile

    @property
    def input(self) -> RowType:
        features = self.model.columns.space.features
        kinds = (Kind.NUMBER if each.categories is None else Kind.STRING for each in features)
        names = (Column((*_ROW, *parse_path(each.name)), kind) for each, kind in zip(features, kinds, strict=True))
        return row_input(_ROW, names)

    @property
    def output(self) -> RowType:
        size = self.model.size
        return RowType((Column(("embedding",), Kind.NUMBER, (size,)),) if size else ())

    def described(self) -> dict[str, Any]:
        return {"type": "svd", "singularValues": self.model.singular.tolist(), "columns": self.model.columns.count}

    def bind(self, given: RowType) -> BoundFunction:
        return _BoundEmbedRow(self, FeatureReader.bind(self.model.columns.space, given, _ROW), self.output)


@dataclass(frozen=True)
class _BoundEmbedRow:
    function: EmbedRow
    reader: FeatureReader
    output: RowType

    def apply(self, batch: RowBatch) -> RowBatch:
        rows = batch.under(_ROW)
        if not self.function.accept_unknown:
            self._refuse_other_kinds(rows)
        matrix, times = self.reader.read_rows(rows)
        if np.isinf(matrix).any():
            name = self.reader.space.features[int(np.argwhere(np.isinf(matrix))[0, 1])].name
            raise MldbError(f"Column '{name}' has no finite number in single precision")
        vectors = self.function.model.embed(matrix, self.function.accept_unknown).astype(np.float64)
        if not self.output.columns:
            return RowBatch(self.output, batch.length, [])
        flat = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), self.function.model.size)
        return RowBatch(self.output, batch.length, [flat], [pa.array(times)])

    def _refuse_other_kinds(self, rows: RowBatch) -> None:
        """``MldbError`` where a column is not of the kind that it was in training."""
        for number, values in _by_feature(self.reader.space, rows):
            feature = self.reader.space.features[number]
            texts = np.flatnonzero(values.codes >= 0) if values.codes is not None else np.zeros(0, np.int64)
            numbers = np.flatnonzero(~np.isnan(values.numbers))
            if feature.categories is None and len(texts):
                raise MldbError(
                    f"Column '{feature.name}' was passed as a string value '{values.text_of(int(texts[0]))}' "
                    "but only numbers were seen in training"
                )
            if feature.categories is not None and len(numbers):
                shown = values.text_of(int(numbers[0]))
                raise MldbError(f"Column '{feature.name}' was a string in training but has numeric value {shown}")


def _by_feature(space: FeatureSpace, rows: RowBatch) -> Iterator[tuple[int, Values]]:
    """The values of each known feature's column (embeddings hold numbers, whatever their names)."""
    for piece in pieces_of(rows):
        if isinstance(piece, AtomPiece) and piece.name in space.index:
            yield space.index[piece.name], piece.values
        elif isinstance(piece, CellsPiece):
            for at, name in enumerate(piece.names):
                if name in space.index:
                    yield space.index[name], take_values(piece.values, np.flatnonzero(piece.columns == at))


def _create_embed(creation: Creation) -> EmbedRow:
    params: EmbedParams = creation.params
    limit = params.maxSingularValues
    model, file = open_model(
        creation.services, params.modelFileUrl, KIND, lambda file: SvdModel.load(file.body, file.archive, limit)
    )
    return EmbedRow(model, params.acceptUnknownValues, file)


_DOC = (
    "Rows with similar values come near each other, as do columns that go together. Numbers are taken as they are, "
    "each other value is a column of its own, as is a column that holds one number alone, such as 1 for *seen*. "
    "The rows of `columnOutputDataset` say which: `price.numericValue`, `colour.stringEquals.red`, "
    "`seen.numberEquals.1`."
)

TYPES = [
    EntityType("procedure", NAME, SvdParams, "Finds coordinates of rows and columns", SvdTrain.create, _DOC),
    EntityType("function", "svd.embedRow", EmbedParams, "Gives a row's coordinates", _create_embed),
]
