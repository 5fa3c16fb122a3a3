"""t-SNE: points of few dimensions whose neighbours are those of the given points (entity-types.md §3.19)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from server.learning.matrix import Floats

SHORTEST_RUN = 250  # rounds that the first phase, which pulls clusters together, always takes
_SEED = 1
_SPREAD = 1e-4  # standard deviation of the starting positions
_TREE_DIMENSIONS = 3  # Barnes-Hut trees are made for no more


def tsne(
    points: Floats, dimensions: int, *, perplexity: float, learning_rate: float, patience: int, max_rounds: int
) -> Floats:
    """A position of ``dimensions`` numbers for each point. Equal input gives equal positions.

    ``perplexity`` is lowered where there are too few points for it. It ends after ``patience`` rounds without a gain.
    """
    if len(points) < 2:
        return np.zeros((len(points), dimensions), np.float32)
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
    )
    # Several threads would add up forces in varying order, and so differ from run to run.
    with threadpool_limits(1):
        positions: NDArray[Any] = model.fit_transform(points)
    return positions.astype(np.float32)


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
