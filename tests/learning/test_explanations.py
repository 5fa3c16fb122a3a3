"""Explanations add up to the score, whatever the classifier that offers them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.learning.config import resolve
from server.learning.examples import Examples, normalized
from server.learning.learners import train
from tests.learning.tables import space

TREE = {"type": "decision_tree", "max_depth": 3, "update_alg": "gentle"}
CONFIGURATIONS = {
    "tree": TREE,
    "stump": {"type": "stump", "committee_size": 2},
    "boosted_stumps": {"type": "boosted_stumps", "min_iter": 3, "max_iter": 5},
    "boosting": {"type": "boosting", "min_iter": 3, "max_iter": 4, "weak_learner": TREE},
    "bagging": {"type": "bagging", "num_bags": 3, "weak_learner": TREE},
    "bagged_boosting": {
        "type": "bagging",
        "num_bags": 2,
        "weak_learner": {"type": "boosting", "min_iter": 2, "max_iter": 3, "weak_learner": TREE},
    },
    "glz_linear": {"type": "glz", "link_function": "linear"},
    "bagged_glz": {"type": "bagging", "num_bags": 2, "weak_learner": {"type": "glz", "link_function": "linear"}},
    "null": {"type": "null"},
}


@st.composite
def tables(draw) -> tuple[Examples, np.ndarray]:
    """Rows of two numbers and a category, some missing, with two or three labels; and rows to explain."""
    rows, count = draw(st.integers(12, 40)), draw(st.integers(2, 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    missing = draw(st.sampled_from([0.0, 0.3]))
    matrix = rng.normal(size=(2 * rows, 3)).astype(np.float32)
    matrix[:, 2] = rng.integers(0, 3, 2 * rows)
    matrix[:, 1:][rng.random((2 * rows, 2)) < missing] = np.nan
    labels = np.concatenate([np.arange(count), rng.integers(0, count, rows - count)])
    features = space("x", "y", kind=("a", "b", "c"))
    return Examples(features, matrix[:rows], labels, count, normalized(rng.random(rows) + 0.1)), matrix[rows:]


@pytest.mark.parametrize("name", CONFIGURATIONS)
@given(table=tables())
@settings(max_examples=15, deadline=None)
def test_bias_and_weights_add_up_to_the_score(name, table):
    examples, rows = table
    model = train(resolve(CONFIGURATIONS[name]), examples, np.random.default_rng(1), lambda _: None)
    scores = model.scores(rows)
    for label in range(examples.label_count):
        why = model.explain(rows, label)
        total = why.bias + why.weights.sum(axis=1)
        np.testing.assert_allclose(total, scores[:, label], rtol=1e-4, atol=1e-4)
        assert not why.weights[~why.used].any()
