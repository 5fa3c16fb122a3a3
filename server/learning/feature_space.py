"""The features that a model was trained on: names, types, categories and hashes (entity-types.md §6.5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any


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
        categories: Mapping[str, Sequence[str]] = state["categories"]
        features = []
        for number, (name, optional, hash_text) in enumerate(state["features"]):
            listed = categories.get(str(number))
            features.append(
                Feature(name, None if listed is None else tuple(listed), bool(optional), int(hash_text, 16))
            )
        return FeatureSpace(tuple(features), frozenset(state["ignored"]))
