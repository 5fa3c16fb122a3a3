"""Decision trees with three-way splits, grown level by level (entity-types.md §6.7 fixes their numbers).

A split's score Z is 2 * the sum over branches and labels of sqrt(P * N), P being the weight of the branch's examples
that have the label and N that of the others; the lowest Z (in single precision) wins, then the lower column hash,
then the lower threshold. In regression the lowest squared error wins.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from server.learning.binning import Bins, Block, blocks_of
from server.learning.configurations import DecisionTree, Stump, UpdateAlgorithm
from server.learning.examples import Examples, Tick, normalized
from server.learning.matrix import Floats
from server.learning.ordered import Ordered, Sweep, ordered_features
from server.learning.split_statistics import SplitStatistics, snapped
from server.learning.tree_nodes import EQUAL, LESS, PRESENT, Nodes, concatenate, leafless
from server.learning.trees import MISSING, TRUE, TreeEnsemble

_CELLS_AT_ONCE = 1 << 21  # nodes x buckets x labels that are looked at together


@dataclass
class Grower:
    """Grows trees over the same rows with different weights: the buckets are made once."""

    examples: Examples

    @cached_property
    def bins(self) -> Bins:
        return Bins(self.examples.space, self.examples.matrix)

    @cached_property
    def ordered(self) -> Ordered:
        return ordered_features(self.examples.space, self.examples.matrix, self.hashes)

    @cached_property
    def hashes(self) -> NDArray[np.uint64]:
        return np.array([feature.hash for feature in self.examples.space.features], np.uint64)

    def grow(
        self,
        weights: Floats,
        *,
        max_depth: int,
        update: UpdateAlgorithm,
        feature_share: float,
        rng: np.random.Generator,
        tick: Tick = lambda _: None,
    ) -> tuple[TreeEnsemble, NDArray[np.int32]]:
        """A tree, and the leaf that each row of positive weight is in (others: -1)."""
        drawn = self._draw_features(feature_share, rng)
        counted = drawn.copy()
        counted[self.ordered.features] = False
        blocks = blocks_of(self.bins, np.flatnonzero(counted), self.hashes)
        growth = _Growth(self.examples, normalized(weights), update)
        sweep = Sweep(self.ordered.chosen(drawn), growth.stats)
        depth = 0
        while growth.open_nodes and depth != max_depth:
            growth.split_level(blocks, sweep, self.hashes, self.bins)
            depth += 1
            tick(max(growth.settled, depth / max_depth if max_depth > 0 else 0.0))
        return TreeEnsemble.single(growth.finish()), growth.leaf

    def _draw_features(self, share: float, rng: np.random.Generator) -> NDArray[np.bool_]:
        """Which features are drawn."""
        count = len(self.bins)
        if share >= 1 or count == 0:
            return np.ones(count, np.bool_)
        drawn = rng.random(count) < share
        if not drawn.any():
            drawn[rng.integers(0, count, 1)] = True
        return drawn


@dataclass(frozen=True)
class _Best:
    """The best split so far of each open node."""

    z: Floats
    hash: NDArray[np.uint64]
    feature: NDArray[np.int64]
    bucket: NDArray[np.int64]  # -1: split on presence

    @staticmethod
    def none(count: int) -> _Best:
        return _Best(
            np.full(count, np.inf, np.float32),
            np.zeros(count, np.uint64),
            np.full(count, -1, np.int64),
            np.zeros(count, np.int64),
        )

    def take(self, nodes: slice, z: Floats, hash_: NDArray[Any], feature: NDArray[Any], bucket: NDArray[Any]) -> None:
        """Put in those of the given splits that are better."""
        better = (z < self.z[nodes]) | ((z == self.z[nodes]) & (hash_ < self.hash[nodes]) & np.isfinite(z))
        for mine, theirs in ((self.z, z), (self.hash, hash_), (self.feature, feature), (self.bucket, bucket)):
            mine[nodes] = np.where(better, theirs, mine[nodes])


@dataclass
class _Growth:
    """One tree under way. ``open_nodes`` are the nodes of the deepest level that may be split."""

    examples: Examples
    weights: Floats
    update: UpdateAlgorithm
    open_nodes: int = 0

    def __post_init__(self) -> None:
        flat = self.weights if self.weights.ndim == 1 else self.weights.max(axis=1)
        self.leaf = np.where(flat > 0, 0, -1).astype(np.int32)
        self.slot = self.leaf.copy()  # the open node of each row, -1 for none
        self.labels = self.examples.label_count
        self.stats = SplitStatistics(self.examples, self.weights)
        self.parts = leafless(0, self.labels)
        self._add_nodes(1)
        self._open(np.zeros(1, np.int64))

    @property
    def size(self) -> int:
        return len(self.parts)

    @property
    def settled(self) -> float:
        """The share of the rows whose leaf will not be split."""
        return float((self.slot < 0).mean())

    def _add_nodes(self, count: int) -> None:
        self.parts = concatenate([self.parts, leafless(count, self.labels)])[0]

    def _open(self, nodes: NDArray[np.int64]) -> None:
        """Fill in new nodes, whose rows ``slot`` numbers in their order; those worth splitting become the open ones."""
        positive, total, examples = self.stats.per_node(self.slot, len(nodes))
        self.parts.values[nodes] = self.stats.outputs(positive, total, examples, self.update)
        self.parts.examples[nodes] = examples
        mixed = np.flatnonzero(self.stats.mixed(positive, self.slot, len(nodes)))
        place = np.full(len(nodes) + 1, -1, np.int32)
        place[mixed] = np.arange(len(mixed))
        self.slot = place[self.slot]
        self.ids, self.positive, self.total = nodes[mixed], positive[mixed], total[mixed]
        self.open_nodes = len(mixed)

    def split_level(self, blocks: list[Block], sweep: Sweep, hashes: NDArray[np.uint64], bins: Bins) -> None:
        """Find the best split of every open node, make the children, and open those."""
        best = _Best.none(self.open_nodes)
        for block in blocks:
            self._search(block, hashes, best)
        sweep.follow(self.slot, self.open_nodes)
        for node, found in sweep.candidates():
            z, feature, bucket = (np.array([part]) for part in found)
            best.take(slice(node, node + 1), z.astype(np.float32), hashes[feature], feature, bucket)
        split = np.flatnonzero(best.feature >= 0)
        first = self.size
        self._add_nodes(3 * len(split))
        children = first + np.arange(3 * len(split), dtype=np.int32).reshape(-1, 3)
        ids = self.ids[split]
        self._write_splits(ids, children, best, split, bins)
        branch = self._branches(best, split, bins)
        self.slot = np.where(branch >= 0, branch, -1).astype(np.int32)
        inside = self.slot >= 0
        self.leaf[inside] = first + self.slot[inside]
        self._open(np.arange(first, first + 3 * len(split)))

    def _write_splits(
        self, ids: NDArray[Any], children: NDArray[Any], best: _Best, split: NDArray[Any], bins: Bins
    ) -> None:
        parts = self.parts
        parts.feature[ids] = best.feature[split]
        parts.children[ids] = children
        parts.z[ids] = best.z[split]
        for node, feature, bucket in zip(ids, best.feature[split], best.bucket[split], strict=True):
            thresholds = bins[feature].thresholds
            parts.operation[node] = PRESENT if bucket < 0 else EQUAL if thresholds is None else LESS
            if bucket >= 0:
                parts.threshold[node] = bucket if thresholds is None else thresholds[bucket]

    def _branches(self, best: _Best, split: NDArray[Any], bins: Bins) -> NDArray[np.int64]:
        """Where each row goes: 3 x the number of its node's split + the branch; -1 where the node is not split."""
        number = np.full(self.open_nodes + 1, -1, np.int64)
        number[split] = np.arange(len(split))
        mine = number[self.slot]
        branch = np.where(mine >= 0, 3 * mine + MISSING, -1)
        by_feature: dict[int, list[int]] = {}
        for at, feature in enumerate(best.feature[split].tolist()):
            by_feature.setdefault(feature, []).append(at)
        bucket_of = np.full(len(split) + 1, 0, np.int64)
        bucket_of[: len(split)] = best.bucket[split]
        for feature, splits in by_feature.items():
            item = bins[feature]
            asked = np.zeros(len(split) + 1, np.bool_)
            asked[splits] = True
            here = asked[mine[item.rows]]
            rows, buckets = item.rows[here], item.buckets[here]
            limit = bucket_of[mine[rows]]
            true = (limit < 0) | (buckets == limit if item.thresholds is None else buckets <= limit)
            branch[rows] = 3 * mine[rows] + np.where(true, TRUE, TRUE + 1)
        return branch

    def _search(self, block: Block, hashes: NDArray[np.uint64], best: _Best) -> None:
        slots = self.slot[block.rows]
        inside = slots >= 0
        rows, cells, slots = block.rows[inside], block.cells[inside], slots[inside]
        width = len(block.features) * block.width
        step = max(1, _CELLS_AT_ONCE // (width * self.labels))
        for begin in range(0, self.open_nodes, step):
            end = min(begin + step, self.open_nodes)
            if step < self.open_nodes:
                some = (slots >= begin) & (slots < end)
                keys = (slots[some] - begin).astype(np.int64) * width + cells[some]
                positive, total = self.stats.sums(rows[some], keys, (end - begin) * width)
            else:
                positive, total = self.stats.sums(rows, slots.astype(np.int64) * width + cells, end * width)
            shape = (end - begin, len(block.features), block.width)
            z, bucket = self._best_of(positive.reshape(*shape, -1), total.reshape(*shape, -1), block, begin, end)
            place = z.argmin(axis=1)
            nodes = np.arange(end - begin)
            features = block.features[place]
            best.take(slice(begin, end), z[nodes, place], hashes[features], features, bucket[nodes, place])

    def _best_of(
        self, positive: NDArray[Any], total: NDArray[Any], block: Block, begin: int, end: int
    ) -> tuple[Floats, NDArray[np.int64]]:
        """Lowest Z of each node and feature, and its bucket (-1: presence); sums are [node, feature, bucket, label]."""
        present = positive.sum(axis=2), total.sum(axis=2)
        if block.categorical:
            true = positive, total
        else:
            true = positive.cumsum(axis=2), total.cumsum(axis=2)
            present = true[0][:, :, -1], true[1][:, :, -1]
        missing = tuple(
            snapped(whole[begin:end, None] - part, whole[begin:end, None])
            for whole, part in zip((self.positive, self.total), present, strict=True)
        )
        false = tuple(snapped(p[:, :, None] - t, p[:, :, None]) for p, t in zip(present, true, strict=True))
        rest = self.stats.impurity(*missing)
        z = self.stats.impurity(*true) + self.stats.impurity(*false) + rest[:, :, None]
        possible = (true[1].max(axis=-1) > 0) & (false[1].max(axis=-1) > 0)
        z = np.where(possible, z, np.inf).astype(np.float32)
        bucket = z.argmin(axis=2)
        lowest = np.take_along_axis(z, bucket[:, :, None], axis=2)[:, :, 0]
        lacking = (missing[1].max(axis=-1) > 0) & (present[1].max(axis=-1) > 0)
        by_presence = np.where(lacking, self.stats.impurity(*present) + rest, np.inf).astype(np.float32)
        return np.minimum(lowest, by_presence), np.where(by_presence < lowest, -1, bucket)

    def finish(self) -> Nodes:
        return self.parts


def train_tree(config: DecisionTree, examples: Examples, rng: np.random.Generator, tick: Tick) -> TreeEnsemble:
    """One tree grown to ``max_depth`` (negative: until its leaves are pure)."""
    tree, _ = Grower(examples).grow(
        examples.weights,
        max_depth=config.max_depth,
        update=config.update_alg,
        feature_share=config.random_feature_propn,
        rng=rng,
        tick=tick,
    )
    tick(1.0)
    return tree


def train_stump(config: Stump, examples: Examples, rng: np.random.Generator, tick: Tick) -> TreeEnsemble:
    """A tree of one split, or the mean of ``committee_size`` of them over different features."""
    grower, size = Grower(examples), max(config.committee_size, 1)
    share = config.feature_prop if size == 1 else min(config.feature_prop, 0.9)
    trees = []
    for number in range(size):
        tree, _ = grower.grow(examples.weights, max_depth=1, update=config.update_alg, feature_share=share, rng=rng)
        trees.append(tree)
        tick((number + 1) / size)
    if size > 1:
        return TreeEnsemble.combine(trees, [1 / size] * size)
    return TreeEnsemble(trees[0].nodes, trees[0].roots, trees[0].weights, trees[0].bias, "stump")
