"""Generalized linear classifiers: a linear model per label, through a link (entity-types.md §6.3).

A numeric feature gives its value (0 when missing) and, when some row lacks it, a column that says whether it is
there; a categorical feature gives a column per category.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from server.learning.attribution import through_link
from server.learning.columns import single
from server.learning.configurations import Link
from server.learning.design import EQUALS, PRESENCE, VALUE, VALUE_IF_PRESENT, Columns
from server.learning.examples import Explanation
from server.learning.glm import LINKS, Doubles
from server.learning.matrix import Floats, Matrix, Sparse, dense_chunks
from server.learning.model_types import model_type
from server.learning.saved import FLOATS, checked, member, require

if TYPE_CHECKING:
    from server.learning.archive import Archive
    from server.learning.feature_space import FeatureSpace

_EXTRACTS = ("VALUE", "VALUE", "PRESENCE", "VALUE_EQUALS")


@model_type
@dataclass(frozen=True)
class GlzModel:
    """``weights`` has a row per label: one number per column, then the bias when there is one."""

    columns: Columns
    weights: Floats
    add_bias: bool
    link: Link
    decode: bool
    width: int
    type = "glz"

    @cached_property
    def _by_feature(self) -> tuple[Doubles, Doubles, dict[int, Doubles]]:
        """Weights [feature, label] of values and of presence, and per categorical feature [category, label]."""
        labels = len(self.weights)
        values, presence = np.zeros((self.width, labels)), np.zeros((self.width, labels))
        weights = self.weights.astype(np.float64)[:, : len(self.columns)].T
        plain = np.isin(self.columns.kind, (VALUE, VALUE_IF_PRESENT))
        np.add.at(values, self.columns.feature[plain], weights[plain])
        there = self.columns.kind == PRESENCE
        np.add.at(presence, self.columns.feature[there], weights[there])
        tables: dict[int, Doubles] = {}
        equals = np.flatnonzero(self.columns.kind == EQUALS)
        for feature in np.unique(self.columns.feature[equals]).tolist():
            mine = equals[self.columns.feature[equals] == feature]
            table = np.zeros((int(self.columns.category[mine].max()) + 1, labels))
            table[self.columns.category[mine]] = weights[mine]
            tables[feature] = table
        return values, presence, tables

    @property
    def _bias(self) -> Doubles:
        return self.weights[:, -1].astype(np.float64) if self.add_bias else np.zeros(len(self.weights))

    def scores(self, matrix: Matrix) -> Floats:
        if isinstance(matrix, Sparse) and not self._by_feature[2]:
            predictor = self._sparse_predictor(matrix)
        else:
            predictor = np.concatenate(
                [self._predictor(chunk) for _, chunk in dense_chunks(matrix)] or [np.zeros((0, len(self.weights)))]
            )
        predictor += self._bias
        return single(LINKS[self.link].inverse(predictor) if self.decode else predictor)

    def _predictor(self, matrix: Floats) -> Doubles:
        values, presence, tables = self._by_feature
        missing = np.isnan(matrix)
        out = np.where(missing, 0, matrix).astype(np.float64) @ values
        if presence.any():
            out += ~missing @ presence
        for feature, table in tables.items():
            out += _look_up(table, matrix[:, feature])
        return out

    def _sparse_predictor(self, matrix: Sparse) -> Doubles:
        values, presence, _ = self._by_feature
        rows = matrix.rows()
        return np.stack(
            [
                np.bincount(
                    rows,
                    matrix.values * values[matrix.columns, label] + presence[matrix.columns, label],
                    matrix.shape[0],
                )
                for label in range(len(self.weights))
            ],
            axis=1,
        )

    def explain(self, matrix: Floats, label: int) -> Explanation:
        """Weight times value; where scores are decoded, each one's share of what the link makes of the sum."""
        values, presence, tables = self._by_feature
        missing = np.isnan(matrix)
        weights = np.where(missing, 0, matrix * values[:, label] + presence[:, label])
        for feature, table in tables.items():
            weights[:, feature] = _look_up(table[:, label : label + 1], matrix[:, feature])[:, 0]
        used = np.zeros(matrix.shape, np.bool_)
        used[:, np.unique(self.columns.feature)] = True
        bias = np.full(len(matrix), self._bias[label], np.float32)
        explained = Explanation(bias, weights.astype(np.float32), used & ~missing)
        return through_link(explained, self.link) if self.decode else explained

    def describe(self, space: FeatureSpace) -> dict[str, Any]:
        features = []
        for feature, kind, category in zip(self.columns.feature, self.columns.kind, self.columns.category, strict=True):
            entry = {"feature": space.features[feature].name, "extract": _EXTRACTS[kind]}
            categories = space.features[feature].categories
            if kind == EQUALS and categories is not None:
                entry["category"] = categories[category]
            features.append(entry)
        params = {
            "addBias": self.add_bias, "features": features,
            "link": self.link.upper(), "weights": self.weights.tolist(),
        }  # fmt: skip
        return {"type": "GLZ", "params": params}

    def save(self, archive: Archive) -> dict[str, Any]:
        self.columns.save(archive)
        archive.put("weights", self.weights)
        return {"addBias": self.add_bias, "link": self.link, "decode": self.decode, "width": self.width}

    @classmethod
    def load(cls, state: Mapping[str, Any], archive: Archive) -> GlzModel:
        columns, add_bias = Columns.load(archive), member(state, "addBias", bool)
        weights = archive.get("weights", FLOATS, None, len(columns) + add_bias)
        link, decode = member(state, "link", Link), member(state, "decode", bool)
        return cls(columns, weights, add_bias, link, decode, member(state, "width", int))

    def check(self, space: FeatureSpace, labels: int) -> None:
        self.columns.check(space)
        checked("weights", self.weights, FLOATS, (labels, None))
        require(self.width == len(space), "its width is not that of its features")


def _look_up(table: Doubles, codes: Floats) -> Doubles:
    """Rows of a table by category; zeros for what is missing or unknown."""
    known = (codes >= 0) & (codes < len(table))
    at = np.where(known, codes, 0).astype(np.int64)
    return np.where(known[:, None], table[at], 0.0)
