"""The procedure ``classifier.test`` (entity-types.md §3.12)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from server.declarations import (
    EntityType,
    InputQuery,
    OutputDataset,
    ProcedureParams,
    Progress,
    Recorded,
    RunResult,
    Services,
    StatelessProcedure,
)
from server.errors import MldbError
from server.learning.array_results import ColumnsResult
from server.learning.metrics import (
    Thresholds,
    best_labels,
    boolean_statistics,
    categorical_statistics,
    multilabel_statistics,
    regression_statistics,
)
from server.learning.scored_rows import (
    ScoredRows,
    boolean_rows,
    categorical_rows,
    multilabel_rows,
    read_scored,
    regression_rows,
)
from server.learning.training_set import Mode, check_weights, label_atom
from server.procedures.validators import any_score_and_label, checked_query, plain_columns, required
from server.sql.tree import Select
from server.transfer.outputs import record_all, recording_dataset

NAME = "classifier.test"
Top = Annotated[int, Field(ge=1)]


class TestingParams(ProcedureParams):
    mode: Mode = Field(default="boolean", description="What labels are; must be the mode of the training")
    testingData: InputQuery = Field(
        default=None, description="Query giving a 'score' (or a row of them), a 'label', a 'weight'"
    )
    outputDataset: OutputDataset = Field(default=None, description="Dataset to record the scored rows in")
    uniqueScoresOnly: bool = Field(default=False, description="Boolean mode: record one row per distinct score")
    recallOverN: list[Top] = Field(default=[], description="Numbers of top scores to look for the right label in")


class ClassifierTest(StatelessProcedure):
    """Compares scores with labels; the run's status holds the statistics."""

    def check(self, params: TestingParams) -> Select | None:
        if params.testingData is None:
            return None
        return testing_query(self.services, params.testingData)

    def run(self, params: TestingParams, progress: Progress) -> RunResult:
        select = required(self.check(params), "Classifier testing procedure", "testingData")
        return RunResult(evaluate(self.services, params, select, progress))


def testing_query(services: Services, query: Any) -> Select:
    select = checked_query(services, query, NAME, "groupBy", "having")
    plain_columns(select, NAME)
    any_score_and_label(select, NAME)
    return select


def evaluate(services: Services, params: TestingParams, select: Select, progress: Progress) -> dict[str, Any]:
    """The statistics of a testing query; the scored rows go into the output dataset when there is to be one."""
    progress.step("scoring")
    found = read_scored(services.query(select).batches(progress), params.mode)
    if not len(found):
        raise MldbError("Cannot run classifier.test procedure on empty test set")
    check_weights(found.weights)
    progress.step("evaluating")
    statistics, rows = _assess(found, params)
    if params.outputDataset is not None:
        dataset = recording_dataset(services, params.outputDataset, "tabular")
        progress.step("recording", "counter")
        if isinstance(rows, ColumnsResult):
            dataset.write(rows, progress)
        else:
            record_all(dataset, rows, progress)
    return statistics


def _assess(found: ScoredRows, params: TestingParams) -> tuple[dict[str, Any], ColumnsResult | Iterator[Recorded]]:
    if params.mode == "boolean":
        truth = found.truth
        thresholds = Thresholds.scan(found.scores[:, 0], truth, found.weights)
        return boolean_statistics(thresholds), boolean_rows(found, thresholds, truth, params.uniqueScoresOnly)
    if params.mode == "regression":
        if not np.isfinite(found.scores).any():
            raise MldbError("No row has a score that is a finite number: there is nothing to compare labels with")
        numbers = found.numbers
        if not np.isfinite(numbers).all():
            raise MldbError("Regression labels must not be infinite or NaN, or anything but numbers")
        return regression_statistics(found.scores[:, 0], numbers, found.weights), regression_rows(found)
    labels = found.label_list()
    if params.mode == "categorical":
        statistics = categorical_statistics(found.labelled, labels, found.weights, label_atom, params.recallOverN)
        return statistics, categorical_rows(found, best_labels(found.scores))
    statistics = multilabel_statistics(found.labelled, labels, found.weights, label_atom, params.recallOverN)
    return statistics, multilabel_rows(found)


TYPES = [
    EntityType(
        "procedure",
        NAME,
        TestingParams,
        "Measures how good a classifier is",
        ClassifierTest.create,
        "Compares the scores of a query with its labels: area under the curve, best thresholds, precision, recall, "
        "confusion matrix, errors. The statistics are the status of the run.",
    )
]
