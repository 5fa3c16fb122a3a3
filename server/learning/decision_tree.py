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

from server.learning.binning import Binned, Block, bin_features, blocks_of
from server.learning.configurations import DecisionTree, Stump, UpdateAlgorithm
from server.learning.examples import Examples, Tick, normalized
from server.learning.matrix import Floats
from server.learning.tree_nodes import EQUAL, LESS, PRESENT, Nodes, concatenate, leafless
from server.learning.trees import MISSING, TRUE, TreeEnsemble

_CELLS_AT_ONCE = 1 << 21  # nodes x buckets x labels that are looked at together
_NOISE = 1e-12  # what is left of a difference of equal sums of weights


@dataclass
class Grower:
    """Grows trees over the same rows with different weights: the buckets are made once."""

    examples: Examples

    @cached_property
    def binned(self) -> list[Binned]:
        return bin_features(self.examples.space, self.examples.matrix)

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
    ) -> tuple[TreeEnsemble, NDArray[np.int32]]:
        """A tree, and the leaf that each row of positive weight is in (others: -1)."""
        blocks = blocks_of(self.binned, self._draw_features(feature_share, rng), self.hashes)
        growth = _Growth(self.examples, normalized(weights), update)
        depth = 0
        while growth.open_nodes and depth != max_depth:
            growth.split_level(blocks, self.hashes, self.binned)
            depth += 1
        return TreeEnsemble.single(growth.finish()), growth.leaf

    def _draw_features(self, share: float, rng: np.random.Generator) -> NDArray[np.int64]:
        count = len(self.binned)
        if share >= 1 or count == 0:
            return np.arange(count)
        drawn = np.flatnonzero(rng.random(count) < share)
        return drawn if len(drawn) else rng.integers(0, count, 1)


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

    def split_level(self, blocks: list[Block], hashes: NDArray[np.uint64], binned: list[Binned]) -> None:
        """Find the best split of every open node, make the children, and open those."""
        best = _Best.none(self.open_nodes)
        for block in blocks:
            self._search(block, hashes, best)
        split = np.flatnonzero(best.feature >= 0)
        first = self.size
        self._add_nodes(3 * len(split))
        children = first + np.arange(3 * len(split), dtype=np.int32).reshape(-1, 3)
        ids = self.ids[split]
        self._write_splits(ids, children, best, split, binned)
        branch = self._branches(best, split, binned)
        self.slot = np.where(branch >= 0, branch, -1).astype(np.int32)
        inside = self.slot >= 0
        self.leaf[inside] = first + self.slot[inside]
        self._open(np.arange(first, first + 3 * len(split)))

    def _write_splits(
        self, ids: NDArray[Any], children: NDArray[Any], best: _Best, split: NDArray[Any], binned: list[Binned]
    ) -> None:
        parts = self.parts
        parts.feature[ids] = best.feature[split]
        parts.children[ids] = children
        parts.z[ids] = best.z[split]
        for node, feature, bucket in zip(ids, best.feature[split], best.bucket[split], strict=True):
            thresholds = binned[feature].thresholds
            parts.operation[node] = PRESENT if bucket < 0 else EQUAL if thresholds is None else LESS
            if bucket >= 0:
                parts.threshold[node] = bucket if thresholds is None else thresholds[bucket]

    def _branches(self, best: _Best, split: NDArray[Any], binned: list[Binned]) -> NDArray[np.int64]:
        """For each row of a split node 3 x the split's number + its branch, for others -1."""
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
            item = binned[feature]
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
            _snap(whole[begin:end, None] - part, whole[begin:end, None])
            for whole, part in zip((self.positive, self.total), present, strict=True)
        )
        false = tuple(_snap(p[:, :, None] - t, p[:, :, None]) for p, t in zip(present, true, strict=True))
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


def _snap(difference: NDArray[Any], whole: NDArray[Any]) -> NDArray[Any]:
    """A difference of sums of weights, with the noise of rounding taken for the nought it stands for."""
    return np.where(np.abs(difference) <= _NOISE * np.abs(whole), 0.0, difference)


class SplitStatistics:
    """Sums of weights, and what follows from them: P and the totals per label, or (in regression) w*y and w."""

    def __init__(self, examples: Examples, weights: Floats) -> None:
        self.regression = examples.regression
        self.labels = examples.label_count
        if self.regression:
            self.weights = weights.astype(np.float64)
            self.scaled = self.weights * examples.labels
            self.numbers = examples.labels
        else:
            self.label = examples.labels.astype(np.int64)
            alike = weights.ndim == 1 or bool((weights == weights[:, :1]).all())
            self.weights = (weights if weights.ndim == 1 else weights[:, 0] if alike else weights).astype(np.float64)

    def sums(self, rows: NDArray[Any], keys: NDArray[np.int64], count: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Per key: positive weights [count, labels] and totals [count, labels or 1]."""
        if self.regression:
            pair = (np.bincount(keys, values[rows], count)[:, None] for values in (self.scaled, self.weights))
            return next(pair), next(pair)
        label = self.label[rows]
        flat = keys * self.labels + label
        if self.weights.ndim == 1:
            positive = np.bincount(flat, self.weights[rows], count * self.labels).reshape(count, self.labels)
            return positive, positive.sum(axis=1, keepdims=True)
        positive = np.bincount(flat, self.weights[rows, label], count * self.labels).reshape(count, self.labels)
        totals = [np.bincount(keys, self.weights[rows, each], count) for each in range(self.labels)]
        return positive, np.stack(totals, axis=1)

    def per_node(self, slot: NDArray[Any], count: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """Positive weights, totals and the number of rows of each node."""
        rows = np.flatnonzero(slot >= 0)
        keys = slot[rows].astype(np.int64)
        return *self.sums(rows, keys, count), np.bincount(keys, minlength=count)

    def impurity(self, positive: NDArray[Any], total: NDArray[Any]) -> NDArray[Any]:
        """What a branch adds to Z."""
        if self.regression:
            with np.errstate(divide="ignore", invalid="ignore"):
                return -np.where(total > 0, positive * positive / total, 0.0)[..., 0]
        right = positive.astype(np.float32).astype(np.float64)
        wrong = _snap(total - positive, total).astype(np.float32)
        z: NDArray[Any] = 2 * np.sqrt(np.maximum(right * wrong, 0)).sum(axis=-1)
        return z

    def mixed(self, positive: NDArray[Any], slot: NDArray[Any], count: int) -> NDArray[np.bool_]:
        """Nodes whose examples still differ in what is to be predicted."""
        if not self.regression:
            return np.asarray((positive > 0).sum(axis=1) > 1)
        low, high = np.full(count, np.inf), np.full(count, -np.inf)
        rows = np.flatnonzero(slot >= 0)
        np.minimum.at(low, slot[rows], self.numbers[rows])
        np.maximum.at(high, slot[rows], self.numbers[rows])
        return high > low

    def outputs(
        self, positive: NDArray[Any], total: NDArray[Any], examples: NDArray[Any], update: UpdateAlgorithm
    ) -> Floats:
        """The scores of nodes: weighted mean, P/(P+N), (P-N)/(P+N) or half the log of the odds; 0 where empty."""
        if self.regression:
            return _divide(positive, total)
        right = positive.astype(np.float32)
        wrong = _snap(total - positive, total).astype(np.float32)
        if update == "prob":
            return _divide(right, right + wrong)
        if update == "gentle":
            return _divide(right - wrong, right + wrong)
        epsilon = (1 / max(len(self.label), 1)) + np.zeros_like(right)
        half_log = 0.5 * np.log((right + epsilon) / (wrong + epsilon))
        return np.where(examples[:, None] > 0, half_log, 0).astype(np.float32)


def _divide(above: NDArray[Any], below: NDArray[Any]) -> Floats:
    out = np.zeros(np.broadcast_shapes(above.shape, below.shape), np.float64)
    np.divide(above, below, out=out, where=below > 0)
    return out.astype(np.float32)


def train_tree(config: DecisionTree, examples: Examples, rng: np.random.Generator, tick: Tick) -> TreeEnsemble:
    """One tree grown to ``max_depth`` (negative: until its leaves are pure)."""
    tree, _ = Grower(examples).grow(
        examples.weights,
        max_depth=config.max_depth,
        update=config.update_alg,
        feature_share=config.random_feature_propn,
        rng=rng,
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
