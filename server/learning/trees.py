"""Trees and weighted sums of trees as flat arrays, and the one evaluator for all of them.

Decision trees, boosted and bagged trees, trees grown by LightGBM and those of MLDB's ``.cls`` files are all this.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from server.errors import MldbError
from server.learning.examples import Explanation
from server.learning.matrix import Floats, Matrix, pick_columns
from server.learning.model_types import model_type
from server.learning.saved import FLOATS, WHOLE, checked, member, places, require
from server.learning.tree_nodes import AMONG, EQUAL, LESS, PRESENT, Nodes, check_codes, concatenate, load_nodes
from server.learning.tree_walker import TreeWalker, Walks

if TYPE_CHECKING:
    from server.learning.archive import Archive
    from server.learning.feature_space import FeatureSpace

TRUE, FALSE, MISSING = range(3)
_BRANCHES = ("true", "false", "missing")
_OPERATIONS = ("LESS", "EQUAL", "PRESENT", "IN")
_PATHS_AT_ONCE = 1 << 18  # rows x trees walked together, so that the intermediate arrays stay in cache


@model_type
@dataclass(frozen=True)
class TreeEnsemble:
    """``bias`` + the weighted sum of trees. ``kind`` (tree, stump or committee) only shows in descriptions."""

    nodes: Nodes
    roots: NDArray[np.int32]
    weights: Floats
    bias: Floats
    kind: str = "tree"
    type = "trees"

    @staticmethod
    def single(nodes: Nodes) -> TreeEnsemble:
        """One tree whose root is node 0."""
        labels = nodes.values.shape[1]
        return TreeEnsemble(nodes, np.zeros(1, np.int32), np.ones(1, np.float32), np.zeros(labels, np.float32), "tree")

    @staticmethod
    def combine(members: Sequence[TreeEnsemble], weights: Sequence[float]) -> TreeEnsemble:
        """The weighted sum of ensembles, flattened."""
        nodes, starts = concatenate([member.nodes for member in members])
        scaled = np.asarray(weights, np.float32)
        bias = sum((m.bias * w for m, w in zip(members, scaled, strict=True)), np.zeros_like(members[0].bias))
        return TreeEnsemble(
            nodes,
            np.concatenate([m.roots + np.int32(start) for m, start in zip(members, starts, strict=True)]),
            np.concatenate([m.weights * w for m, w in zip(members, scaled, strict=True)]),
            bias.astype(np.float32),
            "committee",
        )

    @cached_property
    def depth(self) -> int:
        """Steps after which every path has ended in a leaf."""
        current, depth = np.unique(self.roots), 0
        while True:
            current = current[self.nodes.feature[current] >= 0]
            if not len(current):
                return depth
            current = np.unique(self.nodes.children[current])
            depth += 1

    @cached_property
    def used(self) -> NDArray[np.int64]:
        """Features that some node tests, ascending."""
        return np.unique(self.nodes.feature[self.nodes.feature >= 0]).astype(np.int64)

    @cached_property
    def _column(self) -> NDArray[np.int64]:
        """Feature of each node as a column of the features used (0 at leaves)."""
        places = np.searchsorted(self.used, np.maximum(self.nodes.feature, 0))
        return places.clip(0, max(len(self.used) - 1, 0))

    @cached_property
    def _plain(self) -> bool:
        return bool((self.nodes.operation[self.nodes.feature >= 0] == LESS).all())

    def _step(self, picked: Floats, rows: NDArray[Any], current: NDArray[Any]) -> NDArray[Any]:
        """One step down for each path: the next node of each."""
        x = picked[rows, self._column[current]]
        test = x < self.nodes.threshold[current]
        if not self._plain:
            test = self._other_tests(x, current, test)
        branch = np.where(np.isnan(x), MISSING, np.where(test, TRUE, FALSE))
        return np.asarray(self.nodes.children[current, branch])

    def _other_tests(self, x: Floats, current: NDArray[Any], less: NDArray[Any]) -> NDArray[Any]:
        operation = self.nodes.operation[current]
        test = np.where(operation == EQUAL, x == self.nodes.threshold[current], less)
        test = np.where(operation == PRESENT, True, test)
        among = operation == AMONG
        if among.any():
            code = np.where(np.isnan(x), -1, x).astype(np.int64)
            word = code >> 5
            known = among & (code >= 0) & (word < self.nodes.word_count[current])
            at = np.where(known, self.nodes.first_word[current] + word, 0)
            words = self.nodes.words if len(self.nodes.words) else np.zeros(1, np.uint32)
            test = np.where(among, known & ((words[at] >> (code & 31)) & 1 > 0), test)
        return test

    @cached_property
    def _walks(self) -> Walks:
        return Walks(self.nodes, self._walker)

    def _walker(self) -> TreeWalker:
        """One that knows what leaves are worth for the last label."""
        last = self.nodes.values[:, -1].astype(np.float64)
        worth = [last * weight for weight in self.weights.astype(np.float64)]
        return TreeWalker(self.nodes, self.roots, self._column, len(self.used), worth)

    def leaves(self, picked: Floats) -> NDArray[np.int32]:
        """The leaf that each row (of the used features) reaches in each tree."""
        rows = np.arange(len(picked))[:, None]
        current = np.broadcast_to(self.roots, (len(picked), len(self.roots)))
        for _ in range(self.depth):
            current = self._step(picked, rows, current)
        return current

    def scores(self, matrix: Matrix) -> Floats:
        return self._scores(matrix, range(self.nodes.values.shape[1]))

    def last_scores(self, matrix: Matrix) -> Floats:
        """The scores of the last label, as one column."""
        return self._scores(matrix, [self.nodes.values.shape[1] - 1])

    def _scores(self, matrix: Matrix, labels: Sequence[int]) -> Floats:
        if len(self.used) and self.used[-1] >= matrix.shape[1]:
            raise MldbError("The model's trees test features that the model does not have")
        picked = pick_columns(matrix, self.used)
        out = np.empty((len(picked), len(labels)), np.float32)
        size = max(1, _PATHS_AT_ONCE // max(len(self.roots), 1))
        for begin in range(0, len(picked), size):
            rows = picked[begin : begin + size]
            walker = self._walks.walker(len(rows) * len(self.roots))
            if walker is not None and not walker.takes(rows):
                walker = None
            if walker is not None and list(labels) == [self.nodes.values.shape[1] - 1]:
                out[begin : begin + size, 0] = walker.sums(rows) + self.bias[-1]
                continue
            leaves = self.leaves(rows) if walker is None else walker.leaves(rows)
            for at, label in enumerate(labels):
                out[begin : begin + size, at] = self._sums(leaves, label) + self.bias[label]
        return out

    def _sums(self, leaves: NDArray[np.int32], label: int) -> NDArray[np.float64]:
        """What leaves [row, tree] are worth for a label, added up from the first tree to the last."""
        worth = self.nodes.values[:, label].astype(np.float64)[np.ascontiguousarray(leaves.T)]
        worth *= self.weights.astype(np.float64)[:, None]
        return np.asarray(np.cumsum(worth, axis=0)[-1])  # a sum may take another order

    def explain(self, matrix: Floats, label: int) -> Explanation:
        """Each step down a tree credits the difference it makes to the feature that was tested (§6.6)."""
        count = len(matrix)
        picked, value = pick_columns(matrix, self.used), self.nodes.values[:, label]
        rows = np.arange(count)[:, None]
        weights = np.zeros((count, matrix.shape[1]), np.float64)
        used = np.zeros((count, matrix.shape[1]), np.bool_)
        current = np.broadcast_to(self.roots, (count, len(self.roots)))
        for _ in range(self.depth):
            following = self._step(picked, rows, current)
            moved = np.nonzero(following != current)
            before, after = current[moved], following[moved]
            tested = self.nodes.feature[before]
            np.add.at(weights, (moved[0], tested), (value[after] - value[before]) * self.weights[moved[1]])
            used[moved[0], tested] = True
            current = following
        bias = np.float32(self.bias[label] + (value[self.roots] * self.weights).sum(dtype=np.float64))
        return Explanation(np.full(count, bias, np.float32), weights.astype(np.float32), used)

    @property
    def described_type(self) -> str:
        """The ``type`` that ``describe`` gives."""
        return {"tree": "DECISION_TREE", "stump": "STUMP"}.get(self.kind, "COMMITTEE")

    def describe(self, space: FeatureSpace) -> dict[str, Any]:
        trees = [self._describe_tree(root, space) for root in self.roots.tolist()]
        if self.kind == "stump":
            return {"type": "STUMP", "params": _stump(trees[0])}
        members = [{"type": "DECISION_TREE", "params": {"tree": {"root": root}}} for root in trees]
        if self.kind == "tree":
            return members[0]
        return {
            "type": "COMMITTEE",
            "params": {"bias": self.bias.tolist(), "weights": self.weights.tolist(), "classifiers": members},
        }

    def _describe_tree(self, root: int, space: FeatureSpace) -> dict[str, Any]:
        """A tree as nested objects, without recursion: trees may be thousands of nodes deep.

        Where what is missing goes the same way as another branch, ``missing`` is that branch's name: spelled out
        twice at each level, a tree of depth 20 would be a million times its size.
        """
        top: dict[str, Any] = {}
        todo = [(root, top)]
        while todo:
            node, out = todo.pop()
            out |= {"examples": float(self.nodes.examples[node]), "pred": self.nodes.values[node].tolist()}
            if self.nodes.feature[node] < 0:
                continue
            out |= {"z": float(self.nodes.z[node]), "split": self._describe_split(node, space)}
            children = self.nodes.children[node].tolist()
            for child, name in zip(children, _BRANCHES, strict=True):
                first = children.index(child)
                out[name] = {} if name == _BRANCHES[first] else _BRANCHES[first]
                if name == _BRANCHES[first]:
                    todo.append((child, out[name]))
        return top

    def _describe_split(self, node: int, space: FeatureSpace) -> dict[str, Any]:
        feature = space.features[self.nodes.feature[node]]
        operation = int(self.nodes.operation[node])
        split: dict[str, Any] = {"feature": feature.name, "op": _OPERATIONS[operation]}
        categories = feature.categories
        if operation == EQUAL and categories is not None:
            split["value"] = categories[int(self.nodes.threshold[node])]
        elif operation == AMONG and categories is not None:
            first, count = int(self.nodes.first_word[node]), int(self.nodes.word_count[node])
            bits = np.unpackbits(
                self.nodes.words[first : first + count].astype("<u4").view(np.uint8), bitorder="little"
            )
            split["value"] = [categories[code] for code in np.flatnonzero(bits) if code < len(categories)]
        elif operation != PRESENT:
            split["value"] = float(self.nodes.threshold[node])
        return split

    def save(self, archive: Archive) -> dict[str, Any]:
        for item in fields(Nodes):
            archive.put(f"nodes.{item.name}", getattr(self.nodes, item.name))
        for name in ("roots", "weights", "bias"):
            archive.put(name, getattr(self, name))
        return {"kind": self.kind}

    @classmethod
    def load(cls, state: Mapping[str, Any], archive: Archive) -> TreeEnsemble:
        nodes, roots = load_nodes(archive), archive.get("roots", WHOLE, None)
        weights, bias = archive.get("weights", FLOATS, len(roots)), archive.get("bias", FLOATS, nodes.values.shape[1])
        loaded = cls(nodes, roots, weights, bias, member(state, "kind", Literal["tree", "stump", "committee"]))
        require(_consistent(loaded), "its trees point outside themselves")
        require(_onward(nodes), "its trees lead in circles")
        return loaded

    def check(self, space: FeatureSpace, labels: int) -> None:
        nodes = self.nodes
        checked("values", nodes.values, FLOATS, (None, labels))
        places("feature", nodes.feature, len(space), low=-1)
        equal = (nodes.feature >= 0) & (nodes.operation == EQUAL)
        check_codes(space, nodes.feature[equal], nodes.threshold[equal])


def _stump(root: dict[str, Any]) -> dict[str, Any]:
    """A tree of one split in the form of MLDB's stumps."""
    if "split" not in root:
        return {"split": None, "action": {"true": root["pred"], "false": root["pred"], "missing": root["pred"]}}
    ways = {name: root[root[name]] if isinstance(root[name], str) else root[name] for name in _BRANCHES}
    return {"split": root["split"], "action": {name: way["pred"] for name, way in ways.items()}}


def _onward(nodes: Nodes) -> bool:
    """Whether each step leads to a later node, as those of all trees that are saved do, and leaves to themselves."""
    own, inner = np.arange(len(nodes))[:, None], nodes.feature[:, None] >= 0
    return bool(np.where(inner, nodes.children > own, nodes.children == own).all())


def _consistent(ensemble: TreeEnsemble) -> bool:
    """Whether no look-up in the arrays of an ensemble from outside can leave them."""
    nodes, count = ensemble.nodes, len(ensemble.nodes)
    children = ((nodes.children >= 0) & (nodes.children < count)).all()
    tests = ((nodes.operation >= LESS) & (nodes.operation <= AMONG)).all()
    ends = nodes.first_word + nodes.word_count
    words = ((nodes.first_word >= 0) & (nodes.word_count >= 0) & (ends <= len(nodes.words))).all()
    words = words and nodes.word_count.sum() <= len(nodes.words)  # none shared: copies would be far more than there are
    roots = len(ensemble.roots) and ((ensemble.roots >= 0) & (ensemble.roots < count)).all()
    return bool(children and tests and words and roots)
