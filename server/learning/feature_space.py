"""The features that a model was trained on: names, types, categories and hashes (entity-types.md §6.5)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from server.learning.saved import member, require
from server.values.paths import parse_path


@dataclass(frozen=True, slots=True)
class Feature:
    """One feature, named by the text of its column's path.

    ``categories`` is None for numbers. ``optional``: some training row lacked it. ``hash`` is the 64-bit hash of
    the column name, which settles ties and orders words.
    """

    name: str
    categories: tuple[str, ...] | None = None
    optional: bool = True
    hash: int = 0


@dataclass(frozen=True)
class FeatureSpace:
    """Features in column order. ``ignored`` columns were null throughout training and may hold anything."""

    features: tuple[Feature, ...]
    ignored: frozenset[str] = field(default=frozenset())

    def __len__(self) -> int:
        return len(self.features)

    @cached_property
    def index(self) -> Mapping[str, int]:
        return {feature.name: number for number, feature in enumerate(self.features)}

    @cached_property
    def categories(self) -> Mapping[int, Mapping[str, int]]:
        """For each categorical feature the index of each category."""
        return {
            number: {category: code for code, category in enumerate(feature.categories)}
            for number, feature in enumerate(self.features)
            if feature.categories is not None
        }

    def to_json(self) -> dict[str, Any]:
        return {
            "features": [[f.name, f.optional, f"{f.hash:016x}"] for f in self.features],
            "categories": {str(n): list(f.categories) for n, f in enumerate(self.features) if f.categories is not None},
            "ignored": sorted(self.ignored),
        }

    @staticmethod
    def from_json(state: Mapping[str, Any]) -> FeatureSpace:
        """``MldbError`` for what ``to_json`` does not give."""
        categories = member(state, "categories", dict[int, tuple[str, ...]])
        features = tuple(
            Feature(name, categories.pop(number, None), optional, int(hash_text, 16))
            for number, (name, optional, hash_text) in enumerate(member(state, "features", list[tuple[str, bool, str]]))
        )
        require(not categories, "features that it does not list have categories")
        require(len({feature.name for feature in features}) == len(features), "a feature is listed twice")
        require(all(0 <= feature.hash < 1 << 64 for feature in features), "a feature has a wrong hash")
        for feature in features:
            parse_path(feature.name)
        return FeatureSpace(features, frozenset(member(state, "ignored", list[str])))
