"""A classifier as a whole: features, labels, mode and model; training, files, scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from server.learning.archive import Archive, pack, unpack
from server.learning.configurations import Learner
from server.learning.examples import Examples, Model, Tick, part_of
from server.learning.feature_space import FeatureSpace
from server.learning.learners import train
from server.learning.matrix import Floats, Matrix
from server.learning.model_types import load_model, save_model
from server.learning.one_vs_all import OneVsAllModel
from server.learning.probability import calibrate
from server.learning.saved import member, model_content, require
from server.learning.training_set import Mode, Strategy, TrainingSet, balanced, examples_of
from server.learning.trees import TreeEnsemble

_SEED = 2
KIND = "classifier"


@dataclass(frozen=True)
class Classifier:
    """``labels`` are the JSON texts that name the columns of ``scores``, none in regression.

    ``origin`` tells where the model comes from (``server.learning.origin``); ``digest`` is that of its file.
    """

    mode: Mode
    space: FeatureSpace
    labels: tuple[str, ...]
    model: Model
    origin: Mapping[str, Any] = field(default_factory=dict)
    digest: str = ""

    @property
    def single(self) -> bool:
        """Whether there is one score only."""
        return self.mode in ("boolean", "regression")

    def scores(self, matrix: Matrix) -> Floats:
        """Scores [row, label]; in boolean mode and regression one column."""
        if self.single and isinstance(self.model, TreeEnsemble):
            return self.model.last_scores(matrix)
        scores = self.model.scores(matrix)
        return scores[:, -1:] if self.single else scores

    def summary(self) -> str:
        kind = self.model.described_type if isinstance(self.model, TreeEnsemble) else self.model.type.upper()
        return f"{self.mode} classifier of type {kind} on {len(self.space)} features"

    def to_bytes(self) -> bytes:
        archive = Archive()
        body = {
            "mode": self.mode,
            "labels": list(self.labels),
            "space": self.space.to_json(),
            "model": save_model(self.model, archive.child("model")),
        }
        return pack(KIND, body, archive, self.origin)

    @staticmethod
    def from_bytes(data: bytes, limit: int) -> Classifier:
        """Read our own format, unpacked to ``limit`` bytes at most; ``MldbError`` for anything else."""
        file = unpack(KIND, data, limit)
        with model_content():
            body = file.body
            space = FeatureSpace.from_json(member(body, "space", dict[str, Any]))
            model = load_model(member(body, "model", dict[str, Any]), file.archive.child("model"))
            labels = member(body, "labels", tuple[str, ...])
            return Classifier(member(body, "mode", Mode), space, labels, model, file.origin, file.digest).checked()

    def checked(self) -> Classifier:
        """Itself; ``MldbError`` where the parts, each well-formed, do not fit each other."""
        count = {"boolean": 2, "regression": 1}.get(self.mode, len(self.labels))
        wanted = 0 if self.mode == "regression" else count
        require(len(self.labels) == wanted, f"it has {len(self.labels)} labels, and not {wanted}")
        require(count, "it has no labels")
        self.model.check(self.space, count)
        return self


def train_classifier(
    table: TrainingSet,
    learner: Learner,
    *,
    equalization: float = 0.5,
    strategy: Strategy = "one-vs-all",
    tick: Tick = lambda _: None,
    origin: Mapping[str, Any] | None = None,
) -> Classifier:
    """Train on a table. Equal input gives an equal model."""
    rng = np.random.default_rng(_SEED)
    if table.mode == "multilabel" and strategy == "one-vs-all":
        model: Model = _train_one_vs_all(table, learner, equalization, rng, tick)
    else:
        model = train(learner, examples_of(table, equalization, strategy), rng, tick)
    return Classifier(table.mode, table.space, table.labels, model, origin or {})


def _train_one_vs_all(
    table: TrainingSet, learner: Learner, equalization: float, rng: np.random.Generator, tick: Tick
) -> OneVsAllModel:
    weights = balanced(table.targets, table.weights, equalization)
    count = len(table.labels)
    members, calibrations = [], []
    for label in range(count):
        truth = table.targets[:, label]
        examples = Examples(table.space, table.matrix, truth.astype(np.int64), 2, weights)
        member = train(learner, examples, rng, part_of(tick, label, count))
        members.append(member)
        calibrations.append(calibrate(member.scores(table.matrix)[:, 1], truth, weights, "logit"))
    return OneVsAllModel(members, calibrations)
