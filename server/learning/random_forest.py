"""The procedure ``randomforest.binary.train`` (entity-types.md §3.14)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from server.declarations import (
    EntityType,
    InputQuery,
    ProcedureParams,
    Progress,
    RunResult,
    StatelessProcedure,
)
from server.errors import MldbError
from server.learning import classifier_job
from server.learning.classifier_train import LearnerParams, train_to_file, training_query
from server.learning.columns import pieces_of
from server.learning.mixed import mixed_columns
from server.learning.model_params import check_model_url, create_function
from server.learning.row_files import read_rows
from server.learning.training_job import Report, TrainingFiles
from server.procedures.validators import features_and_label, required
from server.sql.tree import Select

NAME = "randomforest.binary.train"


class ForestParams(ProcedureParams):
    trainingData: InputQuery = Field(default=None, description="Query giving a row 'features' and a boolean 'label'")
    modelFileUrl: str | None = Field(default=None, description="Where to save the model (.cls)")
    functionName: str | None = Field(default=None, description="Name of a classifier function to create from the model")
    featureVectorSamplings: int = Field(default=5, ge=1, description="Draws of rows")
    featureVectorSamplingProp: float = Field(default=0.3, gt=0, le=1, description="Share of the rows in a draw")
    featureSamplings: int = Field(default=20, ge=1, description="Trees per draw of rows, each on its own features")
    featureSamplingProp: float = Field(default=0.3, gt=0, le=1, description="Share of the features that a tree may use")
    maxDepth: int = Field(default=20, ge=1, description="Levels of splits")
    verbosity: bool = Field(default=False, description="Accepted for compatibility; has no effect")


class ForestTrain(StatelessProcedure):
    """Bags decision trees, each on a draw of the rows and of the features; the score is the mean of their leaves."""

    def check(self, params: ForestParams) -> Select | None:
        select = None
        if params.trainingData is not None:
            select = training_query(self.services, params.trainingData, NAME)
            features_and_label(select, NAME)
        check_model_url(self.services, NAME, params.modelFileUrl, params.functionName)
        return select

    def run(self, params: ForestParams, progress: Progress) -> RunResult:
        select = required(self.check(params), NAME)
        if not params.modelFileUrl:
            raise MldbError("modelFileUrl is not valid: it says where the model is saved")
        learner = LearnerParams(mode="boolean", configuration=forest_configuration(params), equalizationFactor=0)
        job = "server.learning.random_forest:train"
        train_to_file(self.services, learner, select, params.modelFileUrl, progress, (NAME, params), job)
        create_function(self.services, params.functionName, "classifier", params.modelFileUrl)
        return RunResult()


def forest_configuration(params: ForestParams) -> dict[str, Any]:
    """The forest in the configuration language of classifiers."""
    return {
        "type": "bagging",
        "num_bags": params.featureVectorSamplings * params.featureSamplings,
        "validation_split": 1 - params.featureVectorSamplingProp,
        "weak_learner": {
            "type": "decision_tree",
            "max_depth": params.maxDepth,
            "update_alg": "prob",
            "random_feature_propn": params.featureSamplingProp,
        },
    }


def train(arguments: Mapping[str, Any], report: Report) -> dict[str, Any]:
    """The job: as for any classifier, but columns must be of one kind."""
    files = TrainingFiles(Path(arguments["folder"]))
    parts = [list(pieces_of(batch.rows.under(("features",)))) for batch in read_rows(files.rows)]
    if mixed := mixed_columns(parts):
        raise MldbError(
            f"This classifier can't train on column {mixed[0]} which has both string and numeric values. "
            "Consider a column expression that casts it to one of them"
        )
    return classifier_job.train(arguments, report)


TYPES = [
    EntityType(
        "procedure",
        NAME,
        ForestParams,
        "Trains a random forest",
        ForestTrain.create,
        "Trains many decision trees on random draws of rows and features to tell two labels apart. The score is the "
        "mean of their probabilities; the model is a classifier like those of `classifier.train`.",
    )
]
