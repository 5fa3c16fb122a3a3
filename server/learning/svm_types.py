"""The procedure ``svm.train`` and the function ``svm`` (entity-types.md §3.16, §4.2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from server.declarations import (
    BoundFunction,
    Creation,
    EntityType,
    InputQuery,
    ProcedureParams,
    Progress,
    RunResult,
    StatelessProcedure,
)
from server.errors import MldbError
from server.learning.archive import ModelFile
from server.learning.coordinates import EMBEDDING, embedding_type, read_embedding
from server.learning.function_inputs import require_row
from server.learning.model_function import ModelFileParams, ModelFunction
from server.learning.model_params import checked_training, create_function, write_model
from server.learning.origin import open_model, training_rows
from server.learning.points import read_points, tells_order
from server.learning.row_files import read_rows
from server.learning.svm import KIND, Kernel, Settings, SvmModel, SvmType, train_svm
from server.learning.training_job import Report, TrainingFiles, trained_in_job
from server.procedures.validators import required
from server.sql.tree import Select
from server.values.batches import Column, RowBatch, RowType
from server.values.kinds import Kind

NAME = "svm.train"
_LABEL = "label"
_KERNELS: tuple[Kernel, ...] = ("linear", "poly", "rbf", "sigmoid")


def _kernel_name(value: Any) -> Any:
    """Kernels may be told by libsvm's numbers."""
    numbered = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(_KERNELS)
    return _KERNELS[value] if numbered else value


class Configuration(BaseModel):
    model_config = ConfigDict(extra="forbid")

    kernel: Annotated[Kernel, BeforeValidator(_kernel_name)] = Field(default="rbf", description="Kernel, or its number")
    degree: int = Field(default=3, ge=0, description="Degree of a polynomial")
    coef0: float = Field(default=0.0, description="Constant of a polynomial or a sigmoid")
    eps: float = Field(default=1e-3, gt=0, description="Tolerance at which training ends")
    C: float = Field(default=1.0, gt=0, description="Cost of errors")
    gamma: float | None = Field(default=None, ge=0, description="Scale of the kernel; 1/features when left out")
    nu: float = Field(default=0.5, gt=0, le=1, description="Share of support vectors of the nu types and one class")
    p: float = Field(default=0.1, ge=0, description="Half width of the tube of a regression")
    shrinking: bool = Field(default=True, description="Whether training may leave settled rows aside")
    probability: bool = Field(default=False, description="Accepted for compatibility; has no effect")


class TrainParams(ProcedureParams):
    trainingData: InputQuery = Field(
        default=None, description="Query giving numeric columns, one of them called 'label'"
    )
    svmType: SvmType = Field(default="classification", description="What is learnt")
    configuration: Configuration = Field(default=Configuration(), description="Settings of libsvm")
    modelFileUrl: str | None = Field(default=None, description="Where to save the model (.svm)")
    functionName: str | None = Field(default=None, description="Name of an svm function to create")


class SvmTrain(StatelessProcedure):
    """Writes the rows to a file and fits in a job process."""

    def check(self, params: TrainParams) -> Select | None:
        return checked_training(self.services, NAME, params, "groupBy", "having")

    def run(self, params: TrainParams, progress: Progress) -> RunResult:
        select = required(self.check(params), NAME)
        progress.step("iterating")
        result, origin = training_rows(self.services, NAME, params, select, whole=True)
        arguments = {
            "type": params.svmType, "settings": params.configuration.model_dump(exclude={"probability"}),
            "keepOrder": tells_order(select), "origin": origin,
        }  # fmt: skip
        job, empty = "server.learning.svm_types:train", f"{NAME} needs at least one row"
        with trained_in_job(self.services, result, job, arguments, progress, empty=empty) as files:
            data = files.model.read_bytes()
        write_model(self.services, params.modelFileUrl, data, "SVM")
        create_function(self.services, params.functionName, "svm", params.modelFileUrl)
        return RunResult()


def train(arguments: Mapping[str, Any], report: Report) -> dict[str, Any]:
    """The job: points and labels from a file of rows, the model into another."""
    files = TrainingFiles(Path(arguments["folder"]))
    points = read_points(read_rows(files.rows), NAME, keep_order=arguments["keepOrder"]).arranged()
    if _LABEL not in points.columns:
        raise MldbError(f"{NAME} needs a numeric column called 'label'")
    at = points.columns.index(_LABEL)
    columns = points.columns[:at] + points.columns[at + 1 :]
    matrix = points.matrix.astype(np.float64)
    report("training", "counter", 0.0)
    model = train_svm(
        columns,
        np.delete(matrix, at, axis=1),
        matrix[:, at],
        arguments["type"],
        Settings(**arguments["settings"]),
        lambda iterations: report("training", "counter", iterations),
    )
    files.model.write_bytes(model.to_bytes(arguments["origin"]))
    return {"rows": len(points), "vectors": len(model.vectors)}


@dataclass(frozen=True)
class SvmFunction(ModelFunction):
    """Tells label, value or similarity of a point."""

    model: SvmModel
    file: ModelFile

    output = RowType((Column(("output",), Kind.NUMBER),))

    def described(self) -> dict[str, Any]:
        return self.model.describe()

    @property
    def input(self) -> RowType:
        return embedding_type(self.model.columns)

    def bind(self, given: RowType) -> BoundFunction:
        require_row(given, EMBEDDING)
        return self

    def apply(self, batch: RowBatch) -> RowBatch:
        points = read_embedding(self.model.columns, batch)
        found = self.model.apply(points.astype(np.float64))
        return RowBatch(self.output, batch.length, [pa.array(found, pa.float64())])


def _create_function(creation: Creation) -> SvmFunction:
    return SvmFunction(*open_model(creation.services, creation.params.modelFileUrl, KIND, SvmModel.of))


TYPES = [
    EntityType(
        "procedure",
        NAME,
        TrainParams,
        "Trains a support vector machine",
        SvmTrain.create,
        "Labels are numbers. Columns are used as they are: bring them to similar scales first. The progress of "
        "`training` counts libsvm's iterations; how many there will be is not known.",
    ),
    EntityType(
        "function",
        "svm",
        ModelFileParams,
        "Applies a support vector machine",
        _create_function,
        "`embedding` is a row of the columns trained on; `output` is its label or value, for one class 1 or -1.",
    ),
]
