"""The functions ``classifier`` and ``classifier.explain`` (entity-types.md §4.2, §6.4, §6.6)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from server.declarations import BoundFunction, Creation, EntityType
from server.errors import MldbError, NotFound
from server.learning import importance
from server.learning.classifier import Classifier
from server.learning.classifier_files import read_classifier
from server.learning.fasttext import FastTextModel
from server.learning.feature_reader import FEATURES, FeatureReader, number_cells
from server.learning.feature_space import Feature
from server.learning.function_inputs import require_atom
from server.learning.matrix import Floats
from server.learning.model_function import ModelFileParams
from server.learning.one_vs_all import OneVsAllModel
from server.learning.origin import read_model
from server.learning.training_set import is_true, label_text
from server.learning.trees import TreeEnsemble
from server.messages import Request, Response
from server.transfer.results import column_atoms
from server.values.atoms import Atom
from server.values.batches import Column, RowBatch, RowType, rows_of_any_columns
from server.values.kinds import Kind
from server.values.paths import format_path, parse_path

_ROWS_AT_ONCE = 1 << 22  # features x rows of an explanation held as a dense matrix


class ExplainParams(ModelFileParams):
    ofScore: bool = Field(
        default=False,
        description="Explain the score itself also where MLDB explains what it is made from: how near words are to the "
        "label (fastText), the score before it is a probability (multilabel one-vs-all)",
    )


@dataclass(frozen=True)
class ClassifierFunction:
    """Scores rows of features."""

    classifier: Classifier

    @cached_property
    def input(self) -> RowType:
        return RowType(_feature_columns(self.classifier), open=True)

    @cached_property
    def output(self) -> RowType:
        if self.classifier.single:
            return RowType((Column(("score",), Kind.NUMBER),))
        return RowType(tuple(Column(("scores", label), Kind.NUMBER) for label in self.classifier.labels))

    def bind(self, given: RowType) -> BoundFunction:
        return _BoundClassifier(self.classifier, FeatureReader.bind(self.classifier.space, given), self.output)

    def status(self) -> dict[str, Any]:
        return {"summary": self.classifier.summary(), "mode": self.classifier.mode}

    def route(self, request: Request) -> Response:
        """``GET /importance``: which features the model goes by (``server.learning.importance``)."""
        if (request.verb, request.remaining.strip("/")) != ("GET", "importance"):
            raise NotFound(f"Unknown route '{request.verb} {request.remaining}': there is GET /importance")
        return Response(200, orjson.dumps(importance.described(self.classifier)))

    def details(self) -> dict[str, Any]:
        return _details(self.classifier)

    @property
    def digest(self) -> str:
        return self.classifier.digest


def _details(classifier: Classifier) -> dict[str, Any]:
    model = classifier.model.describe(classifier.space)
    return {"model": model, "origin": dict(classifier.origin), "digest": classifier.digest}


def _feature_columns(classifier: Classifier) -> tuple[Column, ...]:
    return tuple(Column((*FEATURES, *parse_path(each.name)), _kind(each)) for each in classifier.space.features)


def _kind(feature: Feature) -> Kind:
    return Kind.NUMBER if feature.categories is None else Kind.STRING


@dataclass(frozen=True)
class _BoundClassifier:
    classifier: Classifier
    reader: FeatureReader
    output: RowType
    brief = True

    def apply(self, batch: RowBatch) -> RowBatch:
        matrix, times = self.reader.read(batch)
        scores = self.classifier.scores(matrix).astype(np.float64)
        values = [pa.array(scores[:, number]) for number in range(scores.shape[1])]
        time = pa.array(times)
        return RowBatch(self.output, batch.length, values, [time] * len(values))


@dataclass(frozen=True)
class ExplainFunction:
    """Says how much each feature of a row added to the score of a label."""

    classifier: Classifier
    of_score: bool = False

    @cached_property
    def input(self) -> RowType:
        return RowType((*_feature_columns(self.classifier), Column(("label",), Kind.ANY)), open=True)

    @property
    def output(self) -> RowType:
        return rows_of_any_columns("explanation", columns=(Column(("bias",), Kind.NUMBER),))

    def bind(self, given: RowType) -> BoundFunction:
        require_atom(given, "label", "value")
        return _BoundExplain(self, FeatureReader.bind(self.classifier.space, given), self.output)

    def status(self) -> dict[str, Any]:
        """``addsUpTo``: what ``bias`` and the numbers of ``explanation`` are together."""
        return {
            "summary": self.classifier.summary(),
            "mode": self.classifier.mode,
            "addsUpTo": "score" if self.of_score else _EXPLAINED.get(type(self.classifier.model), "score"),
        }

    @property
    def digest(self) -> str:
        return self.classifier.digest

    def details(self) -> dict[str, Any]:
        return _details(self.classifier)


# What MLDB explains of models whose scores are made from something simpler.
_EXPLAINED: dict[type, str] = {
    OneVsAllModel: "the score before it is a probability; set ofScore for the score",
    FastTextModel: "how near the words are to the label; set ofScore for the score",
}


@dataclass(frozen=True)
class _BoundExplain:
    function: ExplainFunction
    reader: FeatureReader
    output: RowType

    @property
    def classifier(self) -> Classifier:
        return self.function.classifier

    @cached_property
    def _names(self) -> NDArray[Any]:
        """Path texts of the explanations of each feature."""
        paths = (("explanation", *parse_path(each.name)) for each in self.classifier.space.features)
        return np.array([format_path(path) for path in paths], object)

    def apply(self, batch: RowBatch) -> RowBatch:
        matrix, times = self.reader.read(batch)
        if len(matrix) and np.isnan(matrix).all(axis=1).any():
            raise MldbError(
                "The specified features couldn't be found in the classifier. "
                "At least one non-null feature column must be provided."
            )
        numbers = np.array([self._label_number(label) for label in column_atoms(batch, "label")], np.int64)
        bias = np.zeros(len(matrix), np.float32)
        found: list[tuple[NDArray[Any], NDArray[Any], Floats]] = []
        step = max(1, _ROWS_AT_ONCE // max(matrix.shape[1], 1))
        model = self.classifier.model
        explain = model.explain
        if self.function.of_score and isinstance(model, OneVsAllModel | FastTextModel):
            explain = model.explain_score
        for label in np.unique(numbers).tolist():
            mine = np.flatnonzero(numbers == label)
            for begin in range(0, len(mine), step):
                rows = mine[begin : begin + step]
                why = explain(matrix[rows], label)
                bias[rows] = why.bias
                at, features = np.nonzero(why.used)
                found.append((rows[at], features, why.weights[at, features]))
        return RowBatch(
            self.output, batch.length, [pa.array(bias.astype(np.float64))], [pa.array(times)],
            self._cells(batch.length, found, times),
        )  # fmt: skip

    def _cells(
        self, length: int, found: list[tuple[NDArray[Any], NDArray[Any], Floats]], times: NDArray[Any]
    ) -> pa.Array:
        empty = np.zeros(0, np.int64)
        rows, features, weights = (
            np.concatenate([empty, *parts]) for parts in (zip(*found, strict=True) if found else ((), (), ()))
        )
        order = np.lexsort((features, rows))
        rows, features, weights = rows[order].astype(np.int64), features[order].astype(np.int64), weights[order]
        names = pa.array(self._names[features].tolist(), pa.string())
        return number_cells(length, rows, names, weights, times[rows])

    def _label_number(self, label: Atom) -> int:
        """The number of a raw label; ``MldbError`` when training never saw it."""
        classifier = self.classifier
        if classifier.mode == "regression":
            return 0
        text = str(int(is_true(label))) if classifier.mode == "boolean" else label_text(label)
        if text not in classifier.labels:
            if isinstance(classifier.model, TreeEnsemble):
                raise MldbError(f"Decision_Tree::explain(): no label {text}")
            raise MldbError(f"{text} label not in model")
        return classifier.labels.index(text)


def _create_classifier(creation: Creation) -> ClassifierFunction:
    return ClassifierFunction(read_model(creation.services, creation.params.modelFileUrl, read_classifier))


def _create_explain(creation: Creation) -> ExplainFunction:
    classifier = read_model(creation.services, creation.params.modelFileUrl, read_classifier)
    return ExplainFunction(classifier, creation.params.ofScore)


TYPES = [
    EntityType(
        "function",
        "classifier",
        ModelFileParams,
        "Scores features with a trained classifier",
        _create_classifier,
        "Gives `score` (boolean, regression) or a row `scores` with one column per label, whose names are the JSON "
        "texts of the labels. Reads the models of `classifier.train` and MLDB's binary `.cls` files. "
        "`GET /v1/functions/<name>/routes/importance` tells which features the model goes by.",
    ),
    EntityType(
        "function",
        "classifier.explain",
        ExplainParams,
        "Explains the score of a label by features",
        _create_explain,
        "Gives `bias` and a row `explanation`: together they add up to the score of `label`, for every classifier "
        "(with `ofScore` for fastText and multilabel one-vs-all). A tree credits each step down to the feature tested; "
        "a linear model each product, times what its link makes of the sum; naive Bayes and perceptrons each feature "
        "with what it adds on the way in a straight line from the priors, or from an average row. The sums over a "
        "dataset tell how important features are: `SELECT sum(explain({label, features: {…}})[explanation]) AS *`.",
    ),
]
