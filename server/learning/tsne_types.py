"""The procedure ``tsne.train`` and the function ``tsne.embedRow`` (entity-types.md §3.19, §4.2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
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
from server.learning.array_results import ColumnsResult
from server.learning.coordinates import embedding_type
from server.learning.matrix import Floats
from server.learning.model_function import ModelFileParams, ModelFunction
from server.learning.model_params import checked_training, create_function, write_model
from server.learning.origin import open_model, training_rows
from server.learning.points import read_points, tells_order
from server.learning.row_files import read_rows
from server.learning.saved import FLOATS, member
from server.learning.training_job import Report, TrainingFiles, throttled, trained_in_job
from server.learning.tsne import SHORTEST_RUN, tsne
from server.procedures.validators import required
from server.sql.tree import Select
from server.values.batches import Column, RowBatch, RowType
from server.values.kinds import Kind

NAME = "tsne.train"
KIND = "tsne"
_NO_POINTS = (
    "t-sne training requires at least 1 datapoint. Make sure your dataset is not empty and that your WHERE, offset "
    "and limit expressions do not filter all the rows"
)


class TsneParams(ProcedureParams):
    trainingData: InputQuery = Field(default=None, description="Query giving the same numeric columns for each row")
    rowOutputDataset: OutputDataset = Field(default=None, description="Dataset for the positions of rows")
    numInputDimensions: int = Field(default=-1, description="Columns to use, the first by name; -1 uses all")
    numOutputDimensions: int = Field(default=2, ge=1, description="Numbers in a position")
    tolerance: float = Field(default=1e-5, description="Accepted for compatibility; perplexities are met to 1e-5")
    perplexity: float = Field(default=30, gt=0, description="About how many neighbours count; fewer for few rows")
    learningRate: float = Field(default=500, gt=0, le=1e6, description="Size of the steps")
    minIterations: int = Field(default=200, ge=1, description="Rounds without a gain after which it ends")
    maxIterations: int = Field(default=1000, ge=1, description=f"Rounds at most ({SHORTEST_RUN} are always run)")
    modelFileUrl: str | None = Field(default=None, description="Where to save the model (.tsn)")
    functionName: str | None = Field(default=None, description="Name of a function to create from the model")


class TsneTrain(StatelessProcedure):
    """Reads the points here, places them in a job process, records the positions."""

    def check(self, params: TsneParams) -> Select | None:
        return checked_training(self.services, NAME, params, "groupBy", "having")

    def run(self, params: TsneParams, progress: Progress) -> RunResult:
        select = required(self.check(params), NAME)
        progress.step("iterating")
        result, origin = training_rows(self.services, NAME, params, select, whole=True)
        arguments = {"keepOrder": tells_order(select), "origin": origin, **_options(params)}
        job = "server.learning.tsne_types:train"
        with trained_in_job(self.services, result, job, arguments, progress, empty=_NO_POINTS) as files:
            data = files.model.read_bytes()
        if params.rowOutputDataset is not None:
            progress.step("recording")
            _, dataset = self.services.output_dataset(params.rowOutputDataset, "embedding")
            dataset.write(_positions(data), progress)
        write_model(self.services, params.modelFileUrl, data, "t-SNE")
        create_function(self.services, params.functionName, "tsne.embedRow", params.modelFileUrl)
        return RunResult()


def _options(params: TsneParams) -> dict[str, Any]:
    return {
        "inputDimensions": params.numInputDimensions,
        "outputDimensions": params.numOutputDimensions,
        "perplexity": params.perplexity,
        "learningRate": params.learningRate,
        "patience": params.minIterations,
        "maxRounds": params.maxIterations,
    }


def _positions(data: bytes) -> ColumnsResult:
    file = unpack(KIND, data)
    positions = file.archive.get("positions", FLOATS, None, None)
    axes = zip(axis_names(positions.shape[1]), positions.T, strict=True)
    return ColumnsResult(file.body["names"], {(name,): axis for name, axis in axes})


def axis_names(dimensions: int) -> list[str]:
    """``x``, ``y``, ``z``; of more dimensions ``dim0000`` and so on."""
    return list("xyz"[:dimensions]) if dimensions <= 3 else [f"dim{number:04d}" for number in range(dimensions)]


def train(arguments: Mapping[str, Any], report: Report) -> dict[str, Any]:
    """The job: from a file of rows to a model that holds the positions of the rows."""
    files = TrainingFiles(Path(arguments["folder"]))
    points = read_points(
        read_rows(files.rows), NAME, dimensions=arguments["inputDimensions"], keep_order=arguments["keepOrder"]
    ).arranged()
    positions = tsne(
        points.matrix,
        arguments["outputDimensions"],
        perplexity=arguments["perplexity"],
        learning_rate=arguments["learningRate"],
        patience=arguments["patience"],
        max_rounds=arguments["maxRounds"],
        tick=throttled("placing points", report),
    )
    if not np.isfinite(positions).all():
        raise MldbError(f"{NAME}: the points did not settle; lower the learningRate")
    archive = Archive()
    archive.put("positions", positions)
    body = {"columns": points.columns, "names": points.names.to_pylist()}
    files.model.write_bytes(pack(KIND, body, archive, arguments["origin"]))
    return {"rows": len(points)}


@dataclass(frozen=True)
class TsneEmbedRow(ModelFunction):
    """Knows the columns of a t-SNE, but can place no further rows: t-SNE gives positions, not a mapping."""

    columns: list[str]
    dimensions: int
    rows: int
    file: ModelFile

    def described(self) -> dict[str, Any]:
        return {"type": "tsne", "columns": self.columns, "dimensions": self.dimensions, "rows": self.rows}

    @property
    def input(self) -> RowType:
        return embedding_type(self.columns)

    @property
    def output(self) -> RowType:
        return RowType(tuple(Column((name,), Kind.NUMBER) for name in axis_names(self.dimensions)))

    def bind(self, _given: RowType) -> BoundFunction:
        return self

    def apply(self, _batch: RowBatch) -> NoReturn:
        """``MldbError`` (500), as clients of MLDB expect."""
        raise MldbError("t-SNE Embed apply function is not yet implemented", code=500)


def _create_embed(creation: Creation) -> TsneEmbedRow:
    (columns, positions), file = open_model(creation.services, creation.params.modelFileUrl, KIND, _read)
    return TsneEmbedRow(columns, positions.shape[1], len(positions), file)


def _read(file: ModelFile) -> tuple[list[str], Floats]:
    """Columns, and the position of each row."""
    names = member(file.body, "names", list[str])
    return member(file.body, "columns", list[str]), file.archive.get("positions", FLOATS, len(names), None)


TYPES = [
    EntityType(
        "procedure",
        NAME,
        TsneParams,
        "Places rows in a plane, neighbours together",
        TsneTrain.create,
        "Finds a position of two or three numbers for each row such that rows near each other stay so: a map of many "
        "dimensions for the eye. Equal rows give equal maps.",
    ),
    EntityType(
        "function",
        "tsne.embedRow",
        ModelFileParams,
        "Stands for a t-SNE; it cannot place further rows",
        _create_embed,
        "Can be created and inspected. Every call is answered by an error: t-SNE places the rows that it was trained "
        "on and no others.",
    ),
]
