"""Nodes of trees as flat arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from server.learning.matrix import Floats
from server.learning.saved import FLOATS, WHOLE, require

LESS, EQUAL, PRESENT, AMONG = range(4)  # what a node tests

if TYPE_CHECKING:
    from server.learning.archive import Archive
    from server.learning.feature_space import FeatureSpace


def _no_words() -> NDArray[np.uint32]:
    return np.zeros(0, np.uint32)


@dataclass(frozen=True)
class Nodes:
    """Nodes of one or more trees, the arrays having an entry each.

    A node tests a feature: ``x < threshold`` (LESS), ``x == threshold`` (EQUAL, the index of a category), whether
    it is there (PRESENT), or whether the category's bit is set in ``words[first_word:]`` (AMONG, ``word_count``
    words). ``children`` has the nodes to go to when true, when false and when the feature is missing; a leaf has
    feature -1 and goes to itself. ``values`` has a column per label, at inner nodes too.
    """

    feature: NDArray[np.int32]
    operation: NDArray[np.int8]
    threshold: Floats
    children: NDArray[np.int32]
    values: Floats
    examples: Floats
    z: Floats
    first_word: NDArray[np.int32]
    word_count: NDArray[np.int32]
    words: NDArray[np.uint32] = field(default_factory=_no_words)

    def __len__(self) -> int:
        return len(self.feature)


def load_nodes(archive: Archive) -> Nodes:
    """The nodes of a model file; ``MldbError`` where an array is not of its type and size."""
    feature = archive.get("nodes.feature", WHOLE, None)
    count = len(feature)
    whole = {name: archive.get(f"nodes.{name}", WHOLE, count) for name in ("operation", "first_word", "word_count")}
    floats = {name: archive.get(f"nodes.{name}", FLOATS, count) for name in ("threshold", "examples", "z")}
    return Nodes(
        feature=feature,
        children=archive.get("nodes.children", WHOLE, count, 3),
        values=archive.get("nodes.values", FLOATS, count, None),
        words=archive.get("nodes.words", "u", None).astype(np.uint32),
        **whole,
        **floats,
    )


def check_codes(space: FeatureSpace, feature: NDArray[Any], code: NDArray[Any]) -> None:
    """``MldbError`` where a test of a categorical feature names a category that this does not have."""
    sizes = np.array([-1 if each.categories is None else len(each.categories) for each in space.features], np.int64)
    count = sizes[feature]
    require(((count < 0) | ((code >= 0) & (code < count))).all(), "a test names a category that its feature lacks")


def leafless(count: int, labels: int) -> Nodes:
    """``count`` nodes, all leaves that score 0, to be filled in."""
    own = np.arange(count, dtype=np.int32)
    return Nodes(
        feature=np.full(count, -1, np.int32),
        operation=np.zeros(count, np.int8),
        threshold=np.zeros(count, np.float32),
        children=np.stack([own, own, own], axis=1),
        values=np.zeros((count, labels), np.float32),
        examples=np.zeros(count, np.float32),
        z=np.zeros(count, np.float32),
        first_word=np.zeros(count, np.int32),
        word_count=np.zeros(count, np.int32),
    )


def concatenate(parts: Sequence[Nodes]) -> tuple[Nodes, list[int]]:
    """Nodes of several trees in one, and where each part begins."""
    sizes = np.cumsum([0] + [len(part) for part in parts])
    word_sizes = np.cumsum([0] + [len(part.words) for part in parts])
    moved = [
        replace(part, children=part.children + np.int32(size), first_word=part.first_word + np.int32(words))
        for part, size, words in zip(parts, sizes, word_sizes, strict=False)
    ]
    joined = {item.name: np.concatenate([getattr(part, item.name) for part in moved]) for item in fields(Nodes)}
    return Nodes(**joined), sizes[:-1].tolist()
