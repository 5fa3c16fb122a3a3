"""The procedure ``probabilizer.train`` and the function ``probabilizer`` (entity-types.md §3.15, §4.2)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import orjson
import pyarrow as pa
from pydantic import BeforeValidator, Field

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
from server.learning.archive import Archive, ModelFile, pack
from server.learning.columns import values_of
from server.learning.configurations import Link, in_lower_case
from server.learning.function_inputs import require_atom
from server.learning.model_function import ModelFileParams, ModelFunction
from server.learning.model_params import checked_training, create_function, write_model
from server.learning.origin import open_model, training_rows
from server.learning.probability import Calibration, calibrate
from server.learning.saved import REMEDY
from server.learning.scored_rows import read_scored
from server.learning.training_set import check_weights
from server.procedures.validators import required, score_and_label
from server.sql.tree import Select
from server.values.atoms import NEVER, atom_text
from server.values.batches import Column, RowBatch, RowType
from server.values.cells import cells_of
from server.values.kinds import Kind

NAME = "probabilizer.train"
_SCORE = ("score",)
_KIND = "probabilizer"


class TrainParams(ProcedureParams):
    trainingData: InputQuery = Field(
        default=None, description="Query giving a 'score', a boolean 'label', maybe a 'weight'"
    )
    link: Annotated[Link, BeforeValidator(in_lower_case)] = Field(default="logit", description="Link function")
    modelFileUrl: str | None = Field(default=None, description="Where to save the model (.prb)")
    functionName: str | None = Field(default=None, description="Name of a probabilizer function to create")


class ProbabilizerTrain(StatelessProcedure):
    """Fits two numbers; the run's status is the model."""

    def check(self, params: TrainParams) -> Select | None:
        select = checked_training(self.services, NAME, params, "groupBy", "having")
        if select is not None:
            score_and_label(select, NAME)
        return select

    def run(self, params: TrainParams, progress: Progress) -> RunResult:
        select = required(self.check(params), NAME)
        progress.step("iterating")
        result, origin = training_rows(self.services, NAME, params, select)
        found = read_scored(result.batches(progress), "boolean")
        if not len(found):
            raise MldbError("Cannot train a probabilizer without any row that has a score and a label")
        check_weights(found.weights)
        scores = found.scores[:, 0]
        if not np.isfinite(scores).all():
            raise MldbError("Scores to train a probabilizer on must be finite numbers")
        labels = found.truth
        progress.step("training")
        with np.errstate(over="ignore", invalid="ignore"):
            fitted = calibrate(scores, labels, found.weights, params.link, progress.update)
        if not (np.isfinite(fitted.slope) and np.isfinite(fitted.intercept)):
            raise MldbError("Scores to train a probabilizer on are too large: their squares must add up")
        model = fitted.to_json()
        write_model(self.services, params.modelFileUrl, pack(_KIND, model, Archive(), origin), "probabilizer")
        create_function(self.services, params.functionName, "probabilizer", params.modelFileUrl)
        return RunResult(model)


@dataclass(frozen=True)
class ProbabilizerFunction(ModelFunction):
    """Makes scores probabilities."""

    calibration: Calibration
    file: ModelFile

    input = RowType((Column(_SCORE, Kind.NUMBER),), open=True)
    output = RowType((Column(("prob",), Kind.NUMBER),))

    def described(self) -> dict[str, Any]:
        return self.calibration.to_json()

    def bind(self, given: RowType) -> BoundFunction:
        require_atom(given, _SCORE[0], "number")
        return self

    def apply(self, batch: RowBatch) -> RowBatch:
        scores, times = _scores(batch)
        values = self.calibration.apply(scores).astype(np.float64)
        values[np.isnan(scores)] = np.nan
        return RowBatch(self.output, batch.length, [pa.array(values, from_pandas=True)], [times])


def _scores(batch: RowBatch) -> tuple[Any, Any]:
    """The scores of a batch and their timestamps; NaN where a row has none."""
    for number, column in enumerate(batch.type.columns):
        if column.path == _SCORE and column.shape is None:
            found = values_of(batch.values[number], column.kind, "score")
            if found.codes is not None and (found.codes >= 0).any():
                raise _no_number(found.texts[found.codes[found.codes >= 0][0]])
            return found.numbers, batch.timestamp(number)
    scores, times = np.full(batch.length, np.nan), np.full(batch.length, NEVER)
    for at, row in enumerate([] if batch.rest is None else cells_of(batch.rest)):
        for cell in row:
            if cell.path == _SCORE and cell.value is not None:
                if not isinstance(cell.value, int | float):
                    raise _no_number(atom_text(cell.value))
                scores[at], times[at] = cell.value, cell.timestamp
    return scores, pa.array(times)


def _no_number(text: str) -> MldbError:
    return MldbError(f"The input 'score' must be a number, not '{text}'")


def _create_function(creation: Creation) -> ProbabilizerFunction:
    def read(file: ModelFile) -> Calibration:
        return Calibration.from_json(file.body)

    return ProbabilizerFunction(*open_model(creation.services, creation.params.modelFileUrl, _KIND, read, _plain))


def _plain(data: bytes) -> ModelFile:
    """MLDB's probabilizers are JSON, as those of this server's first versions were."""
    try:
        body = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise MldbError(f"Not a probabilizer model: {error}. {REMEDY}") from None
    return ModelFile(body if isinstance(body, dict) else {}, Archive(), {}, hashlib.sha256(data).hexdigest())


TYPES = [
    EntityType(
        "procedure", NAME, TrainParams, "Trains a model that makes scores probabilities", ProbabilizerTrain.create
    ),
    EntityType("function", "probabilizer", ModelFileParams, "Makes scores probabilities", _create_function),
]
