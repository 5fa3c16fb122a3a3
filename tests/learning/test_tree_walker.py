"""Trees walked by LightGBM reach the leaves that steps on arrays reach."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from server.learning import tree_walker
from server.learning.tree_nodes import AMONG, Nodes, leafless
from server.learning.tree_walker import TreeWalker
from server.learning.trees import TreeEnsemble

WIDTH = 4


def random_tree(rng: np.random.Generator, depth: int) -> Nodes:
    """All four tests, and what is missing going its own way or that of another."""
    rows: list[tuple[int, int, float, tuple[int, int, int], list[int]]] = []

    def grow(levels: int) -> int:
        me = len(rows)
        rows.append((-1, 0, 0.0, (me, me, me), []))
        if levels and rng.random() < 0.8:
            operation = int(rng.integers(4))
            true, false = grow(levels - 1), grow(levels - 1)
            missing = (true, false, None)[rng.integers(3)]
            ways = (true, false, grow(levels - 1) if missing is None else missing)
            words = rng.integers(0, 2**32, rng.integers(0, 3)).tolist() if operation == AMONG else []
            rows[me] = (int(rng.integers(WIDTH)), operation, float(rng.integers(-2, 3)), ways, words)
        return me

    grow(depth)
    nodes = leafless(len(rows), 2)
    nodes.values[:] = rng.random(nodes.values.shape)
    words: list[int] = []
    for number, (feature, operation, threshold, children, own) in enumerate(rows):
        nodes.feature[number], nodes.operation[number] = feature, operation
        nodes.threshold[number], nodes.children[number] = threshold, children
        nodes.first_word[number], nodes.word_count[number] = len(words), len(own)
        words += own
    return replace(nodes, words=np.array(words, np.uint32))


def random_rows(rng: np.random.Generator) -> np.ndarray:
    rows = rng.integers(-3, 3, (200, WIDTH)).astype(np.float32)
    rows[100:] = rng.integers(0, 70, (100, WIDTH))
    rows[rng.random(rows.shape) < 0.1] += 0.5
    rows[rng.random(rows.shape) < 0.2] = np.nan
    return rows


@pytest.mark.parametrize("seed", range(40))
def test_any_tree_is_walked_as_by_steps(seed):
    rng = np.random.default_rng(seed)
    members = [TreeEnsemble.single(random_tree(rng, int(rng.integers(1, 7)))) for _ in range(20)]
    trees = TreeEnsemble.combine(members, rng.random(20).tolist())
    rows = random_rows(rng)[:, trees.used]
    if not len(trees.used):
        return
    walker = trees._walker()
    assert walker.takes(rows)
    leaves = trees.leaves(rows)
    assert (walker.leaves(rows) == leaves).all()
    assert (walker.sums(rows) == trees._sums(leaves, 1)).all()


def one_split(threshold: float) -> TreeEnsemble:
    nodes = leafless(3, 1)
    nodes.feature[0], nodes.threshold[0] = 0, threshold
    nodes.children[0] = (1, 2, 2)
    nodes.values[:, 0] = (0, 1, 2)
    return TreeEnsemble.single(nodes)


def test_infinities_and_the_smallest_numbers():
    trees = one_split(1e-40)
    tiny = np.array([[1e-41], [1e-40], [np.inf], [-np.inf]], np.float32)
    walker = trees._walker()
    assert not walker.takes(tiny)
    assert walker.takes(tiny[2:])
    assert walker.leaves(tiny[2:])[:, 0].tolist() == [2, 1]
    assert trees.scores(tiny)[:, 0].tolist() == [1, 2, 2, 1]


def test_lightgbm_walks_from_some_paths_on_and_scores_stay(monkeypatch):
    monkeypatch.setattr(tree_walker, "_PAYS", 300)
    monkeypatch.setattr(tree_walker, "_PAYS_PER_NODE", 0)
    made = []
    monkeypatch.setattr("server.learning.trees.TreeWalker", lambda *given: made.append(given) or TreeWalker(*given))
    trees = one_split(0.5)
    rows = np.random.default_rng(0).random((200, 1)).astype(np.float32)
    first = trees.scores(rows)
    assert not made
    assert (trees.scores(rows) == first).all()
    assert len(made) == 1
    tiny = np.array([[1e-41]], np.float32)
    assert trees.scores(tiny)[0, 0] == 1
    never = one_split(np.inf)
    assert (never.scores(np.repeat(rows, 9, axis=0)) == 1).all()
    assert len(made) == 1


def test_no_category_is_among_none():
    """The only test of categories in all trees names none of them: rows go the way of false."""
    nodes = leafless(4, 1)
    nodes.feature[0], nodes.operation[0], nodes.threshold[0], nodes.children[0] = 0, AMONG, 5.0, (1, 2, 3)
    trees = TreeEnsemble.single(nodes)
    rows = np.array([[0.0], [7.0], [-1.0], [np.nan]], np.float32)
    assert trees.leaves(rows)[:, 0].tolist() == [2, 2, 2, 3]
    assert trees._walker().leaves(rows)[:, 0].tolist() == [2, 2, 2, 3]
