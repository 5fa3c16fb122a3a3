"""A binary model per label, each score made a probability (multilabel, entity-types.md §6.1 and §3.15)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from server.learning.attribution import through_link
from server.learning.examples import Explanation, Model
from server.learning.matrix import Floats, Matrix
from server.learning.model_types import load_model, model_type, save_model
from server.learning.probability import Calibration
from server.learning.saved import member, require

if TYPE_CHECKING:
    from server.learning.archive import Archive
    from server.learning.feature_space import FeatureSpace


@model_type
@dataclass(frozen=True)
class OneVsAllModel:
    """``members[l]`` scores label l against the rest; ``calibrations[l]`` maps that to a probability."""

    members: Sequence[Model]
    calibrations: Sequence[Calibration]
    type = "one_vs_all"

    def scores(self, matrix: Matrix) -> Floats:
        columns = [
            calibration.apply(member.scores(matrix)[:, 1])
            for member, calibration in zip(self.members, self.calibrations, strict=True)
        ]
        return np.stack(columns, axis=1)

    def explain(self, matrix: Floats, label: int) -> Explanation:
        """The label's own model, before its score is made a probability."""
        return self.members[label].explain(matrix, 1)

    def explain_score(self, matrix: Floats, label: int) -> Explanation:
        """The probability itself: each feature's share of it."""
        calibration, explained = self.calibrations[label], self.explain(matrix, label)
        linear = Explanation(
            (explained.bias * np.float64(calibration.slope) + calibration.intercept).astype(np.float32),
            (explained.weights * np.float64(calibration.slope)).astype(np.float32),
            explained.used,
        )
        return through_link(linear, calibration.link)

    def describe(self, space: FeatureSpace) -> dict[str, Any]:
        members = [member.describe(space) for member in self.members]
        calibrations = [calibration.to_json() for calibration in self.calibrations]
        return {"type": "ONE_VS_ALL", "params": {"classifiers": members, "probabilizers": calibrations}}

    def save(self, archive: Archive) -> dict[str, Any]:
        return {
            "members": [save_model(member, archive.child(str(number))) for number, member in enumerate(self.members)],
            "calibrations": [calibration.to_json() for calibration in self.calibrations],
        }

    @classmethod
    def load(cls, state: Mapping[str, Any], archive: Archive) -> OneVsAllModel:
        saved = member(state, "members", list[dict[str, Any]])
        members = [load_model(each, archive.child(str(n))) for n, each in enumerate(saved)]
        calibrations = member(state, "calibrations", list[dict[str, Any]])
        return cls(members, [Calibration.from_json(each) for each in calibrations])

    def check(self, space: FeatureSpace, labels: int) -> None:
        require(len(self.members) == len(self.calibrations) == labels, "it has not one member per label")
        for each in self.members:
            each.check(space, 2)
