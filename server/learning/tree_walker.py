"""Walks trees by LightGBM's predictor, which over many rows is many times faster than steps on arrays.

Its nodes have two ways out, so that a node of three becomes several:

    x < t       missing? then x < t
    x among     missing? then x among
    x == v      missing? then x <= v, then x <= the number before v
    present     missing?

"Missing?" is a comparison with infinity, which only what is missing does not pass. A way that two nodes share needs no
copy, as LightGBM's nodes are numbered.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from server.learning.lightgbm_library import lightgbm
from server.learning.matrix import Floats
from server.learning.tree_nodes import AMONG, EQUAL, LESS, PRESENT, Nodes

_CATEGORICAL, _DEFAULT_LEFT, _MISSING_IS_NAN = 1, 2, 8  # bits of LightGBM's decision_type
_SMALLEST = np.float32(1e-35)  # LightGBM takes what is smaller, but for 0, for 0
_LARGEST_CODE = np.float32(1 << 24)
_PAYS = 1 << 18  # paths from root to leaf that steps on arrays walk while LightGBM is loaded
_PAYS_PER_NODE = 2  # and while a node is made known to it
_HEAD = """tree
version=v4
num_class=1
num_tree_per_iteration=1
label_index=0
max_feature_idx={last}
objective=regression
feature_names={names}
feature_infos={infos}

"""


class Walks:
    """Counts the paths that were walked in some trees: many are worth a ``TreeWalker``. Thread-safe."""

    def __init__(self, nodes: Nodes, make: Callable[[], TreeWalker]) -> None:
        thresholds = nodes.threshold[nodes.feature >= 0]
        possible = len(thresholds) > 0 and np.isfinite(thresholds).all()
        self._left = _PAYS + _PAYS_PER_NODE * len(nodes) if possible else np.inf
        self._make = make
        self._lock = threading.Lock()
        self._walker: TreeWalker | None = None

    def walker(self, paths: int) -> TreeWalker | None:
        """Who is to walk further paths; None: nobody yet."""
        if self._walker is None:
            self._left -= paths
            if self._left <= 0:
                with self._lock:
                    self._walker = self._walker or self._make()
        return self._walker


class TreeWalker:
    """Knows what each row is worth in all trees together, and which leaves it reaches. Thread-safe.

    ``column`` is the column of the rows that each node tests, ``worth`` what each node is worth as a leaf.
    """

    def __init__(
        self,
        nodes: Nodes,
        roots: NDArray[np.int32],
        column: NDArray[np.int64],
        width: int,
        worth: Sequence[NDArray[np.float64]],
    ) -> None:
        """``worth``: for each tree."""
        trees = [_Binary(nodes, int(root), column) for root in roots.tolist()]
        sizes = [len(tree.leaves) for tree in trees]
        self._leaves = np.concatenate([tree.leaves for tree in trees]).astype(np.int32)
        self._first = np.cumsum([0, *sizes[:-1]]).astype(np.int32)
        self._coded = np.unique(column[nodes.operation == AMONG])
        head = _HEAD.format(last=width - 1, names=_join(f"c{at}" for at in range(width)), infos=_join(["none"] * width))
        texts = [tree.text(own[tree.leaves]) for tree, own in zip(trees, worth, strict=True)]
        blocks = [f"Tree={number}\n{text}\n\n" for number, text in enumerate(texts)]
        self._booster = lightgbm().Booster(model_str=f"{head}{''.join(blocks)}end of trees\n")

    def takes(self, rows: Floats) -> bool:
        """Whether LightGBM sees these rows as they are."""
        size = np.abs(rows)
        if ((size < _SMALLEST) & (size > 0)).any():
            return False
        return not (size[:, self._coded] >= _LARGEST_CODE).any()

    def leaves(self, rows: Floats) -> NDArray[np.int32]:
        """The leaf [row, tree] that each row reaches in each tree."""
        found = self._booster.predict(np.ascontiguousarray(rows), pred_leaf=True, num_threads=1)
        return np.asarray(self._leaves[found.reshape(len(rows), -1) + self._first])

    def sums(self, rows: Floats) -> NDArray[np.float64]:
        """What each row's leaves are worth together, added up from the first tree to the last."""
        found = self._booster.predict(np.ascontiguousarray(rows), raw_score=True, num_threads=1)
        return np.asarray(found, np.float64)


class _Binary:
    """One tree with two ways out of each node; ``leaves`` are the nodes that its leaves stand for."""

    def __init__(self, nodes: Nodes, root: int, column: NDArray[np.int64]) -> None:
        reached = _reached(nodes, root)
        inner, self.leaves = reached[nodes.feature[reached] >= 0], reached[nodes.feature[reached] < 0]
        less, equal, present, among = (nodes.operation[inner] == which for which in (LESS, EQUAL, PRESENT, AMONG))
        # What is missing may go to the left where numbers are compared, and to the right anywhere.
        to_left = (nodes.children[inner, 2] == nodes.children[inner, 0]) & (less | equal)
        guarded = present | ~(to_left | (nodes.children[inner, 2] == nodes.children[inner, 1]))
        size = guarded + np.where(present, 0, np.where(equal, 2, 1))
        first = np.cumsum(size) - size
        test = first + guarded
        goal = np.zeros(len(nodes), np.int64)
        goal[inner], goal[self.leaves] = first, ~np.arange(len(self.leaves))
        true, false, missing = goal[nodes.children[inner]].T
        threshold = nodes.threshold[inner]
        self.feature = np.repeat(column[inner], size)
        self.threshold = np.zeros(len(self.feature))
        self.kind = np.full(len(self.feature), _MISSING_IS_NAN)
        self.left, self.right = np.zeros((2, len(self.feature)), np.int64)
        self._put(first[guarded], np.where(present, true, test)[guarded], missing[guarded], np.float64(np.inf))
        self._put(test[less], true[less], false[less], _before(threshold[less]))
        self._put(test[equal], test[equal] + 1, false[equal], threshold[equal])
        self._put(test[equal] + 1, false[equal], true[equal], _before(threshold[equal]))
        self._put(test[among], true[among], false[among], np.arange(among.sum()))
        self.kind[test[to_left]] |= _DEFAULT_LEFT
        self.kind[test[among]] = _CATEGORICAL
        self.bounds = np.concatenate([[0], np.cumsum(nodes.word_count[inner[among]])])
        starts = nodes.first_word[inner[among]] - self.bounds[:-1]
        self.words = nodes.words[np.repeat(starts, np.diff(self.bounds)) + np.arange(self.bounds[-1])]

    def _put(self, at: NDArray[Any], left: NDArray[Any], right: NDArray[Any], threshold: Any) -> None:
        self.left[at], self.right[at], self.threshold[at] = left, right, threshold

    def text(self, worth: NDArray[np.float64]) -> str:
        """The tree in a model of LightGBM, where it has one leaf more than inner nodes: more of either lead nowhere."""
        leaves = max(len(self.feature) + 1, len(self.leaves))
        arrays: dict[str, NDArray[Any]] = {"leaf_value": np.pad(worth, (0, leaves - len(worth)))}
        inner = {"split_feature": self.feature, "threshold": self.threshold, "decision_type": self.kind}
        inner |= {"left_child": self.left, "right_child": self.right}
        if len(self.feature):
            arrays |= {name: np.pad(array, (0, leaves - 1 - len(array))) for name, array in inner.items()}
        if len(self.bounds) > 1:
            arrays |= {"cat_boundaries": self.bounds, "cat_threshold": self.words}
        lines = [f"num_leaves={leaves}", f"num_cat={len(self.bounds) - 1}"]
        return "\n".join(lines + [f"{name}={_join(array.tolist())}" for name, array in arrays.items()])


def _reached(nodes: Nodes, root: int) -> NDArray[np.int64]:
    """All nodes of a tree, the root first, the others as they lie: which is quicker to walk than level by level."""
    levels = [np.array([root])]
    while len(levels[-1]):
        inner = levels[-1][nodes.feature[levels[-1]] >= 0]
        levels.append(np.unique(nodes.children[inner]))
    return np.concatenate([levels[0], np.unique(np.concatenate(levels[1:]))])


def _before(numbers: Floats) -> Floats:
    """The next smaller numbers of single precision."""
    return np.nextafter(numbers, np.float32(-np.inf))


def _join(values: Iterable[Any]) -> str:
    return " ".join(map(str, values))
