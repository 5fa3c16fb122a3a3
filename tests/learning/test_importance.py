"""Which features a classifier goes by: over REST, and from models made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from server.errors import MldbError
from server.learning.classifier import train_classifier
from server.learning.committee import Committee, Constant
from server.learning.config import builtin_configurations, resolve
from server.learning.importance import importance_of
from server.learning.one_vs_all import OneVsAllModel
from server.learning.training_set import TrainingSet
from server.learning.tree_nodes import leafless
from server.learning.trees import TreeEnsemble
from tests.learning.tables import space
from tests.learning.test_classifier_rest import blobs, data_dir, train
from tests.learning.test_explanations import check_every_label

__all__ = ["blobs", "data_dir"]

QUERY = "SELECT {x, y, kind AS spare} AS features, label FROM blobs"
NUMBERS = "SELECT {x, y} AS features, label FROM blobs"
FOREST = {"type": "bagging", "num_bags": 5, "weak_learner": {"type": "decision_tree", "max_depth": 4}}


def importance(client, function):
    return client.get(f"/v1/functions/{function}/routes/importance")


def stump(feature, left, right, examples=(30.0, 10.0)):
    """A tree with one split; what its two leaves predict, and the examples that came to them."""
    nodes = leafless(4, len(left))
    nodes.feature[0] = feature
    nodes.children[0] = [1, 2, 3]
    nodes.values[1], nodes.values[2] = left, right
    nodes.examples[1:3] = examples
    return TreeEnsemble.single(nodes)


CONFIGURATIONS = [
    FOREST,
    {"type": "glz"},
    {"type": "decision_tree"},
    {"type": "naive_bayes"},
    {"type": "perceptron", "arch": "8", "max_iter": 200},
    {"type": "perceptron", "arch": "8", "max_iter": 200, "decorrelate": False},
]


@pytest.mark.parametrize("configuration", CONFIGURATIONS, ids=lambda c: c["type"])
def test_the_feature_that_tells_labels_apart_comes_first(blobs, data_dir, configuration):
    train(blobs, data_dir, NUMBERS, configuration=configuration).raise_for_status()
    told = importance(blobs, "cls").json()
    names = [name for name, _ in told["features"]]
    assert names[0] == "x"
    assert sum(share for _, share in told["features"]) == pytest.approx(1)
    assert told["features"][0][1] > 0.6
    assert told["measure"].endswith("all 1.")


def test_words_that_tell_labels_apart_come_first(blobs, data_dir):
    words = "{1 AS both, CASE WHEN x > 0 THEN 1 END AS right, CASE WHEN x <= 0 THEN 1 END AS left}"
    rows = "(SELECT x, CASE WHEN x > 0 THEN 'r' ELSE 'l' END AS side FROM blobs)"
    query = f"SELECT {words} AS features, side AS label FROM {rows}"
    configuration = {"type": "fasttext", "dims": 4, "epoch": 50}
    train(blobs, data_dir, query, mode="categorical", configuration=configuration).raise_for_status()
    told = dict(importance(blobs, "cls").json()["features"])
    assert sum(told.values()) == pytest.approx(1)
    assert min(told["left"], told["right"]) > 2 * told["both"]


def test_a_category_that_is_the_label_is_all_there_is(blobs, data_dir):
    train(blobs, data_dir, QUERY, configuration={"type": "decision_tree"}).raise_for_status()
    assert importance(blobs, "cls").json()["features"] == [["spare", 1]]


def test_the_share_of_a_split_is_the_decrease_of_impurity():
    """30 and 10 examples at 0.9 and 0.1: n1 n2 / n x the squared distance, which for the other split is a quarter."""
    trees = TreeEnsemble.combine([stump(0, [0.9, 0.1], [0.1, 0.9]), stump(2, [0.7, 0.3], [0.3, 0.7])], [1, 1])
    told = importance_of(trees, 3)
    assert told is not None
    np.testing.assert_allclose(told.shares, [0.8, 0, 0.2], rtol=1e-6)


def test_trees_count_by_their_weights():
    trees = TreeEnsemble.combine([stump(0, [1, 0], [0, 1]), stump(1, [1, 0], [0, 1])], [-3, 1])
    told = importance_of(trees, 2)
    assert told is not None
    np.testing.assert_allclose(told.shares, [0.75, 0.25])


def test_members_that_do_not_tell_are_left_out():
    silent = Constant(np.array([0.5, 0.5], np.float32))
    mixed = Committee([stump(1, [1, 0], [0, 1]), silent], np.array([1, 1], np.float32))
    told = importance_of(mixed, 2)
    assert told is not None
    assert told.shares.tolist() == [0, 1]
    assert importance_of(Committee([silent], np.ones(1, np.float32)), 2) is None


def test_models_of_each_label_count_alike(blobs, data_dir):
    labels = "{CASE WHEN kind = 'a' THEN 1 END AS one, CASE WHEN kind = 'b' THEN 1 END AS other}"
    query = f"SELECT {{x, y}} AS features, {labels} AS label FROM blobs"
    train(blobs, data_dir, query, mode="multilabel", configuration={"type": "glz"}).raise_for_status()
    told = importance(blobs, "cls").json()["features"]
    assert [name for name, _ in told] == ["x", "y"]
    assert sum(share for _, share in told) == pytest.approx(1)


def test_a_model_that_does_not_tell_says_so(blobs, data_dir):
    train(blobs, data_dir, NUMBERS, configuration={"type": "null"}).raise_for_status()
    assert importance(blobs, "cls").json() == {"measure": None, "features": []}
    answer = blobs.get("/v1/functions/cls/routes/nothing")
    assert (answer.status_code, "there is GET /importance" in answer.json()["error"]) == (404, True)


MODES = {
    "boolean": lambda x: (x > 0).astype(np.int64),
    "categorical": lambda x: np.digitize(x, [-0.5, 0.5]),
    "multilabel": lambda x: np.stack([x > -0.5, x > 0.5, x < 0.2], axis=1),
    "regression": lambda x: (3 * x).astype(np.float32),
}
BUILTIN = sorted(name for name in builtin_configurations() if not name.startswith("_"))


def shortened(configuration):
    """Fewer bags and rounds: the models are of the same kind."""
    most = {"num_bags": 3, "min_iter": 5, "max_iter": 20 if "weak_learner" in configuration else 60}
    short = {name: min(value, most[name]) if name in most else value for name, value in configuration.items()}
    return short | {"weak_learner": shortened(short["weak_learner"])} if "weak_learner" in short else short


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("algorithm", BUILTIN)
def test_every_configuration_tells_what_it_goes_by_and_explains_its_scores(algorithm, mode):
    """The second of three features is all there is to the labels."""
    matrix = np.random.default_rng(5).normal(size=(150, 3)).astype(np.float32)
    labels = {"boolean": ("0", "1"), "regression": ()}.get(mode, ("0", "1", "2"))
    data = TrainingSet(mode, space("a", "b", "c"), matrix, MODES[mode](matrix[:, 1]), labels, np.ones(150))
    learner = resolve(shortened(builtin_configurations()[algorithm]))
    if mode == "regression" and algorithm in ("naive_bayes", "glz", "glz2", "bglz"):
        with pytest.raises(MldbError, match=r'do not support regression mode|set "link_function" to "linear"'):
            train_classifier(data, learner)
        return
    model = train_classifier(data, learner).model
    told = importance_of(model, 3)
    assert told is not None
    assert told.shares.sum() == pytest.approx(1)
    assert told.shares[1] > 0.5
    check_every_label(
        model, matrix, max(len(labels), 1), "explain_score" if isinstance(model, OneVsAllModel) else "explain"
    )
