"""The procedure ``classifier.experiment``: train and test on folds of the rows (entity-types.md §3.13)."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from server.declarations import EntityType, InputQuery, Progress, RunResult, Services, SqlText, StatelessProcedure
from server.errors import MldbError
from server.learning.classifier_test import NAME as TEST
from server.learning.classifier_test import TestingParams, Top, evaluate
from server.learning.classifier_train import NAME as TRAIN
from server.learning.classifier_train import LearnerParams, TrainParams, learner_configuration, train_to_file
from server.learning.model_params import check_model_url, create_function
from server.procedures.validators import checked_query, features_and_any_label, has_part, plain_columns, required
from server.sql.parser import parse_expression, parse_order
from server.sql.render import render
from server.sql.tree import Call, ColumnRef, Expression, Extract, Item, RowLiteral, Select, SubSelect

NAME = "classifier.experiment"


class Fold(BaseModel):
    """Which rows are for training and which for testing."""

    model_config = ConfigDict(extra="forbid")

    trainingWhere: SqlText = "true"
    testingWhere: SqlText = "true"
    trainingOffset: int = Field(default=0, ge=0)
    testingOffset: int = Field(default=0, ge=0)
    trainingLimit: int = -1
    testingLimit: int = -1
    trainingOrderBy: SqlText = "rowHash()"
    testingOrderBy: SqlText = "rowHash()"

    def training_rows(self, select: Select) -> Select:
        return _limited(select, self.trainingWhere, self.trainingOrderBy, self.trainingLimit, self.trainingOffset)

    def testing_rows(self, select: Select) -> Select:
        return _limited(select, self.testingWhere, self.testingOrderBy, self.testingLimit, self.testingOffset)


class ExperimentParams(LearnerParams):
    experimentName: str = Field(default="", description="Prefix of the names of what is created")
    inputData: InputQuery = Field(
        default=None, description="Query giving a row 'features', a 'label' and maybe a 'weight'"
    )
    testingDataOverride: InputQuery = Field(default=None, description="Query for testing, when it is not the same")
    kfold: int = Field(default=0, description="Number of folds to make; 0 when they are given")
    datasetFolds: list[Fold] = Field(default=[], description="Folds")
    modelFileUrlPattern: str | None = Field(
        default=None, description="Where to save models; $runid becomes <name>-<fold>"
    )
    keepArtifacts: bool = Field(default=True, description="Keep the procedures and functions that were created")
    evalTrain: bool = Field(default=False, description="Test on the training rows as well")
    outputAccuracyDataset: bool = Field(default=True, description="Record the scored rows of each fold")
    uniqueScoresOnly: bool = Field(default=False, description="Record one row per distinct score")
    recallOverN: list[Top] = Field(default=[], description="Numbers of top scores to look for the right label in")


@dataclass(frozen=True)
class _Made:
    """What a run has made so far. Only that goes when it is cancelled: an earlier run may have left its like."""

    services: Services
    models: list[str] = field(default_factory=list)
    functions: list[str] = field(default_factory=list)
    datasets: list[str] = field(default_factory=list)

    def remove(self) -> None:
        for name in self.functions:
            with suppress(MldbError):
                self.services.delete("function", name)
        for name in self.datasets:
            with suppress(MldbError):
                self.services.delete("dataset", name)
        for url in self.models:
            with suppress(MldbError):
                self.services.urls.delete(url)


class ClassifierExperiment(StatelessProcedure):
    """Trains and tests a model per fold; the run's status holds all results and their aggregates."""

    def check(self, params: ExperimentParams) -> tuple[Select, Select] | None:
        """The queries for training and testing, checked as far as can be without reading rows."""
        _check_folds(params)
        if params.inputData is None:
            return None
        training = self._query(params.inputData)
        testing = training if params.testingDataOverride is None else self._query(params.testingDataOverride)
        if not params.modelFileUrlPattern:
            raise MldbError("The 'modelFileUrlPattern' parameter '' is not valid.")
        for number, fold in _numbered(params):
            fold.training_rows(training), fold.testing_rows(testing)
            check_model_url(self.services, NAME, model_url(params, number), None)
        learner_configuration(self.services, params)
        return training, testing

    def _query(self, query: Any) -> Select:
        select = checked_query(self.services, query, NAME, "groupBy", "having", "where", "limit", "offset")
        plain_columns(select, NAME)
        features_and_any_label(select, NAME)
        return select

    def run(self, params: ExperimentParams, progress: Progress) -> RunResult:
        queries = required(self.check(params), NAME, "inputData")
        results, made = [], _Made(self.services)
        try:
            for number, fold in _numbered(params):
                results.append(self._run_fold(params, number, fold, queries, made, progress))
        except Exception:
            if progress.cancelled:  # which shows in several ways: a dataset that was being made is a conflict
                made.remove()
            raise
        if params.keepArtifacts:
            self._keep_procedures(params, queries)
        else:
            for result in results:
                self.services.delete("function", result["functionName"])
        return RunResult(_summary(results))

    def _run_fold(
        self,
        params: ExperimentParams,
        number: int,
        fold: Fold,
        queries: tuple[Select, Select],
        made: _Made,
        progress: Progress,
    ) -> dict[str, Any]:
        url, function = model_url(params, number), f"{params.experimentName}_scorer_{number}"
        training, testing = fold.training_rows(queries[0]), fold.testing_rows(queries[1])
        tested_type = self.services.query(testing).type
        for part in ("features", "label"):
            if not tested_type.under((part,)).columns and not tested_type.open:
                raise MldbError("The testing data must return a 'features' row and a 'label'")
        started = time.monotonic()
        train_to_file(self.services, params, training, url, progress, (NAME, params))
        made.models.append(url)
        create_function(self.services, function, "classifier", url)
        made.functions.append(function)
        trained = time.monotonic()
        result: dict[str, Any] = {"fold": fold.model_dump(), "modelFileUrl": url, "functionName": function}
        dataset = None
        if params.outputAccuracyDataset:
            dataset = result["accuracyDataset"] = f"{params.experimentName}_results_{number}"
        result["resultsTest"] = self._evaluate(params, function, testing, dataset, progress)
        if dataset is not None:
            made.datasets.append(dataset)
        if params.evalTrain:
            result["resultsTrain"] = self._evaluate(params, function, training, None, progress)
        tested = time.monotonic()
        return result | {"durationSecs": {"train": trained - started, "test": tested - trained}}

    def _evaluate(
        self, params: ExperimentParams, function: str, rows: Select, dataset: str | None, progress: Progress
    ) -> dict[str, Any]:
        testing = TestingParams(
            mode=params.mode, outputDataset=dataset, uniqueScoresOnly=params.uniqueScoresOnly,
            recallOverN=params.recallOverN,
        )  # fmt: skip
        return evaluate(self.services, testing, scoring_query(rows, function, params.mode), progress)

    def _keep_procedures(self, params: ExperimentParams, queries: tuple[Select, Select]) -> None:
        """The trainer and the scorer, as they ran last, for clients to run again."""
        number, fold = _numbered(params)[-1]
        common = params.model_dump(include=set(LearnerParams.model_fields), exclude_defaults=True)
        rows = fold.training_rows(queries[0])
        trainer = TrainParams(
            **common | {"runOnCreation": False}, trainingData=render(rows), modelFileUrl=model_url(params, number)
        )
        rows = fold.testing_rows(queries[1])
        function = f"{params.experimentName}_scorer_{number}"
        scorer = TestingParams(
            mode=params.mode, testingData=render(scoring_query(rows, function, params.mode)), runOnCreation=False,
            recallOverN=params.recallOverN,
        )  # fmt: skip
        for name, kind, given in (("trainer", TRAIN, trainer), ("scorer", TEST, scorer)):
            config = {"id": f"{params.experimentName}_{name}", "type": kind}
            self.services.create("procedure", config | {"params": given.model_dump(exclude_defaults=True)})


def _numbered(params: ExperimentParams) -> list[tuple[int, Fold]]:
    return list(enumerate(folds_of(params)))


def _check_folds(params: ExperimentParams) -> None:
    if params.kfold == 1 or params.kfold < 0:
        raise MldbError("When using the kfold parameter, it must be >= 2.")
    if params.kfold and params.datasetFolds:
        raise MldbError("The datasetFolds and kfold parameters cannot be specified at the same time.")
    if params.kfold and params.testingDataOverride is not None:
        raise MldbError("Should not use a k-fold cross-validation if testing dataset is specified.")


def folds_of(params: ExperimentParams) -> Sequence[Fold]:
    """The folds given, or made: k of them, halves by row hash, or all rows when testing has its own."""
    if params.datasetFolds:
        return params.datasetFolds
    if params.testingDataOverride is not None:
        return [Fold()]
    if params.kfold:
        count = params.kfold
        return [
            Fold(trainingWhere=f"rowHash() % {count} != {number}", testingWhere=f"rowHash() % {count} = {number}")
            for number in range(count)
        ]
    return [Fold(trainingWhere="rowHash() % 2 != 1", testingWhere="rowHash() % 2 = 1")]


def model_url(params: ExperimentParams, number: int) -> str:
    return (params.modelFileUrlPattern or "").replace("$runid", f"{params.experimentName}-{number}")


def _limited(select: Select, where: str, order_by: str, limit: int, offset: int) -> Select:
    """A query limited to a fold's rows. Without a limit or offset the order does not matter and is left out."""
    condition = None if where.strip().lower() in ("", "true") else parse_expression(where)
    order = parse_order(order_by) if order_by.strip() else ()
    all_rows = limit < 0 and not offset
    return replace(
        select,
        where=condition,
        order_by=() if all_rows else order,
        limit=None if limit < 0 else limit,
        offset=offset,
    )


def scoring_query(rows: Select, function: str, mode: str) -> Select:
    """Scores by a classifier function of the rows of a query, with their labels and weights."""
    features = Item(ColumnRef(("features",)), ("features",))
    call: Expression = Call(function, (RowLiteral((features,)),))
    if mode in ("boolean", "regression"):
        call = Extract(call, ColumnRef(("score",)))
    names = ["label", *(["weight"] if has_part(rows, "weight") and _is_named(rows, "weight") else [])]
    clauses = (Item(call, ("score",)), *(Item(ColumnRef((name,)), (name,)) for name in names))
    return Select(clauses, source=SubSelect(rows))


def _is_named(select: Select, name: str) -> bool:
    """Whether the query names a column so (wildcards may give one, but need not)."""
    return any(isinstance(clause, Item) and (clause.name or ())[-1:] == (name,) for clause in select.clauses) or any(
        isinstance(clause, Item) and isinstance(clause.expression, ColumnRef) and clause.expression.path[-1] == name
        for clause in select.clauses
    )


# ── results ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _summary(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    summary: dict[str, Any] = {
        "folds": list(results),
        "aggregatedTest": aggregate([result["resultsTest"] for result in results]),
    }
    trained = [result["resultsTrain"] for result in results if "resultsTrain" in result]
    if trained:
        summary["aggregatedTrain"] = aggregate(trained)
    summary["avgDuration"] = aggregate([result["durationSecs"] for result in results])
    return summary


def aggregate(values: Sequence[Any]) -> Any:
    """Objects of the same form as one, each number being {min, max, mean, std}; arrays and texts are left out."""
    first = values[0]
    if isinstance(first, Mapping):
        names = dict.fromkeys(name for value in values for name in value)
        parts = {name: aggregate([value[name] for value in values if name in value]) for name in names}
        return {name: part for name, part in parts.items() if part is not None}
    if not isinstance(first, int | float):
        return None
    # MLDB's deviation is that of the folds themselves, not of a population that they are drawn from.
    with np.errstate(invalid="ignore"):  # infinities have no deviation
        deviation = float(np.std(values))
    return {"min": min(values), "max": max(values), "mean": statistics.fmean(values), "std": deviation}


TYPES = [
    EntityType(
        "procedure",
        NAME,
        ExperimentParams,
        "Trains and tests classifiers on folds of the data",
        ClassifierExperiment.create,
        "Cross-validates a classifier: for each fold a model, a scoring function and its test results, and aggregates "
        "of them over all folds.",
    )
]
