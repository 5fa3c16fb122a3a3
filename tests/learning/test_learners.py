"""Every learner on data that it can learn, and the numbers that MLDB's own tests look for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from server.errors import MldbError
from server.learning import boosting, lightgbm_trees
from server.learning.config import builtin_configurations, resolve
from server.learning.configurations import FastText, NaiveBayes
from server.learning.examples import Examples, Model
from server.learning.fasttext import train_fasttext
from server.learning.learners import train
from server.learning.lightgbm_trees import is_large
from server.learning.matrix import Sparse
from server.learning.naive_bayes import train_naive_bayes
from server.learning.probability import calibrate
from server.learning.training_set import balanced
from server.learning.tree_nodes import leafless
from server.learning.trees import TreeEnsemble
from tests.learning.tables import auc, examples, rings, space


def ignore(_: float) -> None:
    pass


def trained(data: Examples, configuration: dict[str, object], algorithm: str = "") -> Model:
    return train(resolve(configuration, algorithm), data, np.random.default_rng(0), ignore)


def as_sparse(matrix: np.ndarray) -> Sparse:
    rows, columns = np.nonzero(~np.isnan(matrix))
    starts = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=len(matrix)))])
    return Sparse(starts, columns.astype(np.int32), matrix[rows, columns], matrix.shape[1])


@pytest.mark.parametrize("algorithm", sorted(builtin_configurations()))
def test_builtin_configurations_learn(algorithm):
    matrix, label = rings(300)
    if algorithm in ("glz", "glz2", "glz_linear", "bglz", "naive_bayes"):
        label = (matrix[:, 0] + 0.1 * matrix[:, 1] > 0).astype(np.int64)
    scores = trained(examples(matrix, label, 2), builtin_configurations(), algorithm).scores(matrix)
    assert scores.shape == (300, 2)
    assert auc(scores[:, 1], label) > 0.9


@pytest.mark.parametrize("learner", ["glz", "perceptron", "fasttext"])
@pytest.mark.parametrize("shape", [np.asarray, as_sparse])
def test_numbers_beyond_single_precision_are_refused_by_learners_that_add_them_up(learner, shape):
    matrix, label = rings(30)
    matrix[3, 1] = np.inf
    data = replace(examples(matrix, label, 2), matrix=shape(matrix))
    with pytest.raises(MldbError, match="too large for single precision"):
        trained(data, {"type": learner})
    assert trained(data, {"type": "decision_tree"}).scores(data.matrix).shape == (30, 2)


@pytest.mark.parametrize("algorithm", ["bbdt", "bdt", "dt", "bs", "glz", "naive_bayes", "nn"])
def test_three_labels(algorithm):
    rng = np.random.default_rng(3)
    label = rng.integers(0, 3, 240)
    matrix = rng.normal(size=(240, 3)).astype(np.float32) * 0.5
    matrix[np.arange(240), label] += 3
    model = trained(examples(matrix, label, 3), builtin_configurations(), algorithm)
    assert (model.scores(matrix).argmax(axis=1) == label).mean() > 0.85


@pytest.mark.parametrize(
    "configuration",
    [
        {"type": "decision_tree", "max_depth": 5},
        {"type": "bagging", "num_bags": 5, "weak_learner": {"type": "decision_tree"}},
        {"type": "boosting", "max_iter": 20, "weak_learner": {"type": "decision_tree", "max_depth": 3}},
        {"type": "glz", "link_function": "linear"},
        {"type": "perceptron", "arch": "20"},
        {"type": "bagging", "num_bags": 5, "weak_learner": {"type": "glz", "link_function": "linear"}},
    ],
    ids=lambda configuration: configuration["type"],
)
def test_regression(configuration):
    rng = np.random.default_rng(4)
    matrix = rng.normal(size=(400, 3)).astype(np.float32)
    target = 2 * matrix[:, 0] - matrix[:, 1] + 1
    model = trained(examples(matrix, target, 1), configuration)
    rest = model.scores(matrix)[:, 0] - target
    assert 1 - (rest**2).mean() / target.var() > 0.6


def test_weights_decide_between_contradicting_rows():
    matrix = np.array([[0, 0], [1, 0], [0, 1], [1, 1], [1, 1]], np.float32)
    data = examples(matrix, [0, 1, 1, 1, 0], 2)

    def score(weights: list[float]) -> float:
        weighted = data.weighted(np.array(weights, np.float32) / sum(weights))
        return float(trained(weighted, {"type": "glz", "normalize": False}).scores(matrix[4:])[0, 1])

    assert score([1, 1, 1, 1, 1000]) < score([1] * 5) < score([1, 1, 1, 1000, 1])


@pytest.mark.parametrize("link", ["logit", "probit", "comp_log_log", "linear", "log"])
def test_links_order_the_rows(link):
    rng = np.random.default_rng(5)
    matrix = rng.normal(size=(300, 2)).astype(np.float32)
    label = (matrix[:, 0] + 0.3 * rng.normal(size=300) > 0).astype(np.int64)
    scores = trained(examples(matrix, label, 2), {"type": "glz", "link_function": link}).scores(matrix)[:, 1]
    assert auc(scores, label) > 0.95
    if link in ("logit", "probit", "comp_log_log"):
        assert scores.min() >= 0
        assert scores.max() <= 1


def test_linear_regression_is_exact():
    matrix = np.array([[0], [1], [2], [3]], np.float32)
    data = examples(matrix, [0, 1, 2, 3], 1, ["x"])
    data = Examples(space("x", optional=False), data.matrix, data.labels, 1, data.weights)
    settings = {"type": "glz", "normalize": False, "link_function": "linear", "regularization": "none"}
    model = trained(data, settings)
    params = model.describe(data.space)["params"]
    assert params["features"] == [{"feature": "x", "extract": "VALUE"}]
    assert params["link"] == "LINEAR"
    assert params["weights"][0] == pytest.approx([1, 0], abs=1e-6)
    for regularization, factor in (("l2", 1e-5), ("l1", 0.001)):
        settings = {"type": "glz", "link_function": "linear", "regularization": regularization}
        score = trained(data, settings | {"regularization_factor": factor}).scores(np.array([[10]], np.float32))
        assert float(score[0, 0]) == pytest.approx(10, abs=0.01)


@pytest.mark.parametrize(("link", "numbers"), [
    ("logit", [0, 2]), ("probit", [-0.1, 1]), ("comp_log_log", [0, 1.5]), ("log", [-1, 5])
])  # fmt: skip
def test_numbers_that_a_link_cannot_give_are_refused(link, numbers):
    """The weights were not numbers, and nobody was told."""
    labels = np.linspace(*numbers, 20).tolist()
    with pytest.raises(MldbError, match=f'link function \'{link}\'.* set "link_function" to "linear"'):
        trained(examples(np.arange(20)[:, None], labels, 1), {"type": "glz", "link_function": link})


@pytest.mark.parametrize(("link", "highest"), [("logit", 1), ("probit", 1), ("comp_log_log", 1), ("log", 40)])
def test_numbers_that_a_link_can_give_are_fitted(link, highest):
    labels = np.linspace(0, highest, 20)
    data = examples(np.arange(20)[:, None], labels.tolist(), 1)
    scores = trained(data, {"type": "glz", "link_function": link}).scores(data.matrix)[:, 0]
    assert np.corrcoef(scores, labels)[0, 1] > 0.8


def test_lasso_agrees_with_scikit_learn():
    from sklearn.linear_model import Lasso

    rng = np.random.default_rng(6)
    matrix = rng.normal(size=(200, 6)).astype(np.float32)
    target = (matrix @ [1.0, 0.5, 0, 0, -2, 0.01] + 3 + rng.normal(size=200) * 0.1).astype(np.float32)
    scaled = (matrix - matrix.mean(axis=0)) / matrix.std(axis=0)
    design = np.concatenate([scaled, np.ones((200, 1))], axis=1)
    theirs = Lasso(alpha=0.01, fit_intercept=False, tol=1e-8, max_iter=10000).fit(design, target).predict(design)
    data = examples(matrix, target, 1)
    settings = {"type": "glz", "link_function": "linear", "regularization": "l1"}
    model = trained(data, settings | {"regularization_factor": 0.01 * 2 * 200})
    assert np.allclose(model.scores(matrix)[:, 0], theirs, atol=1e-3)


def test_dependent_columns_are_left_out_when_asked():
    rng = np.random.default_rng(7)
    x = rng.normal(size=50).astype(np.float32)
    data = examples(np.stack([x, x, 2 * x], axis=1), (x > 0).astype(int), 2)
    model = trained(data, {"type": "glz", "condition": True, "link_function": "linear", "regularization": "none"})
    weights = model.describe(data.space)["params"]["weights"][1]
    assert sum(weight != 0 for weight in weights[:-1]) == 1


def test_many_sparse_columns_use_the_other_solver():
    rng = np.random.default_rng(8)
    matrix = np.full((200, 5000), np.nan, np.float32)
    words = rng.integers(0, 5000, (200, 20))
    matrix[np.arange(200)[:, None], words] = 1
    label = np.arange(200) % 2
    matrix[label == 1, 17] = 1
    data = examples(matrix, label, 2)
    sparse = Examples(data.space, as_sparse(matrix), data.labels, 2, data.weights)
    scores = trained(sparse, {"type": "glz"}).scores(sparse.matrix)
    assert auc(scores[:, 1], label) > 0.99


@pytest.mark.parametrize("algorithm", ["dt", "bbdt", "glz", "naive_bayes"])
def test_sparse_and_dense_rows_train_and_score_alike(algorithm):
    rng = np.random.default_rng(9)
    matrix = np.where(rng.random((300, 8)) < 0.4, rng.integers(0, 3, (300, 8)), np.nan).astype(np.float32)
    label = (np.nan_to_num(matrix[:, 0]) + np.isnan(matrix[:, 1]) > 1).astype(np.int64)
    dense = examples(matrix, label, 2)
    sparse = Examples(dense.space, as_sparse(matrix), dense.labels, 2, dense.weights)
    one, other = (trained(data, builtin_configurations(), algorithm) for data in (dense, sparse))
    assert np.allclose(one.scores(matrix), other.scores(as_sparse(matrix)), atol=1e-5)


def test_naive_bayes_of_eight_people():
    people = [(12, 6, 180), (11, 5.92, 190), (12, 5.58, 170), (10, 5.92, 165)]
    people += [(6, 5, 100), (8, 5.5, 150), (7, 5.42, 130), (9, 5.75, 150)]
    data = examples(people, [1] * 4 + [0] * 4, 2, ["foot_size", "height", "weight"])
    model = train_naive_bayes(NaiveBayes(type="naive_bayes"), data, np.random.default_rng(0), ignore)
    none = np.nan
    asked = [[11, none, none], [none, 5.8, 200], [12, 6, 180], [6, 5, 120], [6, 5.4, none]]
    scores = model.scores(np.array(asked, np.float32))[:, 1]
    assert (scores[:3] > 0.9).all()
    assert (scores[3:] < 0.01).all()
    # Nothing known: the priors.
    assert model.scores(np.full((1, 3), none, np.float32))[0].tolist() == [0.5, 0.5]


WORDS = [f"tokens.{word}" for word in ("alabama", "futbol", "hillary", "hockey", "tennis", "trump")]


def themes(*words: str) -> list[float]:
    return [1 if name.split(".")[1] in words else np.nan for name in WORDS]


def fasttext(labels: list[int]) -> object:
    data = examples([themes("hockey", "tennis", "futbol"), themes("hillary", "trump", "alabama")], labels, 2, WORDS)
    return train_fasttext(FastText(type="fasttext", dims=4), data, np.random.default_rng(0), ignore)


def test_fasttext_digits():
    model = fasttext([1, 0])
    scores = model.scores(np.array([themes("hockey"), themes("hillary"), themes()], np.float32))[:, 1]
    assert [float(score) for score in scores] == [-0.666170597076416, -0.6853650212287903, 0]
    why = model.explain(np.array([themes("alabama", "futbol", "hockey")], np.float32), 0)
    assert why.bias[0] == 0
    expected = [0.020895058289170265, -0.05198581516742706, 0, -0.0865536779165268, 0, 0]
    assert why.weights[0].tolist() == pytest.approx(expected, abs=1e-7)


def test_fasttext_of_several_labels():
    rng = np.random.default_rng(10)
    label = rng.integers(0, 3, 300)
    matrix = np.where(rng.random((300, 30)) < 0.1, 1, np.nan).astype(np.float32)
    matrix[np.arange(300), label * 10] = 2
    data = examples(matrix, label, 3)
    model = trained(data, {"type": "fasttext", "dims": 10, "epoch": 60})
    assert (model.scores(matrix).argmax(axis=1) == label).mean() > 0.9


@pytest.mark.parametrize(
    ("labels", "count", "text"),
    [([1.0, 2.0], 1, "does not currently support regression mode"), ([1, 1], 2, "at least two different labels")],
)
def test_what_fasttext_refuses(labels, count, text):
    with pytest.raises(MldbError, match=text):
        trained(examples([[1], [2]], labels, count), {"type": "fasttext"})


def test_fasttext_counts_words_and_ends():
    with pytest.raises(MldbError, match="at most 1000000 of one in a row: the features are no counts"):
        trained(examples([[1e12], [1]], [0, 1], 2), {"type": "fasttext"})


def test_a_perceptron_that_cannot_be_trained_says_why():
    with pytest.raises(MldbError, match="at least one feature that has a value"):
        trained(examples(np.zeros((6, 0)), [0, 1] * 3, 2), {"type": "perceptron"})
    matrix, label = rings(30)
    with pytest.raises(MldbError, match="lower its learning_rate"):
        trained(examples(matrix, label, 2), {"type": "perceptron", "learning_rate": 1e308})


@pytest.mark.parametrize("algorithm", ["dt", "bs", "naive_bayes"])
def test_both_infinities_are_told_apart(algorithm):
    data = examples([[-np.inf], [np.inf]] * 5, [0, 1] * 5, 2)
    scores = trained(data, builtin_configurations(), algorithm).scores(data.matrix)
    assert (scores.argmax(axis=1) == data.labels).all()


def test_fasttext_cannot_be_bagged():
    with pytest.raises(MldbError, match="cannot be bagged"):
        trained(examples([[1], [2]], [0, 1], 2), {"type": "bagging", "weak_learner": {"type": "fasttext"}})


def test_calibration_digits():
    scores = np.array([1] * 5 + [-1] * 5)
    weights = balanced((scores > 0)[:, None] == [False, True], np.ones(10), 0.5)
    fitted = calibrate(scores, scores > 0, weights, "logit")
    probability = fitted.apply(np.array([1, -1])).tolist()
    assert probability == [0.9999726414680481, 2.73847472271882e-05]


def test_large_ensembles_are_grown_by_lightgbm_and_scored_by_us():
    rng = np.random.default_rng(11)
    matrix = rng.normal(size=(20000, 12)).astype(np.float32)
    matrix[rng.random(matrix.shape) < 0.1] = np.nan
    label = (np.nan_to_num(matrix[:, 0]) * np.nan_to_num(matrix[:, 1], nan=1.0) > 0).astype(np.int64)
    data = examples(matrix, label, 2)
    tree = {"type": "decision_tree", "max_depth": 6}
    for configuration in (
        {"type": "bagging", "num_bags": 50, "weak_learner": tree},
        {"type": "boosting", "max_iter": 50, "weak_learner": tree},
    ):
        model = trained(data, configuration)
        scores = model.scores(matrix)[:, 1]
        assert auc(scores[:2000], label[:2000]) > 0.95
        why = model.explain(matrix[:20], 1)
        assert np.allclose(why.bias + why.weights.sum(axis=1), scores[:20], atol=1e-4)


def test_trees_of_many_labels_are_our_own_which_score_all_of_them():
    """LightGBM's are one for each label: of a thousand labels they would have taken gigabytes."""
    rng = np.random.default_rng(13)
    matrix = rng.normal(size=(3000, 40)).astype(np.float32)
    label = np.argsort(np.argsort(matrix[:, 0])) // 20  # 150 labels
    data = examples(matrix, label, 150)
    few = examples(matrix, label // 75, 2)
    assert is_large(few, 100, 5)
    assert not is_large(data, 100, 5)
    assert is_large(examples(matrix, label // 50, 3), 100, 5)
    bags = {"type": "bagging", "num_bags": 3, "weak_learner": {"type": "decision_tree", "max_depth": 5}}
    model = trained(data, bags)
    assert isinstance(model, TreeEnsemble)
    assert model.nodes.values.size < 3 * 3**5 * 150 * 2


def test_boosting_of_too_many_rows_and_labels_says_what_to_do(monkeypatch):
    monkeypatch.setattr(boosting, "MOST_WEIGHTS", 599)
    matrix, label = rings(300)
    told = r"300 rows x 2 labels are more than the 599 that the setting boosting-weights allows\. Train on fewer"
    with pytest.raises(MldbError, match=told):
        trained(examples(matrix, label, 2), {"type": "boosted_stumps"})


@pytest.mark.parametrize("large", [False, True], ids=["ours", "lightgbm"])
def test_boosting_stops_when_nothing_is_gained(large, monkeypatch):
    """Labels of chance: what is learnt of them is wrong on the rows held out."""
    monkeypatch.setattr(lightgbm_trees, "_LARGE", 0 if large else 1 << 40)
    rng = np.random.default_rng(14)
    matrix, label = rng.normal(size=(400, 5)).astype(np.float32), rng.integers(0, 2, 400)
    tree = {"type": "decision_tree", "max_depth": 3, "update_alg": "gentle"}

    def rounds(**changes):
        told = []
        configuration = {"type": "boosting", "min_iter": 3, "max_iter": 60, "weak_learner": tree, **changes}
        model = train(resolve(configuration), examples(matrix, label, 2), np.random.default_rng(0), told.append)
        return len(told), len(model.roots)

    assert rounds()[0] == 60
    stopped, kept = rounds(short_circuit_window=4)
    assert 3 <= stopped < 60
    assert 3 <= kept <= stopped
    assert rounds(short_circuit_window=4, min_iter=20)[0] >= 20


def test_converted_trees_score_as_lightgbm_does():
    import lightgbm

    from server.learning.lightgbm_trees import _ensemble, trees_of

    rng = np.random.default_rng(12)
    matrix = rng.normal(size=(3000, 4)).astype(np.float32)
    matrix[:, 3] = rng.integers(0, 40, 3000)
    matrix[rng.random(3000) < 0.2, 1] = np.nan
    target = matrix[:, 0] + (matrix[:, 3] % 3) + np.isnan(matrix[:, 1])
    params = {"objective": "regression", "verbosity": -1, "min_data_in_leaf": 5}
    booster = lightgbm.train(params, lightgbm.Dataset(matrix, target, categorical_feature=[3]), 20)
    trees = trees_of(booster)
    ours = _ensemble(trees, np.ones(len(trees), np.float32), 1)
    asked = matrix.copy()
    asked[:100, 0] = np.nan
    asked[100:120, 3] = -1
    assert np.allclose(ours.scores(asked)[:, 0], booster.predict(asked), atol=1e-4)


def test_a_deep_tree_is_described_in_the_size_of_its_nodes():
    """What is missing shares a branch: written out at each level, this tree would have had 2^40 nodes."""
    depth = 40
    nodes = leafless(2 * depth + 1, 1)
    inner = np.arange(depth)
    nodes.feature[inner] = 0
    nodes.children[inner] = np.stack([inner + 1, depth + 1 + inner, inner + 1], axis=1)
    root = TreeEnsemble.single(nodes).describe(space("x"))["params"]["tree"]["root"]
    for _ in range(depth):
        assert root["missing"] == "true"
        assert root["false"].keys() == {"examples", "pred"}
        root = root["true"]
    assert root.keys() == {"examples", "pred"}


def test_bagged_probabilities_stay_probabilities():
    matrix, label = rings(500)
    scores = trained(examples(matrix, label, 2), builtin_configurations(), "bdt").scores(matrix)
    assert scores.min() >= 0
    assert scores.max() <= 1
    assert np.allclose(scores.sum(axis=1), 1, atol=1e-5)


def test_features_without_any_value_still_train():
    data = examples(np.full((6, 1), np.nan, np.float32), [0, 1] * 3, 2)
    for algorithm in ("dt", "bbdt", "bs", "glz", "naive_bayes"):
        scores = trained(data, builtin_configurations(), algorithm).scores(data.matrix)
        assert np.isfinite(scores).all()


def test_fasttext_takes_a_text_for_one_word():
    feature_space = space("count", theme=("a", "b"))
    matrix = np.array([[1, 0], [np.nan, 1], [2, np.nan], [np.nan, 0]] * 5, np.float32)
    labels = np.array([0, 1, 0, 1] * 5)
    data = Examples(feature_space, matrix, labels, 2, np.full(20, 0.05, np.float32))
    scores = trained(data, {"type": "fasttext", "dims": 5, "epoch": 200}).scores(matrix)
    assert (scores.argmax(axis=1) == labels).all()


def test_small_linear_models_are_fitted_on_one_thread():
    """On a busy machine the threads of OpenBLAS took twenty times the time of the products that they shared."""
    from threadpoolctl import threadpool_info

    from server.learning.glz_training import _threads

    def threads():
        return {each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"}

    before = threads()
    with _threads(1782, 65):
        assert threads() == {1}
    assert threads() == before
    with _threads(100_000, 2048):
        assert threads() == before
