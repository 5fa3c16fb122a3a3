"""The procedure ``classifier.train`` (entity-types.md §3.11)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import Field

from server.declarations import (
    EntityType,
    InputQuery,
    ProcedureParams,
    Progress,
    QueryResult,
    RunResult,
    Services,
    StatelessProcedure,
)
from server.errors import MldbError
from server.learning.config import resolve
from server.learning.label_checks import known_features, refuse_label_as_feature
from server.learning.model_params import check_model_url, configuration_of, create_function, write_model
from server.learning.origin import training_rows
from server.learning.row_files import open_columns, write_rows
from server.learning.text_columns import columns_with_texts
from server.learning.training_job import training_files
from server.learning.training_set import ALL_FILTERED, EMPTY_DATASET, Mode, Strategy
from server.procedures.validators import (
    checked_query,
    features_and_any_label,
    has_part,
    part_expression,
    plain_columns,
    required,
)
from server.sql.tree import Constant, Item, Select
from server.values.paths import Path as ColumnPath

NAME = "classifier.train"
_FEATURES = "features"
_ONE_LABEL = "the rows have one label only: there is nothing to tell apart (in mode boolean any text but '' is true)"


class LearnerParams(ProcedureParams):
    """What ``classifier.train`` and ``classifier.experiment`` have in common."""

    mode: Mode = Field(
        default="boolean",
        description="What labels are: boolean (a text is true unless it is empty), regression, categorical (texts or "
        "numbers as names) or multilabel",
    )
    multilabelStrategy: Strategy = Field(
        default="one-vs-all", description="How rows of several labels are learned from"
    )
    algorithm: str = Field(
        default="",
        description="Dotted path of the learner in the configuration, empty for its top level; of the built-in one "
        "bdt (boosted trees), bbdt (bags of them), dt (one tree), glz (linear), naive_bayes, nn (neural network), …",
    )
    configuration: dict[str, Any] | None = Field(default=None, description="Configuration of learners")
    configurationFile: str | None = Field(default=None, description="URL of the configuration; else the built-in one")
    equalizationFactor: float = Field(
        default=0.5, ge=0, le=1, description="How far labels are balanced: 0 not, 1 to equal weight"
    )


class TrainParams(LearnerParams):
    trainingData: InputQuery = Field(
        default=None, description="Query giving a row 'features', a 'label' and maybe a 'weight'"
    )
    modelFileUrl: str | None = Field(default=None, description="Where to save the model (.cls)")
    functionName: str | None = Field(default=None, description="Name of a classifier function to create from the model")


class ClassifierTrain(StatelessProcedure):
    """Reads the rows here, trains in a job process, saves the model and creates its function."""

    def check(self, params: TrainParams) -> Select | None:
        """What can be told before any row is read; the query's tree."""
        select = None if params.trainingData is None else training_query(self.services, params.trainingData)
        check_model_url(self.services, NAME, params.modelFileUrl, params.functionName)
        if select is not None:
            learner_configuration(self.services, params)
        return select

    def run(self, params: TrainParams, progress: Progress) -> RunResult:
        select = required(self.check(params), "Classifier training procedure")
        train_to_file(self.services, params, select, params.modelFileUrl, progress, (NAME, params))
        create_function(self.services, params.functionName, "classifier", params.modelFileUrl)
        return RunResult()


def training_query(services: Services, query: Any, name: str = NAME) -> Select:
    """The tree of a training query, refused for what training does not support; ``name`` is the procedure's type."""
    select = checked_query(services, query, name, "groupBy", "having")
    plain_columns(select, name)
    features_and_any_label(select, name)
    return select


def learner_configuration(services: Services, params: LearnerParams) -> dict[str, Any]:
    """The configuration in use; ``MldbError`` for mistakes in what the algorithm names."""
    configuration = dict(configuration_of(services, params.configuration, params.configurationFile))
    resolve(configuration, params.algorithm)
    return configuration


def train_to_file(
    services: Services,
    params: LearnerParams,
    select: Select,
    url: str | None,
    progress: Progress,
    procedure: tuple[str, ProcedureParams],
    job: str = "server.learning.classifier_job:train",
) -> None:
    """Train on a query's rows in a job process and save the model. ``procedure``: its type and parameters."""
    result, origin = training_rows(services, *procedure, select)
    check_parts(services, select, result, params.mode)
    configuration = learner_configuration(services, params)
    with training_files(services) as files:
        progress.step("iterating")
        if not write_rows(files.rows, result, progress):
            raise MldbError(EMPTY_DATASET if _nothing_at_all(services, select) else ALL_FILTERED)
        if result.type.open:
            check_open_features(select, files.rows, params.mode)
        arguments = {
            "folder": str(files.folder), "texts": columns_with_texts(services, select, result, progress),
            "mode": params.mode, "strategy": params.multilabelStrategy,
            "equalization": params.equalizationFactor, "configuration": configuration, "algorithm": params.algorithm,
            "origin": origin, "weights": services.settings.boosting_weights * 1_000_000,
        }  # fmt: skip
        found = services.job(job, arguments, progress)
        if found["labels"] == 1:
            services.log(procedure[0], _ONE_LABEL, "warning")
        write_model(services, url, files.model.read_bytes(), "classifier")


def check_parts(services: Services, select: Select, result: QueryResult, mode: Mode) -> None:
    """``features`` and ``label`` must be there and apart."""
    for part in (_FEATURES, "label"):
        if not result.type.under((part,)).columns and not result.type.open:
            if has_part(select, part) and _nothing_at_all(services, select):
                raise MldbError(EMPTY_DATASET)  # without rows there are no columns either
            raise MldbError("trainingData must return a 'features' row and a 'label'")
    _keep_apart(select, known_features(result.type.under((_FEATURES,))), mode)


def check_open_features(select: Select, rows: Path, mode: Mode) -> None:
    """Make the checks of ``check_parts`` on features that only the rows tell."""
    _keep_apart(select, [path[1:] for path in open_columns(rows) if path[:1] == (_FEATURES,)], mode)


def _keep_apart(select: Select, features: Iterable[ColumnPath], mode: Mode) -> None:
    refuse_label_as_feature(part_expression(select, "label"), features, by_prefix=mode == "multilabel")


def _nothing_at_all(services: Services, select: Select) -> bool:
    """Whether the query's tables have no rows, whatever its conditions."""
    one = Select((Item(Constant(1), ("one",)),), source=select.source, limit=1)
    return not any(batch.rows.length for batch in services.query(one).batches())


TYPES = [
    EntityType(
        "procedure",
        NAME,
        TrainParams,
        "Trains a classifier",
        ClassifierTrain.create,
        "Trains a model that predicts a label from features: trees, ensembles, linear models, naive Bayes, neural "
        "networks. The model is saved and, when `functionName` is given, is a live function at once. `trainingData` is "
        "a query such as `SELECT {* EXCLUDING (kind)} AS features, kind AS label FROM flowers`.",
    )
]
