"""t-SNE: points of few dimensions whose neighbours are those of the given points (entity-types.md §3.19)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from server.learning.examples import Tick
from server.learning.fit_progress import lines_told
from server.learning.matrix import Floats
from server.learning.processors import processors

SHORTEST_RUN = 250  # rounds that the first phase, which pulls clusters together, always takes
_SEED = 1
_SPREAD = 1e-4  # standard deviation of the starting positions
_MANY = 2000  # points from which openTSNE is faster than scikit-learn
_GRID_DIMENSIONS = 2
_EXAGGERATION = 12.0  # of attraction in the first phase
_CHECK = 50  # rounds between two looks at the gain
_TELLS_ROUNDS = 2  # scikit-learn's verbosity from which it prints how many rounds it has done
_ROUND = re.compile(r"Iteration (\d+)")
_TREE_DIMENSIONS = 3  # Barnes-Hut trees are made for no more


def tsne(
    points: Floats,
    dimensions: int,
    *,
    perplexity: float,
    learning_rate: float,
    patience: int,
    max_rounds: int,
    tick: Tick = lambda _: None,
) -> Floats:
    """A position of ``dimensions`` numbers for each point. Equal input gives equal positions.

    ``perplexity`` is lowered where there are too few points for it. It ends after ``patience`` rounds without a gain.
    """
    if len(points) < 2:
        return np.zeros((len(points), dimensions), np.float32)
    if len(points) > _MANY and dimensions <= _GRID_DIMENSIONS:
        return _on_grid(
            points, _start(points, dimensions), perplexity, learning_rate, _Rounds(patience, max_rounds, tick)
        )
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    model = TSNE(
        n_components=dimensions,
        perplexity=min(perplexity, max((len(points) - 1) / 3, 1.0)),
        learning_rate=learning_rate,
        n_iter_without_progress=patience,
        max_iter=max(max_rounds, SHORTEST_RUN),
        init=_start(points, dimensions),
        random_state=_SEED,
        method="barnes_hut" if dimensions <= _TREE_DIMENSIONS else "exact",
        verbose=_TELLS_ROUNDS,
    )

    def heard(line: str) -> None:
        if (found := _ROUND.search(line)) is not None:
            tick(min(int(found[1]) / max(max_rounds, SHORTEST_RUN), 1.0))

    # Several threads would add up forces in varying order, and so differ from run to run.
    with threadpool_limits(1), lines_told(heard):
        positions: NDArray[Any] = model.fit_transform(points)
    return positions.astype(np.float32)


@dataclass
class _Rounds:
    """How long it goes on: until ``patience`` rounds in a row had no gain, or all rounds are done."""

    patience: int
    most: int
    tick: Tick
    done: int = 0
    best: float = np.inf
    best_at: int = SHORTEST_RUN

    def after(self, _: int, divergence: float, __: Any) -> bool:
        """Called every ``_CHECK`` rounds; whether to stop."""
        self.done += _CHECK
        self.tick(min(self.done / max(self.most, SHORTEST_RUN), 1.0))
        if self.done <= SHORTEST_RUN:
            return False
        if divergence < self.best:
            self.best, self.best_at = divergence, self.done
        return self.done - self.best_at >= self.patience


def _on_grid(points: Floats, start: Floats, perplexity: float, learning_rate: float, rounds: _Rounds) -> Floats:
    """Forces interpolated on a grid (Linderman and others, Nature Methods 2019): rounds take linear time."""
    from openTSNE import TSNEEmbedding
    from openTSNE.affinity import PerplexityBasedNN
    from openTSNE.nearest_neighbors import PrecomputedNeighbors
    from sklearn.neighbors import NearestNeighbors

    perplexity = min(perplexity, (len(points) - 1) / 3)
    index = NearestNeighbors(n_neighbors=int(3 * perplexity), algorithm="brute").fit(points)
    far, near = index.kneighbors()
    threads = processors()
    affinities = PerplexityBasedNN(
        perplexity=perplexity, knn_index=PrecomputedNeighbors(near, far), n_jobs=threads, random_state=_SEED
    )
    embedding = TSNEEmbedding(
        start.astype(np.float64), affinities, negative_gradient_method="fft", n_jobs=threads, random_state=_SEED,
        # scikit-learn's gradient, which the parameter was made for, is four times as large.
        learning_rate=4 * learning_rate, callbacks=rounds.after, callbacks_every_iters=_CHECK,
    )  # fmt: skip
    embedding = embedding.optimize(SHORTEST_RUN, exaggeration=_EXAGGERATION, momentum=0.5)
    if rounds.most > SHORTEST_RUN:
        embedding = embedding.optimize(rounds.most - SHORTEST_RUN, momentum=0.8)
    return np.asarray(embedding, np.float32)


def _start(points: Floats, dimensions: int) -> Floats:
    """Starting positions: the principal components, blurred so that no two points coincide."""
    from sklearn.utils.extmath import randomized_svd

    centered = points.astype(np.float64) - points.mean(axis=0, dtype=np.float64)
    vectors, values, _ = randomized_svd(centered, min(dimensions, *points.shape), random_state=_SEED)
    components = vectors * values
    scale = components[:, 0].std()
    start = np.random.default_rng(_SEED).normal(scale=_SPREAD / 100, size=(len(points), dimensions))
    if scale > 0:
        start[:, : components.shape[1]] += components * (_SPREAD / scale)
    return start.astype(np.float32)
